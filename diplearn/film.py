"""The iterations of a run as an animation: GIF, WebP or PNG."""

from PIL import Image, ImageDraw, ImageFont

from . import images
from .errors import InputError
from .files import check_writable, replacing


def check(path):
    """Raise InputError if an animation cannot be written to `path`."""
    images.check_suffix(path, ("GIF", "WEBP", "PNG"))
    check_writable(path)


def write(run, path, seconds):
    """Write the snapshots of a run as an animation that lasts `seconds`."""
    check(path)
    if run.last is None:
        raise InputError("this run has not begun: there is nothing to show")
    snapshots = run.snapshots
    frames = [_captioned(snapshots[k], f"iteration {k}") for k in sorted(snapshots)]
    pause = max(20, round(1000 * seconds / len(frames)))
    lengths = [pause] * (len(frames) - 1) + [pause + 1000]
    with replacing(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=lengths, loop=0)


def _captioned(frame, words):
    """Return a frame with a caption below; a small frame is enlarged to fit the caption."""
    image = Image.fromarray(frame).convert("RGB")
    scale = max(1, -(-160 // image.width))
    image = image.resize((image.width * scale, image.height * scale), Image.NEAREST)
    canvas = Image.new("RGB", (image.width, image.height + 22), "white")
    canvas.paste(image, (0, 0))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(canvas).text((6, image.height + 3), words, fill="black", font=font)
    return canvas
