"""What a job made → layers or a table. Knows no Qt; reading is for a background thread."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues._reader import looks_like_labels, opening_layers
from virtues_core.errors import ReadError
from virtues_core.read import can_read, read_image, read_labels

if TYPE_CHECKING:
    from napari.layers import Layer

MOST_ROWS = 10_000
"""Rows of a table that are shown."""
TOKENS = (".h5ad",)
"""Tables of cells, which the *Space* dock shows."""


@dataclass(frozen=True)
class Table:
    """A CSV table as text."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first ones, `MOST_ROWS` at the most."""
    more: bool
    """Whether the file has further rows."""


def read_artifact(path: Path) -> "Table | list[Layer]":
    """Read a file that a job made.

    Returns
    -------
    Table or list of napari layers
        Layers are those that the image would open with, or a label image, or a picture.

    Raises
    ------
    ReadError
        It is gone, damaged, or of a kind that cannot be shown.
    """
    if not path.exists():
        message = f"{path} is gone: expected what the job made. Run the job again."
        raise ReadError(message)
    if path.suffix.lower() == ".csv":
        return _read_table(path)
    from napari.layers import Layer

    return [Layer.create(*described) for described in _layers(path)]


def _layers(path: Path) -> list[tuple[Any, dict[str, Any], str]]:
    if looks_like_labels(path):
        name = path.name.split(".")[0]
        return [(read_labels(path), {"name": name, "opacity": 0.5}, "labels")]
    if path.suffix.lower() == ".png":
        picture = _picture(path)
        return [(picture, {"name": path.stem, "rgb": picture.ndim == 3}, "image")]
    if can_read(path):
        return opening_layers(read_image(path))
    message = (
        f"{path.name} is no image and no table that can be shown here. Its folder is {path.parent}."
    )
    raise ReadError(message)


def _picture(path: Path) -> NDArray[Any]:
    """Read a picture: (Y, X), or (Y, X, 3 or 4) in colour."""
    import imagecodecs

    try:
        picture = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    except (OSError, RuntimeError, ValueError) as error:
        message = f"{path} is no picture that can be read ({error})."
        raise ReadError(message) from error
    return picture[..., 0] if picture.shape[2:] == (2,) else picture


def _read_table(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            columns = tuple(next(lines, []))
            rows = [tuple(line) for line in itertools.islice(lines, MOST_ROWS + 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path} is no table that can be read ({error})."
        raise ReadError(message) from error
    return Table(path.name, columns, tuple(rows[:MOST_ROWS]), len(rows) > MOST_ROWS)
