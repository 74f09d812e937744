"""The bundled images, and the images that were published with the paper."""

import csv
import os
from functools import lru_cache
from importlib import resources
from pathlib import Path

from ..errors import ImageError
from . import reading

# Images that scikit-image installs with itself: free to use, no download.
# name -> (file, description)
BUNDLED = {
    "astronaut": ("astronaut.png", "Eileen Collins, NASA, 512x512, colour"),
    "brick": ("brick.png", "a brick wall, 512x512, grey"),
    "camera": ("camera.png", "a photographer, 512x512, grey"),
    "chelsea": ("chelsea.png", "a cat, 451x300, colour"),
    "coffee": ("coffee.png", "a cup of coffee, 600x400, colour"),
    "coins": ("coins.png", "Greek coins from Pompeii, 384x303, grey"),
    "grass": ("grass.png", "grass, 512x512, grey"),
    "gravel": ("gravel.png", "gravel, 512x512, grey"),
    "hubble": ("hubble_deep_field.jpg", "galaxies, 1000x872, colour"),
    "moon": ("moon.png", "the surface of the Moon, 512x512, grey"),
    "motorcycle": ("motorcycle_left.png", "a motorcycle in a garage, 741x500, colour"),
    "page": ("page.png", "a scanned page of text, 384x191, grey"),
    "retina": ("retina.jpg", "the retina of an eye, 1411x1411, colour"),
    "rocket": ("rocket.jpg", "a rocket on its pad, 640x427, colour"),
    "text": ("text.png", "handwriting, 448x172, grey"),
}


def load(name, size=None):
    """Load a bundled image or one of the paper's images.

    Parameters
    ----------
    name : str
        One of `names()`, such as ``"astronaut"``, or of `paper_names()`, such as
        ``"denoising/F16_GT.png"``, which is downloaded once (see `fetch`).
    size : int, optional
        Crop the centre square and shrink it to `size` x `size` pixels, antialiased. The image
        must have at least `size` pixels on each side.

    Returns
    -------
    torch.Tensor
        (C, H, W) float32 in [0, 1].

    Examples
    --------
    >>> load("astronaut", size=256).shape
    torch.Size([3, 256, 256])
    """
    if name in BUNDLED:
        path = resources.files("skimage") / "data" / BUNDLED[name][0]
    elif name in _paper_images():
        path = fetch(name)
    else:
        raise ImageError(
            f"no image is called {name!r}; the bundled images are {', '.join(names())} "
            "(images.read(path) reads your own file; images.paper_names() lists the paper's images)"
        )
    # Ignore colour profiles, as scikit-image does: the lessons' numbers come from these pixels.
    image, encoded = reading.decoded(path, size, colours=False)
    reading.warn(encoded, transparency=True)
    return image


def names():
    """List the bundled images.

    Returns
    -------
    list of str
        Names for `load`; these need no network.

    Examples
    --------
    >>> names()[:3]
    ['astronaut', 'brick', 'camera']
    """
    return sorted(BUNDLED)


# The paper's images are not in the package: each is downloaded when it is first needed.


def paper_names():
    """List the images that the authors published with the paper.

    Returns
    -------
    list of str
        Names for `load` and `fetch`, such as ``"denoising/F16_GT.png"``.

    Examples
    --------
    >>> "denoising/F16_GT.png" in paper_names()
    True
    """
    return sorted(_paper_images())


@lru_cache(maxsize=1)
def _paper_images():
    """Return the table of the paper's images: name -> (URL, SHA-256)."""
    with (resources.files(__package__) / "paper_images.csv").open(encoding="utf-8") as lines:
        return {row["name"]: (row["url"], row["sha256"]) for row in csv.DictReader(lines)}


def fetch(name):
    """Download one of the paper's images, unless an earlier call did, and check its SHA-256.

    Parameters
    ----------
    name : str
        One of `paper_names()`.

    Returns
    -------
    pathlib.Path
        ``$DIPLEARN_DATA_DIR/name`` if this file exists, otherwise a file in the user's cache.

    Raises
    ------
    ImageError
        The name is unknown, the network fails, or the checksum differs; a file with a wrong
        checksum is not kept in the cache.

    Examples
    --------
    >>> fetch("denoising/F16_GT.png")  # doctest: +SKIP
    PosixPath('/home/ada/.cache/diplearn/denoising/F16_GT.png')
    """
    import pooch  # imported late: most users never download

    if name not in _paper_images():
        raise ImageError(f"the paper has no image {name!r}; see images.paper_names()")
    url, sha256 = _paper_images()[name]
    local = os.environ.get("DIPLEARN_DATA_DIR")
    if local and (Path(local) / name).is_file():
        path = Path(local) / name
        if pooch.file_hash(str(path)) != sha256:
            raise ImageError(f"{path} is not the published file (its SHA-256 differs)")
        return path
    folder, file = os.path.split(name)
    target = pooch.os_cache("diplearn") / folder
    try:  # pooch checks the SHA-256 before it gives the file its name
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=file, path=target))
    except Exception as error:  # networks fail in many ways, with the same remedy
        raise ImageError(
            f"cannot download {name} ({error}); without a network, set DIPLEARN_DATA_DIR "
            "to a folder that contains this file"
        ) from None
