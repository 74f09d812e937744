"""From the bytes of a file to an image, in three steps.

`source.opened` reads the bytes, `formats.parse` reads the header, and `pixels.decoded` turns the
pixels into a tensor. Every way in which bytes can fail to be an image ends as an ImageError. No
setting of the process is changed, warning filters included: whatever would make Pillow warn is
removed from the bytes before Pillow sees them.
"""
