"""Decode an image file in three steps: `source.opened`, `formats.parse`, `pixels.decoded`.

The steps read the bytes, the header and the pixels. Bytes that are not an image always end in an
ImageError. No global setting is changed, not even a warning filter: parts of a file that would make
Pillow warn are removed before Pillow reads it.
"""
