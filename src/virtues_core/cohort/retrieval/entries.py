"""What a database of tissues holds, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ConfigError

Value = str | int | float | bool
"""A clinical value, as JSON knows it; what is missing is left out."""


@dataclass(frozen=True)
class Stored:
    """What is known of a tissue in the database, apart from its tokens and its picture."""

    tissue_id: str
    patient_id: str = ""
    """Empty where it is not known."""
    clinical: Mapping[str, Value] = field(default_factory=dict)
    """Column → value."""
    composition: Mapping[str, float] | None = None
    """Cell type → share of the cells; None where no table of cells was given."""
    source: str = ""
    """The file or folder of the image; of a table of tokens, what that says its image was."""
    image: str = ""
    """Which image of the source, where it holds several."""
    stamp: str = ""
    """State of the source when it was read, so that a changed one is read again."""
    niches: int = 0
    """N, the number of its tokens."""

    def is_of(self, path: Path, image: str) -> bool:
        """Tell whether this is the tissue of an image: the same one of the same file.

        Parameters
        ----------
        path
            File or folder; of a tissue of a spora data set the data set, or the tissue's own in it.
        image
            Name of the image.
        """
        if not self.source:
            return False
        path, source = path.absolute(), Path(self.source)
        if path == source:
            return self.image in {"", image}
        return self.image == image and source in path.parents


@dataclass(frozen=True, eq=False)
class TissueEntry:
    """A tissue that shall be stored."""

    about: Stored
    tokens: NDArray[np.float32]
    """(N, D) niche tokens."""
    thumbnail: bytes = b""
    """PNG; empty where there is no image to make it from."""


@dataclass(frozen=True)
class Search:
    """The nearest tissues of a query, and what it took to be sure of them."""

    tissue_ids: tuple[str, ...]
    """The nearest first."""
    distances: tuple[float, ...]
    """2-Wasserstein distance of each."""
    candidates: int
    """Tissues that could have been the answer: those that the filters let through."""
    compared: int
    """Candidates whose tokens were read; the others are out by their moments."""
    solved: int
    """Candidates whose distance was solved for exactly; the others are out by a lower bound."""


@dataclass(frozen=True)
class Match:
    """A tissue near to a query."""

    tissue_id: str
    distance: float
    """2-Wasserstein distance."""
    patient_id: str
    clinical: Mapping[str, Value]
    composition: Mapping[str, float] | None
    """Cell type → share of the cells; None where it is not known."""
    thumbnail: bytes
    """PNG; empty where there is none."""
    source: str
    """The file or folder of the image."""
    image: str = ""
    """Which image of the source, where it holds several."""


@dataclass(frozen=True)
class Settings:
    """What all tissues of a database have in common."""

    checkpoint: str
    """Name or folder of the checkpoint that made the tokens."""
    signature: str
    """Tells its weights from those of any other."""
    dim: int
    """D, the width of a token."""
    crops: str = "4"
    """``4``: the central 4 × 4 tiles of 128 px; ``all``: all tiles with 30 % tissue or more."""
    small: str = "refuse"
    """What to do with tissues smaller than that grid: ``refuse``, or ``whole``: take all tiles."""

    def __post_init__(self) -> None:
        for name, known in (("crops", ("4", "all")), ("small", ("refuse", "whole"))):
            if getattr(self, name) not in known:
                message = f"{name}: expected {' or '.join(known)}, found {getattr(self, name)!r}."
                raise ConfigError(message)
        if type(self.dim) is not int or self.dim < 1:
            message = f"dim: expected a whole number of 1 or more, found {self.dim!r}."
            raise ConfigError(message)
        for name in ("checkpoint", "signature"):
            if not isinstance(getattr(self, name), str):
                message = f"{name}: expected text, found {getattr(self, name)!r}."
                raise ConfigError(message)

    def to_dict(self) -> dict[str, Any]:
        """Give them as JSON knows them."""
        return {
            "checkpoint": self.checkpoint,
            "signature": self.signature,
            "dim": self.dim,
            "crops": self.crops,
            "small": self.small,
        }
