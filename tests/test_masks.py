"""Masks: what they are read from, what is refused, and what stays known of a smaller image."""

import io
import os
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from diplearn import images, operators, problems
from diplearn.errors import ImageError, InputError
from diplearn.images import masks
from diplearn.operators import Mask


def file(image, kind="PNG", **options):
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def lettering(size=14, side=128, smooth=True):
    """Black letters on white, with grey edges or without."""
    image = Image.new("L", (side, side), 255)
    font = ImageFont.load_default(size=size)
    for top in range(0, side, size + 4):
        ImageDraw.Draw(image).text((0, top), "what is missing " * 9, fill=0, font=font)
    return image if smooth else image.point(lambda value: 255 * (value > 127))


def values(image):
    return torch.from_numpy(np.array(image, np.float32) / 255)[None]


@pytest.fixture(scope="module")
def hole():
    """10x10 pixels are missing of 40x48."""
    known = np.ones((40, 48), bool)
    known[10:20, 20:30] = False
    return known


# Reading masks.


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "PPM"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_black_is_missing_in_every_format(hole, kind, mode):
    if (kind, mode) == ("PPM", "P"):
        return
    image = Image.fromarray(hole).convert(mode)
    known = images.read_mask(file(image, kind))
    assert known.dtype == torch.bool and torch.equal(known, torch.from_numpy(hole)[None])
    assert torch.equal(images.read_mask(file(image, kind), invert=True), ~known)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 128), (16, 235), (0, 255), (3, 252)])
def test_two_levels_are_a_mask_whatever_they_are(hole, low, high):
    image = Image.fromarray(np.where(hole, high, low).astype(np.uint8))
    assert torch.equal(images.read_mask(file(image)), torch.from_numpy(hole)[None])


@pytest.mark.parametrize("top", [1, 65535])
def test_sixteen_bits(hole, top):
    image = Image.fromarray(hole.astype(np.uint16) * top)
    assert torch.equal(images.read_mask(file(image)), torch.from_numpy(hole)[None])


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_is_missing_and_colours_do_not_count(hole, mode, kind):
    photo = Image.fromarray(images.to_uint8(images.load("chelsea", size=48)[:, :40]))
    if mode == "P":
        if kind != "PNG":
            return
        indexed = np.array(photo.convert("L")) // 2
        indexed[~hole] = 200
        edited = Image.fromarray(indexed).convert("P")
        content = file(edited, kind, transparency=200)
    else:
        edited = photo.convert(mode)
        edited.putalpha(Image.fromarray(hole))
        content = file(edited, kind)
    known = images.read_mask(content)
    assert torch.equal(known, torch.from_numpy(hole)[None])
    assert torch.equal(images.read_mask(content, invert=True), ~known)


def test_a_half_transparent_edge_is_missing_since_another_colour_shows_through(hole):
    alpha = np.where(hole, 255, 0).astype(np.uint8)
    alpha[9, 20:30] = 200
    edited = Image.new("RGBA", (48, 40), "red")
    edited.putalpha(Image.fromarray(alpha))
    assert torch.equal(images.read_mask(file(edited))[0], torch.from_numpy(alpha == 255))


def test_opaque_transparency_leaves_the_word_to_black_and_white(hole):
    image = Image.fromarray(hole).convert("RGBA")
    assert torch.equal(images.read_mask(file(image)), torch.from_numpy(hole)[None])


@pytest.mark.parametrize("size", [8, 14, 40])
def test_a_grey_edge_is_partly_missing(size):
    letters = lettering(size)
    covered = 1 - values(letters)
    covered /= covered.max()  # the smallest letters are nowhere quite black
    assert 0 < ((covered > 0.02) & (covered < 0.98)).sum()
    assert torch.equal(images.read_mask(file(letters)), covered < 0.02)
    assert torch.equal(images.read_mask(file(letters), invert=True), covered > 0.98)


@pytest.mark.parametrize("size", [8, 14, 40])
@pytest.mark.parametrize("quality", [75, 95])
def test_what_jpeg_leaves_around_edges_does_not_count(size, quality):
    letters = lettering(size, smooth=False)
    known = images.read_mask(file(letters, "JPEG", quality=quality))
    assert torch.equal(known, values(letters) > 0.5)


@pytest.mark.parametrize("quality", [20, 50])
def test_a_badly_compressed_mask_loses_pixels_but_takes_none_for_known(quality):
    letters = lettering(smooth=False)
    known = images.read_mask(file(letters, "JPEG", quality=quality))
    truly = values(letters) > 0.5
    assert not (known & ~truly).any()
    assert (known & truly).sum() > 0.85 * truly.sum()


def test_a_thin_grey_scratch_is_missing():
    scratched = np.full((64, 64), 255, np.uint8)
    scratched[20] = 170  # a line thinner than a pixel
    known = images.read_mask(file(Image.fromarray(scratched)))
    assert (~known).sum() == 64 and not known[0, 20].any()


def test_a_turned_mask_is_read_upright(hole):
    exif = Image.Exif()
    exif[0x0112] = 6  # as a camera stores it: to be turned clockwise
    stored = np.ascontiguousarray(np.rot90(hole))
    for content in (
        file(Image.fromarray(stored).convert("L"), "JPEG", quality=95, exif=exif),
        file(Image.fromarray(stored).convert("L"), exif=exif),
    ):
        assert torch.equal(images.read_mask(content), torch.from_numpy(hole)[None])
    turned = Image.new("LA", stored.shape[::-1])
    turned.putalpha(Image.fromarray(stored))
    assert torch.equal(images.read_mask(file(turned, exif=exif)), torch.from_numpy(hole)[None])


@pytest.mark.parametrize("name", images.names())
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_photograph_is_no_mask(tmp_path, name, kind):
    image = images.load(name, size=160)
    path = tmp_path / f"photo.{kind.lower()}"
    images.write(image, path)
    with pytest.raises(
        ImageError, match=r"photo\..*is not a mask, since \d+% of its pixels are neither black"
    ):
        images.read_mask(path)


def test_a_photograph_that_is_mostly_black_or_white_is_no_mask():
    overexposed = (2.5 * images.load("astronaut", size=160)).clamp(0, 1)
    night = (2 * images.load("camera", size=160) - 1).clamp(0, 1)
    for image in (overexposed, night):
        grey = image.mean(dim=0)
        assert ((grey < 0.02) | (grey > 0.98)).float().mean() > 0.3
        with pytest.raises(ImageError, match="not a mask"):
            images.read_mask(images.encode(image, "png"))


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (64, 64), 128),
        Image.linear_gradient("L"),
        Image.new("RGBA", (64, 64), (255, 255, 255, 128)),
        Image.radial_gradient("L"),
    ],
)
def test_other_images_that_are_no_masks(image):
    with pytest.raises(ImageError, match="the mask is not a mask"):
        images.read_mask(file(image))


def test_all_white_and_all_black_are_masks_of_which_the_operator_speaks():
    assert images.read_mask(file(Image.new("L", (64, 64), 255))).all()
    nothing = images.read_mask(file(Image.new("L", (64, 64), 0)))
    with pytest.raises(InputError, match="every pixel is missing"):
        Mask(nothing)


def test_paths_bytes_files_and_pillow_images(tmp_path, hole):
    image, expected = Image.fromarray(hole), torch.from_numpy(hole)[None]
    path = tmp_path / "mask.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), image):
        assert torch.equal(images.read_mask(source), expected)
    with Image.open(path) as opened:
        assert torch.equal(images.read_mask(opened), expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_once(tmp_path, hole):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = file(Image.fromarray(hole))
    writer = threading.Thread(target=pipe.write_bytes, args=[content])
    writer.start()
    known = images.read_mask(pipe)
    writer.join()
    assert torch.equal(known, torch.from_numpy(hole)[None])


@pytest.mark.parametrize("name", ["none.png", "a\0b.png", "x" * 5000, ""])
def test_masks_that_are_not_there(tmp_path, name):
    with pytest.raises(ImageError):
        images.read_mask(tmp_path / name)


def test_of_an_animated_mask_the_first_frame_is_taken_and_this_is_said(hole):
    first, second = Image.fromarray(hole).convert("L"), Image.new("L", (48, 40), 255)
    with pytest.warns(UserWarning, match="more than one frame"):
        known = images.read_mask(file(first, "GIF", save_all=True, append_images=[second]))
    assert torch.equal(known, torch.from_numpy(hole)[None])


def test_a_damaged_mask(hole):
    content = file(Image.fromarray(hole).convert("RGBA"))
    for broken in (b"", b"no image", content[: len(content) // 2]):
        with pytest.raises(ImageError):
            images.read_mask(broken)


# What becomes of an image of which only a part is known.


def scratches(height, width):
    known = torch.ones(1, height, width)
    known[:, :, [50, 133]] = 0
    known[:, 77] = 0
    return known


def per_channel(height, width):
    return torch.cat([Mask.hole(height, width, top, 0.3, 0.3).known for top in (0.1, 0.3, 0.6)])


KNOWN = {
    "text": lambda h, w: Mask.text(h, w, lines=5).known,
    "dead pixels": lambda h, w: Mask.pixels(h, w, 0.001).known,
    "many pixels": lambda h, w: Mask.pixels(h, w, 0.02).known,
    "hole": lambda h, w: Mask.hole(h, w).known,
    "scratches": scratches,
    "per channel": per_channel,
}


@pytest.mark.parametrize("fill", ["black", "white", "nan", "inf", "random"])
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("longest", [299, 200, 128, 75])
def test_what_is_called_known_is_what_the_whole_image_would_give(name, longest, fill):
    clean = images.load("coffee")[:, 20:340, 100:400]
    known = KNOWN[name](*clean.shape[1:])
    missing = {
        "black": torch.zeros_like(clean),
        "white": torch.ones_like(clean),
        "nan": torch.full_like(clean, torch.nan),
        "inf": torch.full_like(clean, torch.inf),
        "random": torch.rand(clean.shape, generator=torch.Generator().manual_seed(0)),
    }[fill]
    observed = torch.where(known > 0, clean, missing)
    small, still = images.shrink_known(observed, known, longest)
    expected = images.shrink(clean, longest)
    assert small.shape == expected.shape and still.dtype == torch.bool
    assert still.shape == (known.shape[0], *expected.shape[1:])
    error = (small - expected).abs() * still
    assert error.max() <= 0.5 / 255 + 1e-6
    assert (small * ~still).abs().max() == 0


def test_as_much_stays_known_as_can_be_vouched_for():
    image, known = images.load("astronaut"), Mask.text(512, 512).known
    still = images.shrink_known(image, known, 128)[1]
    # Without any weight of a missing pixel, however small, it would be 2342.
    assert still.sum() == 4131
    rows = masks._resampling_weights(512, 128).abs()
    assert torch.equal(still, rows @ (1 - known) @ rows.T <= 1 / 255)
    untouched = rows @ (1 - known) @ rows.T == 0
    assert untouched.sum() == 2342 and still[untouched].all()


def test_the_weights_are_those_of_the_resizing():
    image = torch.rand(1, 60, 90, generator=torch.Generator().manual_seed(0)) / 2 + 0.25
    rows, columns = masks._resampling_weights(60, 27), masks._resampling_weights(90, 40)
    expected = images.shrink(image, 40)
    assert expected.shape == (1, 27, 40)
    assert torch.allclose(rows @ image @ columns.T, expected, atol=1e-6)


def test_what_is_small_already_stays_as_it_is():
    image, known = torch.rand(3, 40, 50), torch.rand(1, 40, 50) > 0.5
    small, still = images.shrink_known(torch.where(known, image, torch.nan), known, 50)
    assert torch.equal(still, known) and torch.equal(small, image * known)


def test_where_nothing_stays_known_a_larger_side_is_asked_for():
    with pytest.raises(ImageError, match="longest=40 leaves no pixel known.*take a larger longest"):
        images.shrink_known(torch.rand(1, 160, 160), Mask.pixels(160, 160, 0.5).known, 40)


def test_a_mask_of_two_dimensions_is_as_good_as_one_of_three():
    image, known = torch.rand(3, 40, 50), torch.arange(2000).reshape(40, 50) < 1000
    for flat, deep in zip(*(images.shrink_known(image, k, 30) for k in (known, known[None]))):
        assert torch.equal(flat, deep)


@pytest.mark.parametrize("shape", [(1, 40, 51), (2, 40, 50), (50, 40)])
def test_a_mask_that_does_not_fit_the_image(shape):
    with pytest.raises(ImageError, match="must have the same size"):
        images.shrink_known(torch.rand(3, 40, 50), torch.ones(shape), 30)


# What else a mask may be made of.


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a.astype(">f4"),
        lambda a: a.astype("<f8"),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(">i2"),
        lambda a: a.astype(">u2"),
        lambda a: a.astype(np.uint16),
        lambda a: a.astype(np.uint32),
        lambda a: a.astype(">u8"),
        lambda a: a.astype(np.int8),
        lambda a: a,
        lambda a: a.tolist(),
        lambda a: a.astype(int).tolist(),
        lambda a: [list(row) for row in a],
        lambda a: [torch.from_numpy(row) for row in a],
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1, ::-1].copy()[::-1, ::-1],  # negative strides
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: np.broadcast_to(a, (1, *a.shape)),  # read-only
        lambda a: np.frombuffer(a.tobytes(), bool).reshape(a.shape),
        lambda a: np.ma.array(a),
        lambda a: np.ma.array(a, mask=np.zeros_like(a)),
        lambda a: pd.DataFrame(a),
        lambda a: torch.from_numpy(a),
        lambda a: torch.from_numpy(a).to(torch.uint16),
        lambda a: torch.from_numpy(a).to(torch.bfloat16),
        lambda a: torch.from_numpy(a).float().requires_grad_(),
        lambda a: torch.from_numpy(a).float().to_sparse(),
        lambda a: Image.fromarray(a),
        lambda a: Image.fromarray(a).convert("L"),
        lambda a: Image.fromarray(a).convert("RGB"),
        lambda a: Image.fromarray(a.astype(np.uint16) * 65535),
        lambda a: Image.merge("LA", 2 * [Image.fromarray(a).convert("L")]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_mask_is_made_of_all_that_clearly_is_one(hole, make):
    known = Mask(make(hole)).known
    assert torch.equal(known, torch.from_numpy(hole)[None].float())
    assert not known.requires_grad


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda a: np.ma.array(a, mask=~a), "masked array with 100 masked values.*getmaskarray"),
        (lambda a: [np.ma.array(a, mask=~a)], "masked array"),
        (lambda a: "mask.png", "is a str, not a tensor; images.read"),
        (lambda a: None, "NoneType"),
        (lambda a: [[1, 0], [1]], "is a list"),
        (lambda a: a.astype(complex), "not a tensor"),
        (lambda a: torch.from_numpy(a).to(torch.complex64), "not torch.complex64"),
        (lambda a: a.astype(str), "not a tensor"),
        (lambda a: a.astype(object), "not a tensor"),
        (lambda a: a.astype(np.uint8) * 255, "255.*threshold"),
        (lambda a: a.astype(">u8") * (2**64 - 1), "threshold"),
        (lambda a: Image.linear_gradient("L"), "not a mask"),
        (lambda a: Image.new("I", (20, 20), 70_000), "70000"),
    ],
)
def test_what_is_no_mask_and_why(hole, made, words):
    with pytest.raises(InputError, match=words):
        Mask(made(hole))


def test_a_mask_moves_without_being_looked_at_again():
    moved = Mask.hole(20, 20).to("meta")  # a device without values
    assert moved.known.device.type == "meta" and moved.kind == "hole"


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -7.0])
def test_what_is_missing_may_be_anything(broken):
    clean, mask = images.load("astronaut", size=64), Mask.text(64, 64)
    spoilt = torch.where(mask.known > 0, clean, broken)
    expected = problems.Problem(clean, mask).observation
    assert torch.equal(mask(spoilt), expected)
    for observation in (spoilt, spoilt.numpy(), spoilt.numpy().astype(">f8")):
        assert torch.equal(problems.Problem(observation, mask).observation, expected)


def test_nan_at_a_known_pixel_stays_an_error():
    clean, mask = images.load("astronaut", size=64), Mask.text(64, 64)
    place = mask.known[0].nonzero()[0]
    clean[:, place[0], place[1]] = torch.nan
    for make in (problems.Problem, problems.inpainting):
        with pytest.raises(ImageError, match="3 values that are NaN"):
            make(clean, mask)


def test_an_image_with_holes_of_its_own_has_no_truth():
    clean, mask = images.load("astronaut", size=64), Mask.text(64, 64)
    spoilt = torch.where(mask.known > 0, clean, torch.nan)
    whole, holed = (problems.inpainting(p, mask, sigma=0.1, seed=3) for p in (clean, spoilt))
    assert holed.truth is None and torch.equal(whole.truth, clean)
    assert torch.equal(holed.observation, whole.observation) and holed.sigma == 0.1
    assert problems.inpainting(spoilt, mask.known).truth is None
    with pytest.raises(ImageError, match="NaN"):
        problems.inpainting(spoilt, 0.5)  # a random mask hides other pixels


def test_a_channel_may_be_missing_altogether():
    clean = images.load("astronaut", size=64)
    known = torch.ones(3, 64, 64)
    known[1] = 0
    problem = problems.inpainting(clean, known)
    assert problem.observation[1].abs().max() == 0
    assert problem.operator.missing == pytest.approx(1 / 3)
    assert torch.equal(operators.Mask(known.numpy()).known, known)


# A rotated Pillow image, and an image that is its own mask.


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_pillow_image_is_turned_as_its_file_is(mode):
    image = Image.new("RGBA", (40, 30), (255, 255, 255, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    memory = io.BytesIO()
    image.convert(mode).save(memory, "PNG", exif=exif)
    opened = Image.open(io.BytesIO(memory.getvalue()))
    from_file, from_image = images.read_mask(memory.getvalue()), images.read_mask(opened)
    assert from_file.shape == (1, 40, 30) and torch.equal(from_image, from_file)
    if mode != "RGBA":
        array = images.from_array(Image.open(io.BytesIO(memory.getvalue())))
        assert torch.equal(array, images.read(memory.getvalue()))


def test_an_image_is_its_own_mask_and_each_remark_is_made_once(tmp_path):
    frames = [Image.new("RGBA", (40, 30), (90, 90, 90, 255)) for _ in range(2)]
    for number, frame in enumerate(frames):
        frame.paste((0, 0, 0, 0), (5, 5, 9 + number, 9))
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for source in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes()):
        with pytest.warns(UserWarning) as said:
            image, known = images.read_erased(source)
        assert len(said) == 1 and "more than one frame" in str(said[0].message)
        missing = torch.zeros(1, 30, 40, dtype=torch.bool)
        missing[:, 5:9, 5:9] = True
        assert torch.equal(~known, missing)
        assert torch.allclose(image, torch.where(known, 90 / 255, 1.0).expand(3, -1, -1))


def test_an_image_that_is_half_transparent_shows_no_hole(tmp_path):
    Image.merge("LA", [Image.new("L", (256, 256)), Image.linear_gradient("L")]).save(
        tmp_path / "grad.png"
    )
    with pytest.raises(ImageError, match=r"grad\.png does not show what was erased, since \d+%"):
        images.read_erased(tmp_path / "grad.png")
