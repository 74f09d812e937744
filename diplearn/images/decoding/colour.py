"""Convert colours to sRGB, from ICC profiles, PNG's colour chunks and Adobe RGB.

Colour spaces with three curves and a matrix are converted here at full bit depth; profiles with a
table, as most printers have, by Pillow's LittleCMS at 8 bits.
"""

import io
import struct

import numpy as np
from PIL import Image

_CODES = np.linspace(0, 1, 65536, dtype=np.float32)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])
# Chromaticities x, y of white, red, green and blue.
_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_PRIMARIES = {  # keyed by their numbers in ITU-T H.273, which PNG's cICP chunk uses
    1: _SRGB,
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}


class Unusable(Exception):
    """A colour space that cannot be applied; the message says why."""


def _srgb_curve(v):
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0) + 0.055) / 1.055) ** 2.4)


def _rec709_curve(v):
    return np.where(v < 0.081, v / 4.5, ((np.maximum(v, 0) + 0.099) / 1.099) ** (1 / 0.45))


def _gamma(exponent):
    return lambda v: v**exponent


_TRANSFERS = {
    **dict.fromkeys((1, 6, 14, 15), _rec709_curve),
    4: _gamma(2.2),
    5: _gamma(2.8),
    8: _gamma(1),
    13: _srgb_curve,
}


def _encoded(linear):
    """Convert linear light to sRGB values, clipped to [0, 1]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _to_d50(chromaticities):
    """Return the matrix from linear RGB to XYZ adapted to D50, the white of ICC profiles."""
    white, *primaries = (
        np.array([x / y, 1, (1 - x - y) / y])
        for x, y in np.array(chromaticities, float).reshape(4, 2)
    )
    columns = np.stack(primaries, axis=1)
    matrix = columns * np.linalg.solve(columns, white)
    cones = _BRADFORD @ np.stack([white, _D50], axis=1)
    return np.linalg.inv(_BRADFORD) @ np.diag(cones[:, 1] / cones[:, 0]) @ _BRADFORD @ matrix


_FROM_D50 = np.linalg.inv(_to_d50(_SRGB))


class Shaper:
    """A curve for each channel, and a matrix from linear light to XYZ (None for grey)."""

    bits = 16

    def __init__(self, curves, matrix=None):
        tables = [np.asarray(curve(_CODES.astype(float))) for curve in curves]
        if matrix is None:
            tables, self.matrix = [_encoded(table) for table in tables], None
        else:
            self.matrix = (_FROM_D50 @ matrix).T.astype(np.float32)
        self.tables = [table.astype(np.float32) for table in tables]
        numbers = self.tables if matrix is None else [*self.tables, self.matrix]
        if not all(np.isfinite(each).all() for each in numbers):
            raise Unusable("it gives values that are not finite")
        if any(table[-1] <= table[0] for table in tables):
            raise Unusable("its curves do not rise")

    def __call__(self, values):
        """Convert (h, W, C) float32 in [0, 1] to sRGB."""
        codes = (values * 65535 + 0.5).astype(np.uint16)
        channels = [table[codes[..., k]] for k, table in enumerate(self.tables)]
        linear = np.stack(channels, axis=-1)
        return linear if self.matrix is None else _encoded(linear @ self.matrix)


class Table:
    """Any other profile, applied by LittleCMS at 8 bits."""

    bits = 8

    def __init__(self, icc, mode):
        try:
            from PIL import ImageCms  # imported here, since Pillow may be built without LittleCMS

            self.apply, self.mode = ImageCms.applyTransform, mode
            self.transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                mode,
                "RGB",
            )
        except Exception as error:  # from LittleCMS, or from Pillow for damaged bytes
            raise Unusable(str(error) or type(error).__name__) from error

    def __call__(self, values):
        """Convert (h, W, C) float32 in [0, 1] to sRGB."""
        values = (values * 255 + 0.5).astype(np.uint8)
        image = Image.frombytes(self.mode, values.shape[1::-1], values.tobytes())
        converted = np.asarray(self.apply(image, self.transform), np.float32) / 255
        return converted[..., :1] if self.mode == "L" else converted


def conversion(bands, icc=None, png=None, adobe_rgb=False):
    """Return a function that converts (h, W, bands) float32 to sRGB, and a remark for the user.

    The function is None if the colours are sRGB to within 1/255. The remark says why a colour space
    cannot be applied, or is None. `png` holds the chunks cICP, sRGB, gAMA and cHRM.
    """
    png = png or {}
    try:
        with np.errstate(all="ignore"):  # `Shaper` refuses results that are not finite
            space = _space(bands, icc, png, adobe_rgb)
            return (None if space is None or _is_srgb(space, bands) else space), None
    except Exception as error:  # damaged bytes can cause any error
        what = "colour space (cICP)" if b"cICP" in png else "colour profile"
        reason = str(error) if isinstance(error, Unusable) else "it is damaged"
        meant = "uncalibrated CMYK" if bands == 4 else "sRGB"
        return None, (
            f"has a {what} that cannot be applied ({reason}); its values are treated as {meant}"
        )


def _space(bands, icc, png, adobe_rgb):
    if b"cICP" in png:
        return _from_cicp(png[b"cICP"], bands)
    if icc:
        return _from_icc(icc, bands)
    if b"sRGB" not in png and (b"gAMA" in png or b"cHRM" in png):
        return _from_png(png.get(b"gAMA"), png.get(b"cHRM"), bands)
    return _adobe_rgb(bands) if adobe_rgb else None


def _is_srgb(space, bands):
    if bands == 4:
        return False
    axis = np.linspace(0, 1, 18, dtype=np.float32)
    sample = np.stack(np.meshgrid(*[axis] * bands), axis=-1).reshape(1, -1, bands)
    return np.abs(space(sample) - sample).max() <= 1 / 255


def _shaper(curves, matrix, bands):
    """Leave out the matrix for grey: equal channels are neutral in every RGB space."""
    return Shaper(curves, matrix) if bands == 3 else Shaper(curves[:1])


def _adobe_rgb(bands):
    return _shaper([_gamma(563 / 256)] * 3, _to_d50(_ADOBE_RGB), bands)


def _from_png(gamma, chromaticities, bands):
    exponent = struct.unpack(">I", gamma)[0] / 100_000 if gamma else 1 / 2.2
    if exponent <= 0:
        raise Unusable("its gamma is 0")
    # A gamma of 1/2.2 means sRGB, as in browsers: it is how a PNG without an sRGB chunk states it.
    curve = _srgb_curve if abs(exponent * 2.2 - 1) < 0.05 else _gamma(1 / exponent)
    corners = _SRGB
    if chromaticities:
        corners = [value / 100_000 for value in struct.unpack(">8I", chromaticities)]
    return _shaper([curve] * 3, _to_d50(corners), bands)


def _from_cicp(chunk, bands):
    primaries, transfer, matrix, full = struct.unpack("4B", chunk)
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS or matrix != 0 or full != 1:
        raise Unusable(f"its code {primaries}/{transfer}/{matrix}/{full} is not supported")
    return _shaper([_TRANSFERS[transfer]] * 3, _to_d50(_PRIMARIES[primaries]), bands)


def _from_icc(icc, bands):
    kind = "".join(filter(str.isprintable, icc[16:20].decode("latin-1"))).strip()
    if {"GRAY": 1, "RGB": 3, "CMYK": 4}.get(kind) != bands and (kind, bands) != ("RGB", 1):
        images = {1: "grey", 3: "RGB", 4: "CMYK"}
        raise Unusable(f"it is for {kind or 'no'} colours, and the image is {images[bands]}")
    tags = {}
    for index in range(min(struct.unpack_from(">I", icc, 128)[0], 200)):
        name, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * index)
        tags[name] = icc[offset : offset + size]
    names = [b"kTRC"] if kind == "GRAY" else [b"rTRC", b"gTRC", b"bTRC"]
    if icc[20:24] == b"XYZ " and b"A2B0" not in tags and all(name in tags for name in names):
        curves = [_icc_curve(tags[name]) for name in names]
        if kind == "GRAY":
            return Shaper(curves)
        columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        return _shaper(curves, np.array(columns).T / 65536, bands)
    if (kind, bands) == ("RGB", 1):
        raise Unusable("it is for RGB colours, and the image is grey")
    return Table(icc, {1: "L", 3: "RGB", 4: "CMYK"}[bands])


def _icc_curve(tag):
    """Return a profile's curve: a gamma, a table or a formula (ICC.1:2022, 10.6 and 10.18)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return _gamma(1)
        if count == 1:
            return _gamma(struct.unpack_from(">H", tag, 12)[0] / 256)
        table = np.frombuffer(tag, ">u2", count, 12) / 65535
        return lambda v: np.interp(v, np.linspace(0, 1, count), table)
    if tag[:4] != b"para":
        raise Unusable("it has a curve of an unknown kind")
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind > 4:
        raise Unusable("it has a curve of an unknown kind")
    numbers = np.frombuffer(tag, ">i4", (1, 3, 4, 5, 7)[kind], 12) / 65536
    g, a, b, c, d, e, f = [*numbers, *[0] * 7][:7]
    if kind == 0:
        return _gamma(g)
    if kind in (1, 2):  # constant below -b/a; the third formula calls this constant c
        c, d, e, f = 0, -b / a, (c if kind == 2 else 0), (c if kind == 2 else 0)
    return lambda v: np.where(v >= d, np.maximum(a * v + b, 0) ** g + e, c * v + f)
