"""The drawings show what the package does."""

import inspect

import torch

import diplearn as dip
from diplearn.course import drawings


def words(figure):
    return "\n".join(text.get_text() for axis in figure.axes for text in axis.texts)


def test_the_hourglass_is_the_one_of_the_recipe():
    drawn = inspect.signature(drawings.hourglass).parameters
    assert drawn["channels"].default == dip.lab().options["down"]
    network = dip.networks.build("hourglass", 32, (3, 64, 64), **dip.lab().options)
    seen = []
    for level in network.levels:
        level.encode.register_forward_hook(lambda *call: seen.append(tuple(call[2].shape[1:])))
    network(torch.rand(1, 32, 64, 64))
    for channels, height, width in seen:
        assert f"{height}x{width}\n{channels} ch." in words(drawings.hourglass())
    assert f"{network.levels[0].skip[0].out_channels} channels" in words(drawings.hourglass())


def test_the_drawn_filter_computes_what_torch_computes():
    image = torch.zeros(1, 1, 6, 8)
    image[..., 4:] = 1
    filters = torch.tensor([[-1.0, 0.0, 1.0]] * 3)[None, None]
    right = torch.nn.functional.conv2d(image, filters).flatten()
    drawn = [text.get_text() for text in drawings.convolution().axes[2].texts]
    assert drawn == [f"{value:.0f}" for value in right.tolist()]


def test_the_drawn_observation_is_the_image_under_the_mask():
    image, mask, product = (axis.images[0].get_array() for axis in drawings.masking().axes)
    known = mask[..., None] == 1
    assert ((product == image) | ~known).all() and (product[~known[..., 0]] == 0).all()
