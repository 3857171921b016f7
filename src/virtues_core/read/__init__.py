"""Files and folders → :class:`~virtues_core.image.MultiplexImage`; label images; writing.

Each format has a module with ``claims(path)``, ``names(path)`` and ``read(path, image)``;
a format is recognised by what is inside the file or folder, not by its name.
"""

from pathlib import Path
from types import ModuleType

from virtues_core.errors import ReadError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.read import folder, imc, spora, tiff, zarr
from virtues_core.read.masks import open_labels, read_labels
from virtues_core.read.write import write_labels, write_ome_tiff

__all__ = [
    "can_read",
    "image_names",
    "open_labels",
    "read_image",
    "read_labels",
    "write_labels",
    "write_ome_tiff",
]

_FORMATS: tuple[ModuleType, ...] = (tiff, imc, zarr, spora, folder)
"""Asked in this order; a folder of TIFFs last, since it says the least about itself."""

_UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError)
"""What a damaged file may raise while it is only looked at."""


def read_image(path: Path | str, image: str | None = None) -> MultiplexImage:
    """Open any supported file or folder.

    Parameters
    ----------
    path
        TIFF (OME, ImageJ, plain), ``.mcd``, IMC ``.txt``, OME-Zarr, a folder of one TIFF per
        channel, or a spora dataset folder.
    image
        Name of the image where there are several (see :func:`image_names`); the first by default.

    Returns
    -------
    MultiplexImage
        ``pixels`` (C, Y, X), read when they are needed.

    Raises
    ------
    ReadError
        Missing, damaged, or of a kind that is not an image of channels.
    """
    found: MultiplexImage = _format(Path(path)).read(Path(path), image)
    return found


def image_names(path: Path | str) -> tuple[str, ...]:
    """Names of the images in a file or folder, in its order.

    Raises
    ------
    ReadError
        As :func:`read_image`.
    """
    found: tuple[str, ...] = _format(Path(path)).names(Path(path))
    return found


def can_read(path: Path | str) -> bool:
    """Whether :func:`read_image` would take this file or folder; looks inside, never raises."""
    try:
        return any(kind.claims(Path(path)) for kind in _FORMATS)
    except (*_UNREADABLE, VirtuesError):
        return False


def _format(path: Path) -> ModuleType:
    if not path.exists():
        message = f"expected an image, found nothing at {str(path)!r}; check the path"
        raise ReadError(message)
    try:
        for kind in _FORMATS:
            if kind.claims(path):
                return kind
    except _UNREADABLE as error:
        message = f"expected a file that can be opened, found {str(path)!r}: {error}"
        raise ReadError(message) from error
    message = (
        "expected a TIFF, an .mcd, an IMC .txt, an OME-Zarr, a folder of one TIFF per channel or "
        f"a spora dataset folder, found {_what(path)}: {str(path)!r}; "
        + ("give the path of one image in it" if path.is_dir() else "export the image as OME-TIFF")
    )
    raise ReadError(message)


def _what(path: Path) -> str:
    """Say what stands at a path that no format claims."""
    if path.is_dir():
        return "a folder of another kind"
    if path.suffix.lower() == ".txt":
        return "a text that is not from IMC (its first line names no Start_push, X and Y)"
    if path.suffix.lower() in tiff.SUFFIXES:
        return "a file that does not begin as a TIFF does (empty, truncated or of another kind)"
    return f"a {path.suffix or 'nameless'} file"
