"""Files to images: depths, layouts, colours, pipes, bombs; compared with other readers."""

import io
import itertools
import os
import re
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib
from unittest import mock

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from diplearn import hardware, images
from diplearn.errors import ImageError
from diplearn.images.decoding import exif as exif_module
from diplearn.images.decoding import limits, pixels
from diplearn.images.decoding.pillow import PillowImage

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")


def quietly(source, **options):
    """What is read, as (H, W, C), and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        image = images.read(source, **options)
    return image.numpy().transpose(1, 2, 0), [str(each.message) for each in said]


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(*shape, dtype="u1"):
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, shape, endpoint=True).astype(dtype)


# TIFF, compared with tifffile.


def strips(array, codec):
    """One plane, compressed by libtiff: tifffile alone has no LZW and no PackBits."""
    raw = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
    file = saved(Image.fromarray(raw), "TIFF", compression=codec, tiffinfo={278: len(raw)})
    page = tifffile.TiffFile(io.BytesIO(file)).pages[0]
    assert len(page.dataoffsets) == 1
    return file[page.dataoffsets[0] :][: page.databytecounts[0]]


def tiff(array, order="<", codec=None, **options):
    """Write with tifffile; other codecs than its own get their number afterwards."""
    number = {"tiff_lzw": 5, "packbits": 32773}.get(codec)
    file, data = io.BytesIO(), array.astype(array.dtype.newbyteorder(order))
    if number:
        planes = data if options.get("planarconfig") == "separate" else [data]
        shape, dtype = data.shape, data.dtype
        data = iter([strips(plane, codec) for plane in planes])
        options |= dict(shape=shape, dtype=dtype, rowsperstrip=21, compression="zlib")
    else:
        options["compression"] = codec
    with tifffile.TiffWriter(file, byteorder=order) as writer:
        writer.write(data, metadata=None, **options)
    if number:
        place = tifffile.TiffFile(io.BytesIO(file.getvalue())).pages[0].tags[259].valueoffset
        file.seek(place)
        file.write(struct.pack(order + "H", number))
    return file.getvalue()


def over_white(values, photometric, alpha):
    """What the numbers mean, in floating point: the definition, not an algorithm."""
    colours, alphas = (values[..., :-1], values[..., -1:]) if alpha else (values, 1.0)
    if photometric == "miniswhite":
        colours = 1 - colours
    if alpha == "unspecified":
        alphas = 1.0
    if alpha == "assocalpha":
        colours = np.divide(colours, alphas, out=np.ones_like(colours), where=alphas > 0)
    if photometric == "separated":
        colours = (1 - colours[..., :3]) * (1 - colours[..., 3:])
    return colours * alphas + 1 - alphas


ALPHAS = [None, "unassalpha", "assocalpha", "unspecified"]
PACKINGS = [
    {},
    {"rowsperstrip": 5},
    {"tile": (16, 32)},
    {"codec": "zlib", "rowsperstrip": 5},
    {"codec": "zlib", "predictor": True},
    {"codec": "zlib", "predictor": True, "tile": (16, 32)},
    {"codec": "tiff_lzw"},
    {"codec": "packbits"},
]


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack", "rgb", "separated"])
@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_is_what_tifffile_reads(depth, photometric, alpha):
    bands = {"rgb": 3, "separated": 4}.get(photometric, 1)
    samples = bands + (alpha is not None)
    if alpha == "assocalpha" and photometric == "miniswhite":
        pytest.skip("nobody has defined it")
    values = noise(21, 37, samples, dtype=f"u{depth // 8}")
    values[0], values[1] = 0, 2**depth - 1
    if alpha == "assocalpha":
        values[..., :-1] = np.minimum(values[..., :-1], values[..., -1:])
    options = {"photometric": photometric, "extrasamples": [alpha] if alpha else None}
    for planar, order, packing in itertools.product(["contig", "separate"], "<>", PACKINGS):
        if samples == 1:
            stored, planarconfig = values[..., 0], None
        else:
            stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
            planarconfig = planar
        content = tiff(stored, order, planarconfig=planarconfig, **options, **packing)
        if packing.get("codec") in (None, "zlib"):
            assert np.array_equal(tifffile.imread(io.BytesIO(content)), stored)
        if bands == 1 and alpha == "unspecified":
            with pytest.raises(ImageError, match="2 channels that are not RGB"):
                images.read(content)
            continue
        image, said = quietly(content)
        expected = over_white(values / (2**depth - 1), photometric, alpha)
        assert np.abs(image - expected).max() < 2e-6, (planar, order, packing)
        assert any("channels" in line for line in said) == (alpha == "unspecified")
        assert images.about(content).bits == depth


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "white"),
    [("u1", 255), ("i1", 127), ("u2", 65535), ("i2", 32767), ("u4", 65535), ("i4", 65535)],
)
def test_grey_numbers_of_any_kind(order, big, dtype, white):
    values = (noise(21, 37, dtype="u2") & white).astype(order + dtype)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=big) as writer:
        writer.write(values, photometric="minisblack", compression="zlib", predictor=True)
    image, _ = quietly(file.getvalue())
    assert np.abs(image[..., 0] - values / white).max() < 1e-6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floating_grey_is_read_as_it_is(order, dtype):
    values = np.random.default_rng(0).random((21, 37)).astype(order + dtype)
    for options in ({}, {"codec": "zlib"}, {"tile": (16, 32)}):
        image, _ = quietly(tiff(values, order, photometric="minisblack", **options))
        assert np.abs(image[..., 0] - values.astype(float)).max() < 1e-7


def test_the_predictor_of_floating_values():
    values = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    content = saved(Image.fromarray(values), "TIFF", compression="tiff_lzw", tiffinfo={317: 3})
    assert np.array_equal(quietly(content)[0][..., 0], values)


def test_twelve_bits_packed_tightly():
    values = noise(21, 38, dtype="u2") >> 4
    pairs = values.reshape(21, 19, 2).astype(int)
    packed = np.stack(
        [pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255],
        axis=-1,
    ).astype(np.uint8)
    content = bytearray(tiff(packed.reshape(21, 57), photometric="minisblack"))
    tags = tifffile.TiffFile(io.BytesIO(bytes(content))).pages[0].tags
    for tag, value in ((256, 38), (258, 12)):
        struct.pack_into("<H", content, tags[tag].valueoffset, value)
    assert np.abs(quietly(bytes(content))[0][..., 0] - values / 4095).max() < 1e-6


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (np.zeros((20, 20, 3), "f4"), {"photometric": "rgb"}, "3 channels of 32-bit floating"),
        (np.zeros((20, 20), "c8"), {}, "complex values"),
        (np.zeros((20, 20), "u8"), {}, "64-bit integers"),
        (np.zeros((20, 20, 3), "u4"), {"photometric": "rgb"}, "3 channels of 32-bit integers"),
        (np.zeros((20, 20, 5), "u1"), {"planarconfig": "contig"}, "5 channels that are not RGB"),
        (np.zeros((3, 20, 20), "u2"), {"planarconfig": "separate"}, "3 channels that are not RGB"),
        (np.full((20, 20), -1, "i2"), {}, "from -1 to -1; they must be between 0 and 32767"),
        (np.zeros((20, 20), "u1"), {"photometric": "cfa"}, "a camera's raw data"),
    ],
)
def test_a_tiff_that_is_no_image_is_refused_with_the_reason(values, options, words):
    with pytest.raises(ImageError, match=words):
        images.read(tiff(values, **{"photometric": "minisblack", **options}))


# What Pillow decodes from a TIFF's pixels once the directory is clean: paper, print and fax.
@pytest.mark.parametrize("codec", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_other_tiffs_are_what_pillow_reads(mode, codec):
    if (codec == "jpeg" and mode in ("1", "P")) or (codec == "group4" and mode != "1"):
        pytest.skip("there is no such file")
    plane = np.add.outer(np.arange(24) * 5, np.arange(32) * 2).astype(np.uint8)
    original = Image.fromarray(np.dstack([plane, plane[::-1], plane[:, ::-1]]))
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        srgb = ImageCms.createProfile("sRGB")
        original = ImageCms.profileToProfile(original, srgb, lab, outputMode="LAB")
        original.info.pop("icc_profile")
    else:
        original = original.convert(mode)
    content = saved(original, "TIFF", compression=codec)
    grey = mode in ("1", "L", "LA")
    expected = Image.open(io.BytesIO(content)).convert("L" if grey else "RGB")
    image, _ = quietly(content)
    assert np.abs(image.squeeze() - np.asarray(expected) / 255).max() < 1.1 / 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scan_of_16_bits_is_turned_as_well(orientation):
    values = noise(20, 30, 3, dtype="u2")
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = tiff(values, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    image, _ = quietly(content)
    turn = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270}
    turn |= {7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}
    turn |= {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180}
    turn |= {4: Image.Transpose.FLIP_TOP_BOTTOM}
    for channel in range(3):
        plane = Image.fromarray((values[..., channel] / 65535).astype(np.float32))
        plane = plane.transpose(turn[orientation]) if orientation > 1 else plane
        assert np.abs(image[..., channel] - np.asarray(plane)).max() < 1e-6


# PNG of 16 bits: written here, filter by filter, for no other writer is at hand.


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filtered(rows):
    """Rows of a PNG with each of the five filters in turn, by the letter of the standard."""
    bytewise = np.ascontiguousarray(rows.astype(">u2")).view(np.uint8)
    bytewise = bytewise.reshape(len(rows), -1).astype(int)
    step, above, result = 2 * rows.shape[2], np.zeros(bytewise.shape[1], int), b""
    for number, row in enumerate(bytewise):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = left + above - corner
        far = [np.abs(guess - each) for each in (left, above, corner)]
        paeth = np.where(far[1] <= far[2], above, corner)
        paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, paeth)
        predicted = [0 * row, left, above, (left + above) // 2, paeth][number % 5]
        result += bytes([number % 5]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    return result


def png(values, extra=b"", interlaced=False, bits=16):
    height, width, samples = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples]
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    adam7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes = [*adam7, (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    data = b"".join(filtered(values[top::down, left::across]) for top, left, down, across in passes)
    body = zlib.compress(data)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", body[:100]) + chunk(b"IDAT", body[100:]) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_keeps_its_16_bits(samples, interlaced):
    values = noise(21, 37, samples, dtype="u2")
    content = png(values, interlaced=interlaced)
    # Pillow reduces the colours to 8 bits, and must agree as far as that goes.
    reduced = np.asarray(Image.open(io.BytesIO(content)))
    assert samples == 1 or np.array_equal(reduced[..., 0], values[..., 0] >> 8)
    image, _ = quietly(content)
    alpha = samples in (2, 4) and "unassalpha"
    assert np.abs(image - over_white(values / 65535, "rgb", alpha)).max() < 1e-6
    assert images.about(content).bits == 16


@pytest.mark.parametrize("samples", [1, 3])
def test_the_transparent_colour_of_a_16_bit_png(samples):
    values = noise(20, 20, samples, dtype="u2") | 1
    values[3, 4] = 256  # with the same high byte: not transparent, but nearly the colour
    values[5, 6] = 258
    key = struct.pack(">H", 258) * samples
    image, said = quietly(png(values, chunk(b"tRNS", key)))
    expected = values / 65535
    expected[5, 6] = 1
    assert np.abs(image - expected).max() < 1e-6
    assert "transparent" in said[0]


@pytest.mark.parametrize("samples", [1, 3])
def test_netpbm_keeps_its_16_bits(samples):
    values = noise(20, 24, samples, dtype="u2") % 5001
    head = b"P%d # a remark\n24\n20 5000\n" % (5 if samples == 1 else 6)
    image, _ = quietly(head + values.astype(">u2").tobytes())
    assert np.abs(image - values / 5000).max() < 1e-6
    with pytest.raises(ImageError, match="from 9000 to 9000; they must be between 0 and 5000"):
        images.read(head + np.full(values.shape, 9000, ">u2").tobytes())
    with pytest.raises(ImageError, match="damaged"):
        images.read(head + values.astype(">u2").tobytes()[:-1])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_a_container_of_16_are_said(bits):
    values = np.full((20, 20, 3), 2**bits - 1, np.uint16)
    for content in (png(values), tiff(values, photometric="rgb")):
        image, said = quietly(content)
        assert np.allclose(image, (2**bits - 1) / 65535)  # noticed, not changed
        assert len(said) == (bits < 16)
        assert bits == 16 or f"{2**bits - 1} of 65535 (a {bits}-bit image?)" in said[0]
    assert quietly(png(0 * values))[1] == []  # a black frame is a black frame


# Colours.


def fixed(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(space, tags):
    """A small profile, as the standard has it."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
            b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249), **tags}  # fmt: skip
    at, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += content
    head = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48)
    whole = head + struct.pack(">I", len(tags)) + table + data
    return struct.pack(">I", len(whole)) + whole[4:]


SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(
    2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045
)  # fmt: skip
GAMMA = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))
TABLE = (
    b"curv" + bytes(4) + struct.pack(">I9H", 9, *(np.linspace(0, 1, 9) ** 1.8 * 65535).astype(int))
)
LINEAR = b"curv" + bytes(8)
FORMULAS = [
    b"para" + bytes(4) + struct.pack(">HH", kind, 0) + fixed(*numbers)
    for kind, numbers in enumerate(
        [(1.9,), (1.9, 0.9, 0.1), (1.9, 0.8, 0.1, 0.05), (2.4, 0.9, 0.1, 0.08, 0.1),
         (2.1, 0.9, 0.05, 0.3, 0.2, 0.02, 0.01)]
    )
]  # fmt: skip
P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
WIDE = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]


def rgb_profile(primaries, curve):
    tags = dict(
        zip((b"rXYZ", b"gXYZ", b"bXYZ"), (b"XYZ " + bytes(4) + fixed(*p) for p in primaries))
    )
    return profile(b"RGB ", {**tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)})


def by_littlecms(image, icc, **options):
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    srgb = ImageCms.createProfile("sRGB")
    result = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB", **options)
    return np.asarray(result) / 255


PLAINLY = {  # nothing shifted for the sake of blacks, no short cuts
    "renderingIntent": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "flags": ImageCms.Flags.NOOPTIMIZE,
}


def test_display_p3_becomes_srgb():
    icc = rgb_profile(P3, SRGB_CURVE)
    original = Image.new("RGB", (20, 20), (250, 40, 40))
    for kind in ("PNG", "TIFF", "JPEG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        image, said = quietly(saved(original, kind, icc_profile=icc, **options))
        assert np.abs(image[5, 5] * 255 - (255, 0, 9)).max() < (6 if kind == "JPEG" else 1.5)
        assert said == []


@pytest.mark.parametrize("curve", [SRGB_CURVE, GAMMA, TABLE, LINEAR, *FORMULAS])
@pytest.mark.parametrize("primaries", [P3, WIDE])
def test_profiles_are_applied_as_littlecms_applies_them(primaries, curve):
    icc = rgb_profile(primaries, curve)
    values = noise(40, 50, 3)
    values[:20] = 120 + values[:20] // 8  # muted colours: nothing is clipped
    original = Image.fromarray(values)
    expected = by_littlecms(original, icc, **PLAINLY)
    image, _ = quietly(saved(original, "PNG", icc_profile=icc))
    assert np.abs(image - expected).max() < 1.1 / 255
    # With 16 bits as with 8, and with alpha (opaque, half clear) as without.
    deep, said = quietly(tiff(values.astype(np.uint16) * 257, photometric="rgb",
                              extratags=[(34675, "B", len(icc), icc, True)]))  # fmt: skip
    assert np.abs(deep - image).max() < 1e-6 and said == []
    original.putalpha(128)
    clear, _ = quietly(saved(original, "PNG", icc_profile=icc))
    assert np.abs(clear - (image * 128 / 255 + 127 / 255)).max() < 1e-6


@pytest.mark.parametrize("curve", [GAMMA, TABLE, LINEAR])
def test_grey_profiles(curve):
    icc, original = profile(b"GRAY", {b"kTRC": curve}), Image.fromarray(noise(40, 50))
    image, said = quietly(saved(original, "PNG", icc_profile=icc))
    assert image.shape == (40, 50, 1) and said == []
    expected = by_littlecms(original, icc, **PLAINLY)[..., :1]
    assert np.abs(image - expected).max() < 1.6 / 255
    deep, _ = quietly(tiff(np.asarray(original).astype(np.uint16) * 257, photometric="minisblack",
                           extratags=[(34675, "B", len(icc), icc, True)]))  # fmt: skip
    assert np.abs(deep - image).max() < 1e-6
    # Grey with an RGB profile is neutral in it: its curve is what counts.
    again, _ = quietly(saved(original, "PNG", icc_profile=rgb_profile(P3, curve)))
    assert np.abs(again - image).max() < 1e-6


def test_what_is_srgb_already_is_left_alone():
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (own, rgb_profile(SRGB, SRGB_CURVE)):
        for values in (noise(20, 20, 3), noise(20, 20)):
            image, said = quietly(saved(Image.fromarray(values), "PNG", icc_profile=icc))
            assert np.array_equal(image.squeeze(), (values / np.float32(255)).astype(np.float32))
            assert said == []


def cmyk_profile():
    """A profile that is a table: two points an axis, from CMYK to Lab."""
    lab = [(255 * (1 - k / 2) * (1 - (c + m + y) / 6), 128 + 20 * (m - c), 128 + 20 * (y - m))
           for c, m, y, k in itertools.product((0, 1), repeat=4)]  # fmt: skip
    ramp = bytes(range(256))
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4
    table += bytes(round(min(255, value)) for row in lab for value in row) + ramp * 3
    icc = bytearray(profile(b"CMYK", {b"A2B0": table}))
    icc[12:16], icc[20:24] = b"prtr", b"Lab "
    return bytes(icc)


def test_cmyk_is_converted_by_its_profile_if_it_has_one():
    icc, original = cmyk_profile(), Image.frombytes("CMYK", (20, 20), noise(20, 20, 4).tobytes())
    expected = by_littlecms(original, icc)
    image, said = quietly(saved(original, "TIFF", icc_profile=icc))
    assert np.array_equal(np.round(image * 255), np.round(expected * 255)) and said == []
    naive, said = quietly(saved(original, "TIFF"))
    assert np.abs(naive - expected).max() > 0.1
    assert "CMYK without a colour profile, so its colours are approximate" in said[0]
    deep = tiff(noise(20, 20, 4).astype(np.uint16) * 257, photometric="separated",
                extratags=[(34675, "B", len(icc), icc, True)])  # fmt: skip
    image, said = quietly(deep)
    assert np.abs(image - expected).max() < 1e-6
    assert "applied with 8 bits" in said[0] and images.about(deep).bits == 8


@pytest.mark.parametrize(
    ("icc", "reason"),
    [
        (b"nonsense", "for no colours"),
        (rgb_profile(P3, SRGB_CURVE)[:300], "damaged|rgb|profile"),
        (rgb_profile(P3, b"para" + bytes(4) + struct.pack(">HH", 9, 0)), "curve of an unknown"),
        (rgb_profile(P3, FORMULAS[1].replace(fixed(0.9), fixed(0))), "do not rise"),
        (profile(b"GRAY", {b"kTRC": GAMMA}), "it is for GRAY colours, and the image is RGB"),
        (cmyk_profile(), "it is for CMYK colours"),
        (profile(b"Lab ", {}), "it is for Lab colours"),
    ],
)
def test_a_profile_that_cannot_be_applied_is_said(icc, reason):
    values = noise(20, 20, 3)
    image, said = quietly(saved(Image.fromarray(values), "PNG", icc_profile=icc))
    assert np.abs(image - values / 255).max() < 1e-6
    assert len(said) == 1 and "colour profile that cannot be applied" in said[0]
    assert re.search(reason, said[0])


def test_without_littlecms_a_table_cannot_be_applied_and_curves_can():
    image = Image.frombytes("CMYK", (20, 20), noise(20, 20, 4).tobytes())
    missing = ImportError("The _imagingcms C module is not installed")
    with mock.patch("PIL.ImageCms.buildTransform", side_effect=missing):
        _, said = quietly(saved(image, "TIFF", icc_profile=cmyk_profile()))
        assert "cannot be applied" in said[0]
        content = saved(Image.new("RGB", (20, 20), (250, 40, 40)), "PNG",
                        icc_profile=rgb_profile(P3, SRGB_CURVE))  # fmt: skip
        assert quietly(content)[1] == []


def chromaticities(*values):
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


P3_CORNERS = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB_CORNERS = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
GAMMA_ONE = chunk(b"gAMA", struct.pack(">I", 100_000))
GAMMA_USUAL = chunk(b"gAMA", struct.pack(">I", 45_455))


def test_the_colour_chunks_of_png():
    values = noise(20, 20, 3, dtype="u2")
    plain = quietly(png(values))[0]

    def read(*chunks):
        image, said = quietly(png(values, b"".join(chunks)))
        assert said == []
        return image

    p3 = read(chunk(b"iCCP", b"p3\0\0" + zlib.compress(rgb_profile(P3, SRGB_CURVE))))
    linear = read(chunk(b"iCCP", b"p3\0\0" + zlib.compress(rgb_profile(SRGB, LINEAR))))
    assert np.abs(p3 - plain).max() > 0.1 and np.abs(linear - plain).max() > 0.1
    # One image said in two ways is one image.
    assert np.abs(read(GAMMA_USUAL, chromaticities(*P3_CORNERS)) - p3).max() < 2e-3
    assert np.abs(read(chunk(b"cICP", bytes([12, 13, 0, 1]))) - p3).max() < 2e-3
    assert np.abs(read(GAMMA_ONE) - linear).max() < 2e-3
    assert np.abs(read(GAMMA_ONE, chromaticities(*SRGB_CORNERS)) - linear).max() < 2e-3
    # sRGB said in any way changes nothing.
    for chunks in [
        (chunk(b"sRGB", b"\0"),),
        (GAMMA_USUAL,),
        (GAMMA_USUAL, chromaticities(*SRGB_CORNERS)),
        (chunk(b"cICP", bytes([1, 13, 0, 1])),),
        (chunk(b"sRGB", b"\0"), GAMMA_ONE),  # the better chunk counts
        (chunk(b"cICP", bytes([1, 13, 0, 1])), chunk(b"iCCP", b"\0\0nonsense")),
    ]:
        assert np.array_equal(read(*chunks), plain)


def test_colours_of_a_grey_png():
    values = noise(20, 20, 1, dtype="u2")
    assert np.array_equal(quietly(png(values, GAMMA_USUAL))[0], quietly(png(values))[0])
    linear = values / 65535
    expected = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(quietly(png(values, GAMMA_ONE))[0] - expected).max() < 1e-5


def test_high_dynamic_range_is_said():
    for body in ([9, 16, 0, 1], [9, 18, 0, 1], [1, 13, 0, 0], [77, 13, 0, 1]):
        _, said = quietly(png(noise(20, 20, 3, dtype="u2"), chunk(b"cICP", bytes(body))))
        assert "colour space (cICP) that cannot be applied" in said[0]


def test_a_palette_is_converted_too():
    icc = rgb_profile(P3, SRGB_CURVE)
    original = Image.new("RGB", (20, 20), (250, 40, 40)).quantize(4)
    image, _ = quietly(saved(original, "PNG", icc_profile=icc))
    assert np.abs(image[5, 5] * 255 - (255, 0, 9)).max() < 1.5


def test_a_camera_that_says_adobe_rgb():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    exif.get_ifd(0x8769)[0xA001] = 65535
    content = saved(Image.new("RGB", (24, 24), (60, 200, 60)), "JPEG", exif=exif, quality=95)
    image, _ = quietly(content)
    # By the published matrices: Adobe RGB (1998) to XYZ, XYZ to sRGB (IEC 61966-2-1).
    to_xyz = [(0.57667, 0.18556, 0.18823), (0.29734, 0.62736, 0.07529), (0.02703, 0.07069, 0.99134)]
    to_srgb = [(3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570)]
    stored = np.asarray(Image.open(io.BytesIO(content)))[5, 5] / 255
    linear = np.clip(np.array(to_srgb) @ to_xyz @ stored ** (563 / 256), 0, 1)
    expected = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(image[5, 5] - expected).max() < 2e-3
    about = images.about(content)
    kept = Image.Exif()
    kept.load(about.exif)
    assert kept.get_ifd(0x8769)[0xA001] == 1  # the result is sRGB, and says so
    assert kept.get_ifd(0xA005)[1] == "R98"


def test_bundled_images_are_what_scikit_image_has():
    import skimage.data

    for name in ("rocket", "page", "astronaut"):  # Adobe RGB, a dot gain, sRGB: all left aside
        assert np.array_equal(images.to_array(images.load(name)),
                              (getattr(skimage.data, name)() / np.float32(255)))  # fmt: skip


# What goes with the pixels.


def camera_data(orientation=6, order=None):
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112], exif[0x010F], exif[0x011A], exif[0x011B], exif[0x0128] = (
        orientation, "Maker", 240.0, 120.0, 2,
    )  # fmt: skip
    exif.get_ifd(0x8769)[0x829A] = 0.004
    exif[0x8769] = exif.get_ifd(0x8769)  # Pillow's TIFF would leave it out
    return exif


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_camera_data_are_kept_with_the_orientation_reset(kind, order):
    content = saved(Image.new("RGB", (30, 20)), kind, exif=camera_data(order=order))
    assert images.read(content).shape == (3, 30, 20)
    about = images.about(content)
    kept = Image.Exif()
    kept.load(about.exif)
    assert kept.get(0x0112, 1) == 1 and kept[0x010F] == "Maker"
    assert float(kept.get_ifd(0x8769)[0x829A]) == 0.004
    # A result that is written with them is not turned again.
    again = saved(Image.new("RGB", (20, 30)), "PNG", exif=about.exif)
    assert images.read(again).shape == (3, 30, 20)
    assert images.about(again).exif == about.exif or kind == "TIFF"
    assert about.dpi == (240, 120) if kind != "JPEG" else about.dpi is not None


def test_a_stale_thumbnail_is_not_kept():
    exif = camera_data().tobytes()
    at = 6 + 8 + 2 + 12 * struct.unpack_from(">H" if exif[6:8] == b"MM" else "<H", exif, 14)[0]
    with_thumbnail = (
        exif[:at] + struct.pack(">I" if exif[6:8] == b"MM" else "<I", 8) + exif[at + 4 :]
    )
    kept = images.about(saved(Image.new("L", (20, 20)), "JPEG", exif=with_thumbnail)).exif
    assert kept[at : at + 4] == bytes(4)


@pytest.mark.parametrize(
    ("exif", "kept"), [(b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", False), (b"Exif\0\0", False)]
)
def test_damaged_camera_data_are_left_out(exif, kept):
    for kind in ("JPEG", "PNG", "WEBP"):
        content = saved(Image.new("RGB", (30, 20)), kind, exif=exif)
        assert quietly(content)[1] == []
        assert images.about(content) == (8, None, None) or kind == "JPEG"
        assert images.about(content).exif is None


def test_an_orientation_in_xmp_or_in_imagemagicks_text_counts():
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>')
    hidden = PngInfo()
    block = camera_data().tobytes().hex()
    hidden.add_text("Raw profile type exif", f"\nexif\n{len(block) // 2:8}\n{block}\n", zip=True)
    for info in (text, hidden):
        content = saved(Image.new("RGB", (30, 20)), "PNG", pnginfo=info)
        assert images.read(content).shape == (3, 30, 20)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_resolution_and_bits_are_told(kind):
    about = images.about(saved(Image.new("RGB", (20, 20)), kind, dpi=(300, 150)))
    assert about.bits == 8 and np.allclose(about.dpi, (300, 150), atol=0.02)
    assert images.about(saved(Image.new("RGB", (20, 20)), "PPM")) == (8, None, None)


# Where the bytes come from.


def test_bytes_and_file_objects_are_read(tmp_path):
    content = saved(Image.fromarray(noise(20, 24, 3)), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    expected = images.read(tmp_path / "a.png")

    class Trickle(io.RawIOBase):
        """A pipe that hands out little at a time."""

        def __init__(self):
            self.rest = io.BytesIO(content)

        def read(self, size=-1):
            return self.rest.read(min(size, 7))

    for source in (
        content,
        bytearray(content),
        memoryview(content),
        io.BytesIO(content),
        Trickle(),
    ):
        assert images.read(source).equal(expected)
    with open(tmp_path / "a.png", "rb") as file:
        assert images.read(file).equal(expected)
    with open(tmp_path / "a.png", "rb", buffering=0) as file:
        assert images.about(file).bits == 8


def test_what_was_opened_is_not_read_again(tmp_path):
    path = tmp_path / "a.png"
    erased = Image.fromarray(noise(20, 24, 3)).convert("RGBA")
    erased.paste((0, 0, 0, 0), (5, 5, 12, 12))
    erased.save(path, dpi=(300, 300))
    expected = quietly(path)[0]
    file = images.opened(path)
    path.unlink()
    image, said = quietly(file)
    assert np.array_equal(image, expected)
    assert said == [f"{path} has transparent pixels; they are shown as white"]
    image, known = images.read_erased(file)
    assert known.equal(images.read_mask(file)) and (~known).sum() == 49
    assert np.array_equal(image.numpy().transpose(1, 2, 0), expected)
    assert images.about(file).dpi == pytest.approx((300, 300), rel=1e-3)
    assert images.opened(file) is file
    with pytest.raises(ImageError, match="^the upload is empty"):
        images.opened(b"", "the upload")


def test_what_messages_call_an_image_without_a_path(tmp_path):
    with pytest.raises(ImageError, match="^the image is empty"):
        images.read(b"")
    with pytest.raises(ImageError, match="^the data are not an image that can be read"):
        images.read(io.BytesIO(b"nothing of the kind"))
    (tmp_path / "a.txt").write_text("no image")
    with open(tmp_path / "a.txt", "rb") as file:
        with pytest.raises(ImageError, match="a.txt is not an image"):
            images.read(file)
    with open(tmp_path / "a.txt") as file:
        with pytest.raises(ImageError, match='a.txt: it was opened as text; open it with "rb"'):
            images.read(file)
    with pytest.raises(ImageError, match="cannot read .*closed"):
        images.read(file)


class Broken:
    def read(self, size):
        raise ZeroDivisionError("a foreign object's own error")


@pytest.mark.parametrize("source", [None, 3, 2.5, [], np.zeros((20, 20)), object(), Broken()])
def test_what_is_neither_path_nor_bytes_nor_file(source):
    with pytest.raises(ImageError, match="neither a path, nor bytes|foreign object's own"):
        images.read(source)


@pytest.mark.parametrize("address", ["https://example.org/a.png", "HTTP://example.org/a.png"])
def test_an_address_gets_a_sentence(address):
    with pytest.raises(ImageError, match="is a URL; download the file"):
        images.read(address)


@not_on_windows
def test_a_pipe_with_a_name_is_read(tmp_path):
    content = saved(Image.fromarray(noise(300, 400, 3)), "PNG")  # larger than a pipe's buffer
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,), daemon=True)
    writer.start()
    assert images.read(tmp_path / "pipe").equal(images.read(content))
    writer.join(10)


@not_on_windows
def test_standard_input_is_read():
    code = "from diplearn import images; print(images.read('/dev/stdin').shape)"
    content = saved(Image.fromarray(noise(300, 400, 3)), "PNG")
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True)
    assert done.stdout.split(b"\n")[0] == b"torch.Size([3, 300, 400])", done.stderr


@not_on_windows
def test_what_never_ends_is_left_after_its_first_bytes():
    with pytest.raises(ImageError, match="/dev/zero is not an image"):
        images.read("/dev/zero")


def test_no_more_than_a_limit_is_read():
    class Endless:
        """A PNG's first bytes, and then no end."""

        given = 0

        def read(self, size):
            self.given += size
            return b"\x89PNG\r\n\x1a\n" + bytes(8) if self.given == size else bytes(size)

    with mock.patch.object(limits, "LARGEST_FILE", 5_000_000):
        with pytest.raises(ImageError, match="larger than 5 MB"):
            images.read(source := Endless())
    assert source.given < 6_000_000


# Sizes.


def test_a_small_observation_is_read_where_the_caller_allows_it():
    content = saved(Image.fromarray(noise(8, 9, 3)), "PNG")
    with pytest.raises(ImageError, match="9x8 pixels.* at least 16"):
        images.read(content)
    assert images.read(content, smallest=8).shape == (3, 8, 9)
    with pytest.raises(ImageError, match="9x8 pixels.* at least 9 on"):
        images.read(content, smallest=9)
    assert images.read(content, smallest=1, longest=3).shape == (3, 3, 3)
    assert images.read(content, smallest=1, longest=600).shape == (3, 8, 9)


@pytest.mark.parametrize(
    "options", [{"size": 40}, {"longest": 70}, {"size": 90, "longest": 33}, {}]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_bands_are_what_the_whole_would_be(kind, options):
    content = saved(Image.fromarray(noise(100, 150, 3)), kind)
    whole = images.read(content)
    if "size" in options:
        whole = images.centre_square(whole, options["size"])
    if "longest" in options:
        whole = images.shrink(whole, options["longest"])
    for band in (2**19, 1000, 1):
        with mock.patch.object(pixels, "_BAND", band):
            assert images.read(content, **options).equal(whole)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 500}, "from 16 to 100, the shorter side of this 150x100"),
        ({"longest": 20}, "longest=20 would leave 20x13"),
        ({"longest": "big"}, "longest='big'"),
        ({"size": 15}, "size=15"),
    ],
)
def test_an_impossible_size_is_said_before_decoding(options, words):
    content = saved(Image.fromarray(noise(100, 150, 3)), "PNG")
    with mock.patch.object(PillowImage, "load", side_effect=AssertionError("decoded")):
        with pytest.raises(ImageError, match=words):
            images.read(content, **options)


def test_a_jpeg_too_large_is_decoded_at_reduced_size_or_refused():
    image = Image.fromarray(noise(50, 100, 3)).resize((800, 400), Image.Resampling.BICUBIC)
    content = saved(image, "JPEG", quality=95)
    whole = images.read(content, longest=100)
    with mock.patch.object(limits, "LARGEST_AREA", 100_000):
        with pytest.raises(ImageError, match="has 800x400 .*or read it with longest=1024"):
            images.read(content)
        with pytest.raises(ImageError, match="has 800x400"):
            images.read(content, longest=500)
        small = images.read(content, longest=100)
        assert small.shape == whole.shape == (3, 50, 100)
        assert (small - whole).abs().mean() < 0.01
        assert images.read(content, size=40).shape == (3, 40, 40)
        for kind in ("PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM"):
            with pytest.raises(ImageError, match="has 800x400 pixels; .*make it smaller first$"):
                images.read(saved(image, kind), longest=100)


# Files that attack.

PEAK = r"""
import pathlib, re, resource, sys, warnings
warnings.simplefilter("ignore")
from diplearn import images
own = pathlib.Path("/proc/self/status")  # getrusage knows the peak of the parent, too, on Linux
peak = lambda: (
    int(re.search(r"VmHWM:\s+(\d+)", own.read_text())[1])
    if own.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
)
images.load("camera", size=32)
for longest in (512, None):
    before = peak()
    for path in sys.argv[1:]:
        images.read(path, longest=longest)
    print(peak() - before)
"""


def palette_bomb(side):
    body = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 3, 0, 0, 0))
        + chunk(b"PLTE", bytes([200, 100, 50, 1, 2, 3]))
        + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )  # fmt: skip


@not_on_windows
def test_the_peak_is_the_image_and_little_more(tmp_path):
    side, channels = 4000, 3
    (tmp_path / "palette.png").write_bytes(palette_bomb(side))
    clear = Image.new("RGBA", (side, side), (9, 99, 199, 99))
    (tmp_path / "rgba.tif").write_bytes(saved(clear, "TIFF", compression="tiff_adobe_deflate"))
    (tmp_path / "a.jpg").write_bytes(saved(clear.convert("RGB"), "JPEG"))
    paths = [tmp_path / name for name in ("palette.png", "rgba.tif", "a.jpg")]
    command = [sys.executable, "-c", PEAK, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    small, whole = (int(line) * unit for line in done.stdout.split())
    stored = 4 * side**2  # bytes of the most expensive one, as decoded
    assert small < stored + 4 * channels * side * 512 + 100e6
    assert whole < stored + 4 * channels * side**2 + 100e6


def stored_png(values):
    """A PNG of 16-bit colours that is not compressed: its file is as large as they are."""
    rows = values.astype(">u2").view(np.uint8).reshape(len(values), -1)
    body = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 0)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@not_on_windows
@pytest.mark.parametrize("name", ["planar.tif", "packed.tif", "deep.png", "deep.ppm", "a.webp"])
def test_the_memory_that_reading_takes_is_known_beforehand(tmp_path, name):
    """The file's own bytes, and copies of them, count: 16 bits took three times what was said."""
    side, path = 3000, tmp_path / name
    values = np.full((side, side, 3), 40_000, np.uint16)
    if name == "planar.tif":
        planes = values.transpose(2, 0, 1).copy()
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    elif name == "packed.tif":
        noisy = np.random.default_rng(0).integers(0, 65536, values.shape, "u2")
        tifffile.imwrite(path, noisy, photometric="rgb", compression="zlib", rowsperstrip=side)
    elif name == "deep.png":
        path.write_bytes(stored_png(values))
    elif name == "deep.ppm":
        path.write_bytes(b"P6\n%d %d\n65535\n" % (side, side) + values.tobytes())
    else:
        Image.new("RGB", (side, side), (9, 99, 199)).save(path, quality=1, method=0)
    command = [sys.executable, "-c", PEAK, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = int(done.stdout.split()[0]) * (1 if sys.platform == "darwin" else 1024)
    assert 30e6 < peak < 18 * side**2 + 60e6
    with mock.patch.object(hardware, "available", return_value=2 * peak):
        with pytest.raises(ImageError, match="of memory, and"):
            images.read(path, longest=512)
    with mock.patch.object(hardware, "available", return_value=2 * (peak + 120e6)):
        assert images.read(path, longest=512).shape == (3, 512, 512)


def test_more_than_half_of_the_free_memory_is_refused():
    content = palette_bomb(10_000)
    assert len(content) < 13_000
    with mock.patch.object(hardware, "available", return_value=2e9):
        with mock.patch.object(PillowImage, "load", side_effect=AssertionError("decoded")):
            with pytest.raises(ImageError, match=r"10000x10000 pixels; .* 1\.4 GB .* 2\.0 GB"):
                images.read(content)
    with mock.patch.object(hardware, "available", return_value=1):  # what is small is never refused
        assert images.read(saved(Image.new("RGB", (600, 400)), "PNG")).shape == (3, 400, 600)


def test_of_many_pages_only_the_second_is_asked_for():
    page = tiff(noise(20, 20), photometric="minisblack")
    directory = tifffile.TiffFile(io.BytesIO(page)).pages[0].offset
    size = 2 + 12 * struct.unpack_from("<H", page, directory)[0]
    pages, at = [page[: directory + size]], directory + size + 4
    for number in range(100_000):
        pages.append(struct.pack("<I", at + number * (size + 4)) + page[directory:][:size])
    content = b"".join(pages) + bytes(4)
    assert len(content) > 10_000_000
    with mock.patch.object(exif_module, "Directory", wraps=exif_module.Directory) as directories:
        _, said = quietly(content)
    # However many there are: 100,000 of them would take as many.
    assert directories.call_count <= 2 and "more than one frame" in said[0]


def test_pieces_that_overlap_are_refused():
    """400 strips that are one and the same: 4 kB for 400 MB."""
    content = bytearray(tiff(np.zeros((2000, 200), "u1"), codec="zlib", photometric="minisblack",
                             rowsperstrip=20))  # fmt: skip
    page = tifffile.TiffFile(io.BytesIO(bytes(content))).pages[0]
    count, last = len(page.dataoffsets), page.databytecounts[-1]
    content += bytes(len(content) % 2)
    for tag, value in ((273, page.dataoffsets[0]), (279, last * 100)):
        where, dtype = page.tags[tag].valueoffset, page.tags[tag].dtype.name
        letter = {"SHORT": "H", "LONG": "I"}[dtype]
        struct.pack_into(f"<{count}{letter}", content, where, *[value] * count)
    with pytest.raises(ImageError, match="pieces of it overlap"):
        images.read(bytes(content))


def test_a_jpeg_of_thousands_of_scans_is_refused():
    content = saved(Image.fromarray(noise(20, 20, 3)), "JPEG", progressive=True)
    scan = content[content.index(b"\xff\xda") :][:200]
    with pytest.raises(ImageError, match="more than 100 scans"):
        images.read(content[:-2] + scan * 200 + content[-2:])


def test_a_profile_that_inflates_without_end_is_cut_off():
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000), 9))
    tracemalloc.start()
    _, said = quietly(png(noise(20, 20, 3, dtype="u2"), bomb))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000 and "cannot be applied" in said[0]


def test_threads_read_without_touching_the_filters_of_warnings():
    files = [
        saved(Image.fromarray(noise(40, 50, 4)), "PNG"),
        saved(Image.new("RGB", (20, 20)), "TIFF", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"),
        saved(Image.new("RGB", (20, 20)), "GIF", save_all=True,
              append_images=[Image.new("L", (20, 20), 9)]),
    ]  # fmt: skip
    with mock.patch("warnings.catch_warnings", side_effect=AssertionError("a global switch")):
        with mock.patch("warnings.simplefilter", side_effect=AssertionError("a global switch")):
            before = list(warnings.filters)

            def work():
                for content in files * 10:
                    images.read(content)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert list(warnings.filters) == before


def test_the_only_limit_on_pixels_is_our_own():
    """Pillow would refuse, or warn of, a scan of 30 million pixels: 90 million bytes."""
    original = Image.fromarray(noise(200, 200, 3))
    contents = [saved(original, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "PPM")]
    contents.append(saved(original.convert("YCbCr"), "TIFF", compression="tiff_lzw"))
    contents.append(png(noise(200, 200, 3, dtype="u2")))
    with mock.patch.object(Image, "MAX_IMAGE_PIXELS", 10_000):
        with mock.patch.object(pixels, "_BAND", 2000):
            for content in contents:
                image, said = quietly(content)
                assert image.shape == (200, 200, 3) and said == []


# Files of which the end is missing, and a transparent colour.


def cut_files():
    """TIFFs of many kinds, as Pillow and as tifffile lay them out."""
    colours = Image.fromarray(noise(40, 40, 3))
    for mode in ("L", "RGB", "CMYK", "LA", "P", "1"):
        for codec in ("raw", "tiff_lzw", "packbits", "tiff_deflate"):
            yield f"{mode} {codec}", saved(colours.convert(mode), "TIFF", compression=codec)
    yield "uint16", saved(Image.fromarray(noise(40, 40, dtype="u2")), "TIFF")
    yield "float32", saved(Image.fromarray(noise(40, 40).astype("f4") / 255), "TIFF")
    yield "JPEG", saved(colours, "TIFF", compression="jpeg")
    yield "fax", saved(colours.convert("1"), "TIFF", compression="group4")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "profile", saved(colours, "TIFF", icc_profile=profile)
    for codec in (None, "zlib"):
        for values in (noise(40, 40), noise(40, 40, dtype="u2"), noise(40, 40) / np.float32(255)):
            yield f"tifffile {values.dtype} {codec}", tiff(values, codec=codec)
    yield "tiles", tiff(noise(40, 40, 3), photometric="rgb", tile=(16, 16))
    big = io.BytesIO()
    tifffile.imwrite(big, noise(40, 40, 3), photometric="rgb", bigtiff=True)
    yield "BigTIFF", big.getvalue()
    yield "planar", tiff(noise(3, 40, 40), photometric="rgb", planarconfig="separate")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in cut_files()])
def test_a_tiff_that_is_cut_is_refused_or_whole(data):
    whole, _ = quietly(data)
    for cut in (*range(1, 30), *range(30, 401, 37)):
        try:
            part, _ = quietly(data[:-cut])
        except ImageError:
            continue
        np.testing.assert_array_equal(part, whole, err_msg=f"cut by {cut}")


@pytest.mark.parametrize("tag", [258, 273, 277, 338, 339, 317])
def test_a_tiff_whose_tag_points_nowhere_is_refused(tag):
    data = bytearray(tiff(noise(20, 20, 4), photometric="rgb", extrasamples=["unassalpha"]))
    count, at = struct.unpack_from("<H", data, 8)[0], 10
    places = {struct.unpack_from("<H", data, at + 12 * k)[0]: at + 12 * k for k in range(count)}
    place = places.get(tag, places[305])  # what is not there takes the place of the program's name
    struct.pack_into("<HHLL", data, place, tag, 3, 4, len(data) - 1)
    with pytest.raises(ImageError, match="damaged"):
        images.read(bytes(data))


@pytest.mark.parametrize(("number", "codec"), [(5, "LZW"), (8, "deflate"), (32773, "PackBits")])
def test_a_strip_far_too_short_takes_no_memory(number, codec):
    head = b"II*\0\x49\0\0\0" + bytes(65)
    fields = [(256, 3, 1, 9999), (257, 3, 1, 9999), (258, 3, 1, 16), (259, 3, 1, number)]
    fields += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 9999), (279, 4, 1, 65)]
    data = head + struct.pack("<H", len(fields))
    data += b"".join(struct.pack("<HHLL", *field) for field in fields) + bytes(4)
    tracemalloc.start()
    try:
        with (
            mock.patch("PIL.Image.new", side_effect=AssertionError("pixels were asked for")),
            pytest.raises(ImageError, match="fewer bytes than its pixels need"),
        ):
            images.read(data)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def small_png(values, depth, key, interlaced):
    """A PNG of (H, W, C) with a transparent colour."""
    height, width, channels = values.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
        passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b""
    for top, left, down, across in passes:
        part = values[top::down, left::across]
        for row in part.reshape(len(part), -1) if part.size else ():
            bits = row[:, None] >> np.arange(depth - 1, -1, -1) & 1
            lines += b"\0" + np.packbits(bits.astype(np.uint8)).tobytes()
    kind = 0 if channels == 1 else 2
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    parts = {b"IHDR": header, b"tRNS": struct.pack(f">{channels}H", *key)}
    parts |= {b"IDAT": zlib.compress(lines), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts.items()
    )


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png(depth, interlaced):
    most = 2**depth - 1
    values = np.arange(19 * 23).reshape(19, 23, 1) % (most + 1)
    for key in range(min(most + 1, 256)) if depth < 16 else (0, 1, 2, 255, 256, 436, most):
        got, _ = quietly(small_png(values, depth, [key], interlaced))
        np.testing.assert_allclose(got, np.where(values == key, 1, values / most), atol=1e-6)


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_of_a_transparent_grey_the_bits_of_the_samples_count(depth):
    most = 2**depth - 1
    values = np.arange(19 * 23).reshape(19, 23, 1) % (most + 1)
    got, _ = quietly(small_png(values, depth, [most + 1 + 2], 0))
    np.testing.assert_allclose(got, np.where(values == 2, 1, values / most), atol=1e-6)
