"""The networks: the published sizes, any image size, and nothing random left over."""

import pytest
import torch

from diplearn import networks, recipes
from diplearn.errors import InputError
from diplearn.networks import DeepDecoder, Hourglass, Pixels, ResNet, UNet, parameter_count
from diplearn.networks.layers import Mix, conv, mirror_padded, upsampled

# The settings that the authors published, and the number of parameters of each.
PUBLISHED = {
    "denoising": (3, 2_217_831),
    "jpeg": (3, 572_827),
    "text": (3, 3_002_627),
    "small_hole": (3, 2_157_955),
    "large_hole": (3, 2_996_467),
    "missing_pixels": (1, 2_217_573),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_published_parameter_counts(task):
    channels, published = PUBLISHED[task]
    recipe = recipes.paper(task)
    network = networks.build(
        recipe.network, recipe.z_channels, (channels, 64, 64), **recipe.options
    )
    assert parameter_count(network) == published


SMALL = {
    "hourglass": Hourglass(4, 3, (6,) * 5, skip=(2,) * 5),
    "hourglass without skips": Hourglass(4, 1, (6,) * 3, skip=(0,) * 3, upsampling="nearest"),
    "hourglass with 5x5 filters": Hourglass(4, 3, (6,) * 6, skip=(0,) * 6, down_filter=5),
    "decoder": DeepDecoder(4, 3, width=8),
    "unet": UNet(4, 3, widths=(4, 6, 8, 8, 8)),
    "resnet": ResNet(4, 1, width=6, blocks=2),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (64, 64), (16, 200), (101, 33)])
def test_any_size_from_sixteen_pixels(name, size):
    network = SMALL[name]
    output = network(torch.rand(1, 4, *size))
    assert output.shape[0] == 1 and output.shape[1] in (1, 3)
    assert tuple(output.shape[-2:]) == size
    assert output.min() >= 0 and output.max() <= 1
    output.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_every_pixel_of_an_odd_image_can_be_fitted():
    """Cropping must not cut off pixels that nothing can change."""
    network = Hourglass(4, 1, (6,) * 3, skip=(2,) * 3)
    z = torch.rand(1, 4, 19, 23)
    before = network(z).detach()
    with torch.no_grad():
        network.to_image.bias += 1
    assert (network(z) - before).abs().min() > 1e-3


def test_pixels_are_their_own_parameters():
    network = Pixels(3, 20, 24)
    assert parameter_count(network) == 3 * 20 * 24
    assert network(torch.rand(1, 7, 20, 24)) is network.pixels


def test_a_longer_way_is_mirrored_at_its_end():
    z = torch.arange(3.0).reshape(1, 1, 1, 3)
    assert mirror_padded(z, 1, 8)[0, 0, 0].tolist() == [0, 1, 2, 2, 1, 0, 0, 1]


def test_train_and_eval_make_the_same_image():
    """There is no test set: batch norm always looks at the one image."""
    network, z = Hourglass(4, 3, (6,) * 3, skip=(2,) * 3), torch.rand(1, 4, 32, 32)
    assert torch.equal(network.train()(z), network.eval()(z))


def test_build_names_what_there_is():
    with pytest.raises(InputError, match="hourglass, decoder, unet, resnet, pixels"):
        networks.build("transformer", 32, (3, 64, 64))
    with pytest.raises(InputError, match="depth"):
        networks.build("hourglass", 32, (3, 64, 64), depth=5)


@pytest.mark.parametrize(
    "wrong", [{"down": (8, 8), "skip": (4,)}, {"down": ()}, {"upsampling": "sinc"}]
)
def test_hourglass_refuses_what_does_not_fit_together(wrong):
    with pytest.raises(InputError):
        Hourglass(**wrong)


def test_skips_are_there_or_not():
    with_skips = Hourglass(4, 3, (6,) * 2, skip=(3, 0))
    assert with_skips.levels[0].skip is not None and with_skips.levels[1].skip is None


def test_the_quick_gradient_of_the_interpolation_is_the_gradient():
    x = torch.rand(1, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: upsampled(x, "bilinear"), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: upsampled(x, "bilinear"), x)
    wanted = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.equal(upsampled(x, "bilinear"), wanted)
    along = torch.rand_like(wanted)
    ours, theirs = (torch.autograd.grad(y, x, along)[0] for y in (upsampled(x, "bilinear"), wanted))
    assert torch.allclose(ours, theirs)


def test_mixing_parts_is_convolving_them_side_by_side():
    parts = [torch.rand(1, 4, 9, 11), torch.rand(1, 8, 9, 11)]
    mix = Mix([4, 8], 5, 3, "reflect")
    whole = conv(12, 5, 3)
    whole.weight.data = torch.cat([share.weight for share in mix.shares], dim=1)
    whole.bias.data = mix.shares[0].bias.data
    assert torch.allclose(mix(*parts), whole(torch.cat(parts, dim=1)), atol=1e-6)
