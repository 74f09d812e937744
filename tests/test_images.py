"""Images: what is read, what is refused and in which words, and files written whole or not."""

import functools
import hashlib
import http.server
import io
import math
import os
import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pooch
import pytest
import tifffile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from diplearn import images, operators, problems
from diplearn.errors import ImageError, InputError
from diplearn.images import bundled, tensors, writing
from diplearn.images.decoding import limits

not_on_windows = pytest.mark.skipif(
    os.name == "nt", reason="Windows has other names, permissions and links"
)


def gradient(height=24, width=32, channels=3):
    """An image that differs from each of its rotations and reflections."""
    down, across = np.mgrid[0:height, 0:width]
    plane = (5 * down + 2 * across).astype(np.uint8)
    return Image.fromarray(np.dstack([plane] * channels).squeeze())


# What is bundled.


@pytest.mark.parametrize("name", images.names())
def test_bundled_images_are_what_the_list_says(name):
    about = images.BUNDLED[name][1]
    channels, height, width = images.load(name).shape
    assert f"{width}x{height}, {'colour' if channels == 3 else 'grey'}" in about


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ImageError, match="'lena'.*astronaut, brick.*images.read"):
        images.load("lena")


def test_size_takes_the_centre_square():
    image = images.load("coffee")
    assert torch.equal(images.load("coffee", size=400), image[:, :, 100:500])
    small = images.load("coffee", size=100)
    assert small.shape == (3, 100, 100) and 0 <= small.min() and small.max() <= 1


def test_an_image_is_brought_down_without_aliasing():
    stripes = (torch.arange(128) % 2).float().expand(1, 128, 128)
    assert (images.centre_square(stripes, 40) - 0.5).abs().max() < 0.05
    assert (images.shrink(stripes, 40) - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("size", [0, -4, 15, 401, 99.5, float("nan"), "big"])
def test_an_impossible_size(size):
    with pytest.raises(ImageError, match=r"size=.*from 16 to 400.*600x400"):
        images.load("coffee", size=size)


def test_longest_keeps_the_proportions():
    image = images.load("coffee")
    assert images.shrink(image, 150).shape == (3, 100, 150)
    assert images.shrink(image, 600) is image
    with pytest.raises(ImageError, match="longest=20 would leave 20x13"):
        images.shrink(image, 20)
    with pytest.raises(ImageError, match="longest=nan"):
        images.shrink(image, float("nan"))


# Files that are read.


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tif", {}, 0),
        ("ppm", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("gif", {}, 0.02),
        ("jpg", {"quality": 95}, 0.02),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_format_is_read(tmp_path, suffix, options, tolerance, channels):
    original = gradient(channels=channels)
    original.save(tmp_path / f"a.{suffix}", **options)
    image = images.read(tmp_path / f"a.{suffix}")
    assert image.dtype == torch.float32 and image.is_contiguous()
    # GIF and WebP store grey images as colour or palette.
    assert image.shape[0] == channels or suffix in ("gif", "webp")
    expected = torch.from_numpy(np.asarray(original) / 255.0)
    expected = expected[None] if channels == 1 else expected.permute(2, 0, 1)
    assert (image - expected).abs().max() <= tolerance + 1e-6


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_cameras_rotation_is_applied(tmp_path, orientation, suffix):
    upright = np.asarray(gradient())
    # What a camera stores so that the tag's instruction leads back to the upright image.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {"quality": 95}
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    image = images.read(path)
    expected = torch.from_numpy(upright / 255.0).permute(2, 0, 1)
    assert image.shape == expected.shape
    assert (image - expected).abs().max() < 0.03


def test_damaged_camera_data_do_not_spoil_the_image(tmp_path):
    gradient().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert images.read(tmp_path / "a.jpg").shape == (3, 24, 32)
    assert said == []
    gradient().save(tmp_path / "b.jpg")
    with mock.patch("PIL.ImageOps.exif_transpose", side_effect=SyntaxError("not a TIFF file")):
        assert images.read(tmp_path / "b.jpg").shape == (3, 24, 32)


def test_sixteen_bit_grey_keeps_its_precision(tmp_path):
    values = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 7 + 1000
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        image = images.read(tmp_path / f"a.{suffix}")
        assert image.unique().numel() == 256
        assert np.allclose(image[0].numpy() * 65535, values, atol=0.01)


def test_sixteen_bit_pgm(tmp_path):
    values = (np.arange(400) * 100).astype(">u2").reshape(20, 20)
    (tmp_path / "a.pgm").write_bytes(b"P5 20 20 65535\n" + values.tobytes())
    assert np.allclose(images.read(tmp_path / "a.pgm")[0].numpy() * 65535, values, atol=0.01)


def test_palette_one_bit_and_cmyk_are_converted(tmp_path):
    gradient().quantize(64).save(tmp_path / "palette.png")
    assert images.read(tmp_path / "palette.png").shape == (3, 24, 32)

    Image.fromarray(np.eye(20, dtype=bool)).save(tmp_path / "bits.png")
    assert torch.equal(images.read(tmp_path / "bits.png"), torch.eye(20)[None])

    Image.new("CMYK", (20, 20), (255, 0, 0, 0)).save(tmp_path / "print.tif")
    cyan = images.read(tmp_path / "print.tif")
    assert cyan[:, 5, 5].tolist() == [0, 1, 1]


def test_transparency_shows_white_and_is_said(tmp_path):
    clear = np.zeros((20, 20), np.uint8)
    clear[:10] = 255  # the upper half is opaque, the lower half transparent
    black = Image.new("L", (20, 20), 0)
    black.putalpha(Image.fromarray(clear))
    black.save(tmp_path / "la.png")
    black.convert("RGBA").save(tmp_path / "rgba.png")
    palette = Image.fromarray((clear == 0).astype(np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0] * 2)
    palette.save(tmp_path / "palette.png", transparency=1)
    palette.save(tmp_path / "palette.gif", transparency=1)
    Image.fromarray(clear).save(tmp_path / "grey.png", transparency=0)

    for name, channels in [("la.png", 1), ("rgba.png", 3), ("palette.png", 3), ("palette.gif", 3)]:
        with pytest.warns(UserWarning, match="transparent pixels; they are shown as white"):
            image = images.read(tmp_path / name)
        assert image.shape == (channels, 20, 20)
        assert image[:, :10].max() == 0 and image[:, 10:].min() == 1
    with pytest.warns(UserWarning, match="transparent pixels"):
        assert images.read(tmp_path / "grey.png").min() == 1


def test_an_opaque_alpha_channel_is_nothing_to_speak_of(tmp_path):
    gradient().convert("RGBA").save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.read(tmp_path / "a.png").shape == (3, 24, 32)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="more than one frame; only the first"):
        image = images.read(path)
    assert (image[:, 5, 5] - torch.tensor([1.0, 0, 0])).abs().max() < 0.03


def test_floating_and_wide_tiffs(tmp_path):
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    Image.fromarray(values).save(tmp_path / "float.tif")
    assert np.array_equal(images.read(tmp_path / "float.tif")[0].numpy(), values)

    Image.fromarray((values * 65535).astype(np.int32)).save(tmp_path / "wide.tif")
    assert np.allclose(images.read(tmp_path / "wide.tif")[0].numpy(), values, atol=2e-5)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (300.0, np.float32, "0 to 300; they must be between 0 and 1"),
        (-0.5, np.float32, "-0.5 to 0"),
        (np.nan, np.float32, "nan"),
        (np.inf, np.float32, "inf"),
        (70_000, np.int32, "between 0 and 65535"),
        (-1, np.int32, "-1 to 0"),
    ],
)
def test_tiffs_whose_range_is_anyones_guess(tmp_path, value, kind, words):
    values = np.zeros((20, 20), kind)
    values[3, 4] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=words):
        images.read(tmp_path / "a.tif")


@pytest.mark.parametrize(("width", "height"), [(17, 31), (5000, 40), (16, 16)])
def test_odd_and_oblong_images_are_read_whole(tmp_path, width, height):
    Image.new("RGB", (width, height)).save(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").shape == (3, height, width)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (15, 200), (200, 15)])
def test_tiny_images_are_refused(tmp_path, width, height):
    Image.new("RGB", (width, height)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=f"{width}x{height} pixels.* at least 16"):
        images.read(tmp_path / "a.png")


def test_reading_needs_little_more_than_the_result():
    small = np.zeros((500, 700, 3), np.uint8)
    tracemalloc.start()
    result = tensors.scaled(small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * result.numel() * 4


# Files that are refused.


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(ImageError, match="no file .*missing.png"):
        images.read(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="is a folder; name an image file"):
        images.read(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="empty.png is empty"):
        images.read(str(tmp_path / "empty.png"))
    with pytest.raises(ImageError):
        images.read(tmp_path / "empty.png" / "a.png")
    for path in ("a\0b.png", "x" * 5000 + ".png"):
        with pytest.raises(ImageError):
            images.read(path)


def test_a_file_that_may_not_be_opened_says_so(tmp_path):
    gradient().save(tmp_path / "a.png")
    with mock.patch.object(Path, "open", side_effect=PermissionError(13, "Permission denied")):
        with pytest.raises(ImageError, match="cannot read .*Permission denied"):
            images.read(tmp_path / "a.png")


@pytest.mark.parametrize(
    "content", [b"This is text, whatever its name.\n" * 9, b"\0" * 400, b"%PDF"]
)
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "letter.jpg").write_bytes(content)
    with pytest.raises(ImageError, match="letter.jpg is not an image.*known: PNG, JPEG"):
        images.read(tmp_path / "letter.jpg")


def test_formats_that_no_photograph_has_are_not_even_tried(tmp_path):
    gradient().save(tmp_path / "a.png", format="ICO", sizes=[(32, 24)])
    with pytest.raises(ImageError, match="not an image"):
        images.read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    gradient(200, 300).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=f"a.{suffix} is (damaged|not an image)"):
        images.read(path)


def bomb(width, height):
    """A PNG of under 100 bytes that claims any size."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_100, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_goes_off(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    with mock.patch.object(Image.core, "fill", side_effect=AssertionError("decoded")):
        with mock.patch.object(Image.core, "new", side_effect=AssertionError("decoded")):
            with pytest.raises(ImageError, match="bomb.png .*pixels") as caught:
                images.read(tmp_path / "bomb.png")
    assert "decoded" not in str(caught.value)


# Whatever the bytes: an image or an ImageError.


@functools.cache
def seeds():
    """A small valid file of each format."""
    made = []
    for image, kind, options in [
        (gradient(18, 20), "PNG", {}),
        (gradient(18, 20).quantize(8), "PNG", {"transparency": 3}),
        (Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)), "PNG", {}),
        (gradient(18, 20), "JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        (gradient(18, 20), "JPEG", {"progressive": True}),
        (gradient(18, 20), "GIF", {"save_all": True, "append_images": [gradient(18, 20)]}),
        (gradient(18, 20), "TIFF", {}),
        (gradient(18, 20), "TIFF", {"compression": "tiff_lzw"}),
        (Image.fromarray(np.ones((17, 18), np.float32)), "TIFF", {}),
        (gradient(18, 20), "BMP", {}),
        (gradient(18, 20), "WEBP", {}),
        (gradient(18, 20).convert("RGBA"), "WEBP", {"lossless": True}),
        (gradient(18, 20), "PPM", {}),
    ]:
        memory = io.BytesIO()
        image.save(memory, format=kind, **options)
        made.append(memory.getvalue())
    made.append(b"P2 16 16 255\n" + b"7 " * 256)
    return made


@st.composite
def damaged_files(draw):
    content = bytearray(draw(st.sampled_from(seeds())))
    # Half of the changes fall into the first bytes: there the headers are.
    place = st.integers(0, min(60, len(content) - 1)) | st.integers(0, len(content) - 1)
    for where, value in draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)):
        content[where] = value
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


@settings(derandomize=True, deadline=None, max_examples=400, database=None)
@given(damaged_files())
@example(b"")
@example(b"\x89PNG\r\n\x1a\n")
@example(bomb(60_000, 60_000))
def test_fuzzed_files_give_an_image_or_an_image_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    # A header that claims 99 million pixels would be within the law, and slow.
    with warnings.catch_warnings(), mock.patch.object(limits, "LARGEST_AREA", 1_000_000):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        try:
            image = images.read(path)
        except ImageError:
            return
    assert torch.equal(images.check(image), image)


def test_the_seeds_of_the_fuzzing_are_images(tmp_path):
    for number, content in enumerate(seeds()):
        (tmp_path / str(number)).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images.check(images.read(tmp_path / str(number)))


# Arrays and tensors.


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((3, 20, 20), torch.nan), "1200 values that are NaN or infinite"),
        (torch.full((3, 20, 20), torch.inf), "NaN or infinite"),
        (torch.linspace(-0.5, 3, 400).reshape(1, 20, 20), r"from -0.5 to 3; .* \[0, 1\]"),
        (torch.rand(20, 20, 3), r"\(20, 20, 3\).*looks like \(H, W, C\).*permute\(2, 0, 1\)"),
        (np.random.rand(20, 20, 3), r"looks like \(H, W, C\).*from_array"),
        (torch.rand(20, 20), r"shape \(20, 20\); an image is \(C, H, W\)"),
        (torch.rand(1, 3, 20, 20), "an image is"),
        (torch.rand(4, 20, 20), "C = 1 or 3"),
        (torch.zeros(3, 20, 20, dtype=torch.uint8), "uint8; divide by"),
        (torch.zeros(3, 20, 20, dtype=torch.complex64), "complex64"),
        (torch.rand(3, 1, 1), "1x1 pixels; at least 16"),
        (torch.rand(3, 0, 0), "0x0 pixels"),
        ("photo.jpg", "a str, not a tensor; images.read"),
        (np.array([["a"]]), "not a tensor"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_image_is_said(image, words):
    with pytest.raises(ImageError, match=words):
        images.check(image)


def test_an_image_of_any_values_still_has_the_form_of_one():
    wild = torch.full((3, 4, 5), torch.nan, dtype=torch.float64)
    assert images.check_form(wild, shape=[3, 4, 5]) is wild
    with pytest.raises(ImageError, match=r"^the average has shape \(3, 4, 5\) and should have"):
        images.check_form(wild, "the average", shape=(3, 5, 4))
    with pytest.raises(ImageError, match="^the average has 60 values that are NaN or infinite"):
        images.check_finite(wild, "the average")
    large = torch.full((1, 4, 5), 7.0)
    assert images.check_finite(large) is large


def test_the_message_names_what_was_checked():
    with pytest.raises(ImageError, match="^the truth holds"):
        images.check(torch.full((1, 16, 16), 2.0), "the truth")


@pytest.mark.parametrize("shape", [(1, 17, 31), (3, 40, 5000), (3, 16, 16)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_good_images_pass_as_float32(shape, dtype):
    image = torch.rand(shape).to(dtype)
    checked = images.check(image)
    assert checked.dtype == torch.float32 and torch.equal(checked, image.float())


def test_arrays_become_images():
    array = np.random.default_rng(0).random((20, 30, 3))
    expected = torch.from_numpy(array).permute(2, 0, 1).float()
    assert torch.equal(images.from_array(array), expected)
    assert torch.equal(images.from_array(array.astype(">f8")), expected)
    assert torch.equal(images.check(array.transpose(2, 0, 1).astype(">f8")), expected)
    assert images.from_array(array[..., 0]).shape == (1, 20, 30)
    assert images.from_array(array[..., :1]).shape == (1, 20, 30)
    assert images.from_array(np.full((20, 20), 255, np.uint8)).unique().tolist() == [1]
    assert images.from_array(np.full((20, 20), 65535, np.uint16)).unique().tolist() == [1]
    assert images.from_array(np.eye(20, dtype=bool)).unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((20, 20, 4)), r"\(20, 20, 4\) is not \(H, W\)"),
        (np.zeros((3, 20, 20)), "tensor needs no conversion"),
        (np.zeros(20), "is not"),
        (np.full((20, 20), 200), "from 200 to 200"),
        (np.full((20, 20), np.nan), "NaN"),
        (np.full((20, 20), 1j), "complex128"),
        ([["a"] * 20] * 20, "is a list, not a tensor"),
    ],
)
def test_arrays_that_are_no_images(array, words):
    with pytest.raises(ImageError, match=words):
        images.from_array(array)


def test_arrays_and_back():
    image = torch.rand(3, 20, 30) * 3 - 1
    array = images.to_array(image.double().requires_grad_())
    assert array.shape == (20, 30, 3) and array.dtype == np.float32
    assert array.min() == 0 and array.max() == 1
    assert images.to_array(image[:1]).shape == (20, 30)
    levels = torch.arange(256).repeat(16, 1)[None]
    for off in (-0.4, 0, 0.4):  # rounded, not cut off
        assert (images.to_uint8((levels + off) / 255) == np.arange(256)).all()


# Writing.


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".bmp", ".ppm", ".jpg", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_again(tmp_path, suffix, channels):
    image = images.from_array(np.asarray(gradient(channels=channels)))
    images.write(image, tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]
    again = images.read(tmp_path / f"a{suffix}")
    tolerance = 0.03 if suffix in (".jpg", ".webp") else 1e-6
    assert (again - image).abs().max() <= tolerance


def test_a_small_observation_is_written_too(tmp_path):
    images.write(torch.rand(3, 4, 5), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (5, 4)


@pytest.mark.parametrize("name", ["a", "a.docx", "a.pdf", "a.gif"])
def test_a_suffix_that_names_no_format(tmp_path, name):
    with pytest.raises(InputError, match=r"files with this suffix cannot be written .*\.png"):
        images.write(torch.rand(1, 16, 16), tmp_path / name)


def test_writing_what_is_no_image_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(ImageError, match="from 2 to 2"):
        images.write(torch.full((1, 16, 16), 2.0), path)
    assert path.read_bytes() == b"old"


# The paper's images: a server on this machine plays the network.


@pytest.fixture
def published(tmp_path, monkeypatch):
    """One published image, its server, an empty cache, and what was asked of the server."""
    site, cache = tmp_path / "site", tmp_path / "cache"
    (site / "set").mkdir(parents=True)
    gradient().save(site / "set" / "a.png")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DIPLEARN_DATA_DIR", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: cache / project)

    url = f"http://127.0.0.1:{server.server_address[1]}/set/a.png"
    sha256 = hashlib.sha256((site / "set" / "a.png").read_bytes()).hexdigest()
    listed = {"set/a.png": (url, sha256)}
    monkeypatch.setattr(bundled, "_paper_images", lambda: listed)
    yield mock.Mock(site=site, cache=cache, asked=asked, listed=listed, url=url, sha256=sha256)
    server.shutdown()
    server.server_close()


def files_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_download_happens_once(published):
    path = images.fetch("set/a.png")
    assert path == published.cache / "diplearn" / "set" / "a.png"
    assert images.fetch("set/a.png") == path
    assert published.asked == ["/set/a.png"]
    assert images.load("set/a.png", size=20).shape == (3, 20, 20)


def test_a_wrong_download_is_not_kept(published):
    published.listed["set/a.png"] = (published.url, "0" * 64)
    with pytest.raises(ImageError, match="(?s)cannot download set/a.png.*hash"):
        images.fetch("set/a.png")
    assert files_under(published.cache) == []


@pytest.mark.parametrize("url", ["file:///a.png", "http://127.0.0.1:9/a.png", "{}/none.png"])
def test_without_a_network_the_message_says_what_helps(published, url):
    published.listed["set/a.png"] = (url.format(published.url), published.sha256)
    with pytest.raises(ImageError, match="(?s)cannot download set/a.png.*DIPLEARN_DATA_DIR"):
        images.fetch("set/a.png")
    assert files_under(published.cache) == []


def test_a_folder_of_ones_own_needs_no_network(published, tmp_path, monkeypatch):
    monkeypatch.setenv("DIPLEARN_DATA_DIR", str(published.site))
    assert images.fetch("set/a.png") == published.site / "set" / "a.png"
    assert published.asked == []


def test_a_wrong_file_in_a_folder_of_ones_own_is_said_and_kept(published, tmp_path, monkeypatch):
    own = tmp_path / "own" / "set" / "a.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"my holiday")
    monkeypatch.setenv("DIPLEARN_DATA_DIR", str(tmp_path / "own"))
    with pytest.raises(ImageError, match="not the published file .*SHA-256"):
        images.fetch("set/a.png")
    assert own.read_bytes() == b"my holiday"
    assert published.asked == []


def test_a_download_never_goes_into_a_folder_of_ones_own(published, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("DIPLEARN_DATA_DIR", str(tmp_path / "own"))
    assert published.cache in images.fetch("set/a.png").parents
    assert list((tmp_path / "own").iterdir()) == []


def test_a_name_that_the_paper_does_not_have():
    with pytest.raises(ImageError, match="no image 'set/zebra.png'; see images.paper_names"):
        images.fetch("set/zebra.png")


def test_the_list_of_the_papers_images_is_well_formed():
    for name in images.paper_names():
        url, sha256 = bundled._paper_images()[name]
        assert url.startswith("https://") and len(sha256) == 64 and int(sha256, 16)


# What a file keeps beside its pixels.


def camera_data():
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x0132: "2024:05:06 07:08:09"})
    exif.get_ifd(0x8769).update({0xA001: 65535, 0xA002: 400, 0xA003: 300, 0x8827: 200})
    return exif.tobytes()


ABOUT = images.About(8, camera_data(), (300.0, 150.0))
DEEP = ABOUT._replace(bits=16)


@pytest.fixture(params=[1, 3])
def fine(request):
    """Values that 8 bits cannot hold, in an odd size."""
    shape = (request.param, 19, 31)
    levels = torch.randint(0, 65536, shape, generator=torch.Generator().manual_seed(0))
    return levels.double().div(65535).float()


def pixels_of_png(content):
    """Decode a PNG of one IDAT chunk by the book, whatever its filters (0 to 2) and depth."""
    chunks, at = {}, 8
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length) == (zlib.crc32(body),)
        assert kind not in chunks
        chunks[kind] = body[4:]
        at += length + 12
    assert at == len(content) and kind == b"IEND"
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    channels, size = {0: 1, 2: 3}[colour], depth // 8
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    kinds, rows = rows[:, 0], rows[:, 1:].copy()
    for y, kind in enumerate(kinds):
        for x in range(size * channels, rows.shape[1]) if kind == 1 else ():
            rows[y, x] += rows[y, x - size * channels]
        if kind == 2 and y:
            rows[y] += rows[y - 1]
        assert kind <= 2
    return rows.view(">u2" if size == 2 else np.uint8).reshape(height, width, channels), chunks


def test_sixteen_bit_colour_is_a_png_by_the_book(fine):
    fine = fine if fine.shape[0] == 3 else fine.expand(3, -1, -1)
    pixels, chunks = pixels_of_png(images.encode(fine, "png", DEEP))
    assert np.array_equal(pixels, np.rint(fine.numpy().transpose(1, 2, 0) * 65535))
    assert chunks[b"sRGB"] == b"\0" and b"iCCP" not in chunks
    assert chunks[b"pHYs"] == struct.pack(">IIB", 11811, 5906, 1)
    with Image.open(io.BytesIO(images.encode(fine, "png", DEEP))) as pillows:
        assert np.abs(np.asarray(pillows) - fine.numpy().transpose(1, 2, 0) * 255).max() <= 1


def test_sixteen_bits_are_rounded_not_cut_off():
    levels = torch.arange(0, 65536, 13).repeat(2, 1)[None].double()
    for off in (-0.4, 0, 0.4):
        image = (levels + off).clamp(0, 65535) / 65535
        assert np.array_equal(writing._to_uint16(image), levels[0].numpy())


def test_sixteen_bit_grey_png(fine):
    with Image.open(io.BytesIO(images.encode(fine[:1], "PNG", DEEP))) as image:
        assert np.array_equal(np.asarray(image), np.rint(fine[0].numpy() * 65535))


@pytest.mark.parametrize(("about", "top", "kind"), [(DEEP, 65535, "u2"), (ABOUT, 255, "u1")])
def test_tiff_is_what_tifffile_reads(fine, about, top, kind):
    content = images.encode(fine, "tif", about)
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages[0]
        array = page.asarray()
        assert array.dtype == kind and page.photometric.name in ("MINISBLACK", "RGB")
        assert page.tags["XResolution"].value == (300, 1)
        assert page.tags["YResolution"].value == (150, 1)
        assert page.tags["Make"].value == "Maker"
        assert page.tags["ExifTag"].value["ISOSpeedRatings"] == 200
        assert "Orientation" not in page.tags
    wanted = np.rint(fine.double().numpy().transpose(1, 2, 0) * top)
    assert np.array_equal(array.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("width", [16, 40_000])  # the width is kept in 16 bits or in 32
def test_a_wide_tiff_of_sixteen_bits(width):
    image = torch.rand(3, 2, width, generator=torch.Generator().manual_seed(0))
    array = tifffile.imread(io.BytesIO(images.encode(image, "TIFF", DEEP)))
    assert np.array_equal(array, writing._to_uint16(image))


def test_sixteen_bit_ppm(fine):
    content = images.encode(fine, "ppm", DEEP)
    start = content.index(b"65535\n") + 6
    array = np.frombuffer(content[start:], ">u2").reshape(19, 31, -1)
    assert content.split()[:3] == [b"P6" if fine.shape[0] == 3 else b"P5", b"31", b"19"]
    assert np.array_equal(array, np.rint(fine.numpy().transpose(1, 2, 0) * 65535))


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "WEBP"])
def test_a_format_of_eight_bits_gets_eight(fine, kind):
    assert images.encode(fine, kind, DEEP) == images.encode(fine, kind, ABOUT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("about", [ABOUT, DEEP])
@pytest.mark.filterwarnings("error")
def test_the_cameras_data_are_kept_and_brought_up_to_date(fine, kind, about):
    with Image.open(io.BytesIO(images.encode(fine, kind, about))) as image:
        exif = image.getexif()
        assert exif[0x010F] == "Maker" and exif[0x0132] == "2024:05:06 07:08:09"
        assert 0x0112 not in exif  # the pixels are upright
        assert dict(exif.get_ifd(0x8769)) == {0xA001: 1, 0xA002: 31, 0xA003: 19, 0x8827: 200}


def test_how_another_file_stored_its_pixels_is_not_kept(fine):
    # EXIF of a TIFF file: its own width, bits, compression, strips, photometric interpretation.
    other = Image.Exif()
    other.load(camera_data())
    other.update({256: 9, 257: 9, 258: 4, 259: 5, 262: 0, 273: 8, 277: 4, 278: 1, 279: 9, 317: 2})
    about = DEEP._replace(exif=other.tobytes())
    wanted = np.rint(fine.numpy().transpose(1, 2, 0) * 65535)
    assert np.array_equal(tifffile.imread(io.BytesIO(images.encode(fine, "tif", about))).ravel(),
                          wanted.ravel())  # fmt: skip
    with Image.open(io.BytesIO(images.encode(fine, "jpeg", about))) as image:
        assert not {256, 257, 258, 259, 262, 273, 277, 278, 279, 317} & set(image.getexif())
        assert image.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_the_resolution_is_kept(fine, kind):
    for about in (ABOUT, DEEP):
        with Image.open(io.BytesIO(images.encode(fine, kind, about))) as image:
            assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)


def test_colour_says_that_it_is_srgb(fine):
    expected = fine.shape[0] == 3
    for kind in ("JPEG", "TIFF", "WEBP"):
        with Image.open(io.BytesIO(images.encode(fine, kind))) as image:
            profile = image.info.get("icc_profile")
            assert (profile is not None) == expected
            if expected:
                described = ImageCms.getProfileDescription(io.BytesIO(profile))
                assert described.startswith("sRGB")
    with Image.open(io.BytesIO(images.encode(fine, "PNG"))) as image:
        assert image.info.get("srgb") == (0 if expected else None)


def test_the_profile_makes_no_file_differ_from_the_last(monkeypatch, fine):
    first = images.encode(fine, "jpg")
    writing._srgb_profile.cache_clear()
    date = slice(24, 36)
    real = ImageCms.ImageCmsProfile.tobytes

    def a_year_later(profile):
        content = bytearray(real(profile))
        content[date] = struct.pack(">6H", 2031, 7, 8, 9, 10, 11)
        return bytes(content)

    monkeypatch.setattr(ImageCms.ImageCmsProfile, "tobytes", a_year_later)
    assert images.encode(fine, "jpg") == first
    writing._srgb_profile.cache_clear()


def test_without_a_colour_library_an_image_is_written_all_the_same(monkeypatch, fine):
    writing._srgb_profile.cache_clear()
    monkeypatch.setattr(writing.features, "check", lambda name: False)
    with Image.open(io.BytesIO(images.encode(fine, "jpg"))) as image:
        assert image.size == (31, 19) and "icc_profile" not in image.info
    writing._srgb_profile.cache_clear()


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        (images.About(8, camera_data(), (math.nan, 1.0)), "PNG"),
        (images.About(16, None, (-5.0, 1e9)), "PNG"),
        (images.About(16, None, (-5.0, 1e9)), "TIFF"),
    ],
)
def test_what_cannot_be_kept_is_left_out_and_said(fine, about, kind):
    with pytest.warns(UserWarning, match=f"cannot be kept in {kind}; they are left out"):
        content = images.encode(fine, kind, about)
    assert content == images.encode(fine, kind, images.About(about.bits, None, None))


def test_camera_data_too_long_for_a_jpeg(fine):
    exif = Image.Exif()
    exif[0x010E] = "long " * 20_000
    with pytest.warns(UserWarning, match="EXIF and resolution cannot be kept in JPEG"):
        content = images.encode(fine, "JPEG", images.About(8, exif.tobytes(), None))
    assert Image.open(io.BytesIO(content)).size == (31, 19)


@pytest.mark.filterwarnings("error")
def test_damaged_camera_data_are_left_out(fine):
    damaged = images.About(8, b"Exif\0\0MM\0*\xff\xff\xff\xff", None)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        with Image.open(io.BytesIO(images.encode(fine, kind, damaged))) as image:
            assert image.size == (31, 19)


def test_what_is_encoded_is_what_is_written(tmp_path, fine):
    for suffix in ("png", "jpg", "tif", "bmp", "webp", "ppm"):
        images.write(fine, tmp_path / f"a.{suffix}", DEEP)
        content = (tmp_path / f"a.{suffix}").read_bytes()
        assert content == images.encode(fine, suffix, DEEP)
        assert content == images.encode(fine, f".{suffix.upper()}", DEEP)
    with pytest.raises(InputError, match="no format is called 'gif'; there are PNG, JPEG"):
        images.encode(fine, "gif")
    with pytest.raises(ImageError, match="from 2 to 2"):
        images.encode(torch.full((1, 16, 16), 2.0), "png")


def test_an_image_that_a_format_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.webp"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="WEBP cannot hold a 17000x1 image"):
        images.write(torch.zeros(1, 1, 17_000), path, ABOUT)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# What else an image may be made of.


@pytest.mark.filterwarnings("error")
def test_arrays_of_any_layout_are_images():
    array = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    expected = torch.from_numpy(array)
    read_only = np.frombuffer(array.tobytes(), np.float32).reshape(array.shape)
    for same in (
        array.astype(">f4"),
        array.astype(np.longdouble),
        np.asfortranarray(array),
        array[:, ::-1].copy()[:, ::-1],
        read_only,
        read_only[:, ::-1][:, ::-1],
        array.tolist(),
        np.ma.array(array),
        expected.to_sparse(),
        expected.clone().requires_grad_(),
    ):
        assert torch.equal(images.check(same), expected)
        assert torch.equal(images.shrink(same, 30), expected)
        assert np.array_equal(images.to_array(same), array.transpose(1, 2, 0))
        pixels = same.permute(1, 2, 0) if torch.is_tensor(same) else np.moveaxis(same, 0, -1)
        assert torch.equal(images.from_array(pixels), expected)
    assert torch.equal(images.from_array(expected[0].to(torch.bfloat16)), images.check(
        expected[:1].to(torch.bfloat16)))  # fmt: skip
    assert torch.equal(images.from_array(array[0].tolist()), expected[:1])
    assert images.from_array(np.full((20, 20), 65535, ">u2")).unique().tolist() == [1]


def test_pillow_images_are_images_and_a_palette_is_colours():
    colours = gradient(20, 30)
    expected = images.from_array(np.asarray(colours))
    assert torch.equal(images.from_array(colours), expected)
    indexed = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8) % 3)
    indexed = indexed.convert("P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert images.from_array(indexed)[:, 0, :3].tolist() == torch.eye(3).tolist()
    cmyk = Image.new("CMYK", (20, 20), (255, 0, 0, 0))
    assert images.from_array(cmyk)[:, 5, 5].tolist() == [0, 1, 1]
    for opaque in (colours.convert("RGBA"), colours.convert("L").convert("LA")):
        assert torch.equal(images.from_array(opaque), expected[: len(opaque.getbands()) - 1])
    assert images.from_array(Image.fromarray(np.eye(20, dtype=bool))).unique().tolist() == [0, 1]
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
    assert torch.equal(images.from_array(Image.fromarray(deep)), images.from_array(deep))
    with pytest.raises(ImageError, match=r"transparent in places.*convert\('RGB'\)"):
        images.from_array(Image.new("RGBA", (20, 20), (0, 0, 0, 9)))
    keyed = Image.new("L", (20, 20), 9)
    keyed.info["transparency"] = 9
    with pytest.raises(ImageError, match="transparent in places"):
        images.from_array(keyed)
    hsv = Image.new("RGB", (20, 20), "lime").convert("HSV")
    assert images.from_array(hsv)[:, 5, 5].tolist() == [0, 1, 0]
    with pytest.raises(ImageError, match=r"a Pillow image.*images.from_array\(image\)"):
        images.check(colours)


def test_a_masked_array_is_refused_with_the_way_out():
    array = np.ma.array(np.random.default_rng(0).random((3, 20, 20)), mask=False)
    array[:, 3:5] = np.ma.masked
    words = r"masked array with 120 masked values: use array.filled\(0\).*Mask\(~numpy.ma.getmask"
    for refuse, array_like in [
        (images.check, array),
        (images.check, list(array)),
        (images.from_array, np.moveaxis(array, 0, -1)),
        (images.as_tensor, array),
        (images.to_array, array),
        (lambda image: images.encode(image, "png"), array),
    ]:
        with pytest.raises(ImageError, match=words if array_like is array else "masked array"):
            refuse(array_like)
    # The way out is one.
    problem = problems.Problem(
        torch.from_numpy(array.filled(0)), operators.Mask(~np.ma.getmaskarray(array))
    )
    assert problem.operator.missing == 0.1


@pytest.mark.parametrize("thing", [[[0.5, 0.2], [0.1]], [[{}]], {"a": 1}, object()])
def test_what_is_no_array(thing):
    for take in (images.check, images.from_array, images.as_tensor):
        with pytest.raises(ImageError):
            take(thing)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"hi", "the data are not an image that can be read"),
        (b"BM", "the image is damaged or not an image$"),
        (b"P5 is a text", "the image is damaged or not an image$"),
        (b"Pf 1 2 z", "the image is damaged or not an image$"),
        (b"II*\0", "the image is damaged or not an image$"),
        (b"\x89PNG\r\n\x1a\n", "the image is damaged or not an image$"),
        ("file:///tmp/x.png", "is a URL; download"),
        ("s3://b/x.png", "is a URL; download"),
    ],
)
def test_what_is_no_image_is_said_without_internals(source, words):
    with pytest.raises(ImageError, match=words):
        images.read(source)


def test_what_is_no_mask_is_called_one():
    with pytest.raises(ImageError, match="^the data of the mask are not an image that can"):
        images.read_mask(b"hi")
    with pytest.raises(ImageError, match="^the mask is empty"):
        images.read_mask(b"")
    with pytest.raises(ImageError, match=r"images\.read_mask\(path\)"):
        operators.Mask("mask.png")
    for dtype in (object, complex, "M8[s]"):
        with pytest.raises(ImageError, match=r"^the mask is an array of .* no numbers"):
            operators.Mask(np.zeros((20, 20), dtype))


def test_a_file_that_may_not_be_read_is_named_once(tmp_path):
    refused = PermissionError(13, "Permission denied", str(tmp_path / "photo.png"))
    with (
        mock.patch.object(Path, "open", side_effect=refused),
        pytest.raises(ImageError, match="photo.png: Permission denied$"),
    ):
        images.read(tmp_path / "photo.png")


def test_empty_standard_input_is_called_so(tmp_path):
    empty = io.BytesIO()
    empty.name = "<stdin>"
    with pytest.raises(ImageError, match="^standard input is empty"):
        images.read(empty)


def test_no_side_of_nothing_is_spoken_of():
    with pytest.raises(ImageError, match="would leave 1x1000 pixels"):
        images.shrink(torch.zeros(1, 1, 1).expand(1, 100_000, 16), 1000)


def test_a_profile_of_zeros_is_named_in_print():
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "PNG", icc_profile=bytes(200))
    with pytest.warns(UserWarning, match="it is for no colours"):
        images.read(file.getvalue())


@pytest.mark.parametrize("name", [name for name in dir(torch) if name.startswith("float8_e")])
def test_numbers_of_eight_bits_are_numbers(name):
    ones = torch.ones(20, 20).to(getattr(torch, name))
    assert torch.equal(images.from_array(ones), torch.ones(1, 20, 20))
    assert torch.equal(operators.Mask(ones).known, torch.ones(1, 20, 20))


@pytest.mark.parametrize("take", [images.from_array, operators.Mask, images.check])
def test_a_tensor_without_values_is_refused(take):
    with pytest.raises(ImageError, match="device meta"):
        take(torch.empty(20, 20, device="meta"))


@pytest.mark.parametrize("take", [images.from_array, images.read_mask, operators.Mask])
def test_a_closed_image_is_refused(take):
    image = Image.new("L", (20, 20))
    image.close()
    with pytest.raises(ImageError, match="closed"):
        take(image)


def test_a_mask_that_loses_nearly_all_that_is_known_says_so():
    known = operators.Mask.text(128, 128).known > 0
    with pytest.warns(UserWarning, match=r"leaves 0\.2% of the image known, instead of 79\.6%"):
        images.shrink_known(torch.rand(3, 128, 128), known, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hole = torch.ones(1, 128, 128, dtype=torch.bool)
        hole[:, 40:60, 40:60] = False
        images.shrink_known(torch.rand(3, 128, 128), hole, 64)
