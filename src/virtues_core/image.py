"""The one image type: what every reader returns and every analysis takes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError


@dataclass(frozen=True, eq=False)
class MultiplexImage:
    """A multiplexed image: one plane of pixels for each channel, read when it is needed."""

    pixels: da.Array
    """(C, Y, X), raw units (ion counts, fluorescence), lazy, chunked so that one channel can be
    read without the others where the file allows it."""
    channels: tuple[str, ...]
    """C names, as the file gives them."""
    pixel_size_um: tuple[float, float] | None = None
    """(y, x) in µm; None where the file does not say."""
    name: str = "image"
    """The image's own name: the acquisition's, or the file's stem."""
    source: Path | None = None
    """The file or folder it came from."""
    levels: tuple[da.Array, ...] = ()
    """Coarser levels of a pyramid, finest first, each (C, y, x); empty without a pyramid."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3:
            message = f"pixels must be (channel, y, x); found shape {self.pixels.shape}"
            raise InputError(message)
        if len(self.channels) != self.pixels.shape[0]:
            message = (
                f"expected one name for each of {self.pixels.shape[0]} channels, "
                f"found {len(self.channels)}"
            )
            raise InputError(message)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, Y, X)."""
        c, y, x = self.pixels.shape
        return int(c), int(y), int(x)

    def index(self, channel: str) -> int:
        """Position of a channel, by its name as the file gives it.

        Raises
        ------
        InputError
            No channel, or more than one, has that name.
        """
        found = [i for i, name in enumerate(self.channels) if name == channel]
        if len(found) != 1:
            what = "no channel" if not found else f"{len(found)} channels"
            message = (
                f"{what} named {channel!r} in {self.name!r}; "
                f"its channels are: {', '.join(self.channels)}"
            )
            raise InputError(message)
        return found[0]

    def select(self, indices: Iterable[int]) -> "MultiplexImage":
        """Return the same image with only these channels, in this order."""
        keep = list(indices)
        return replace(
            self,
            pixels=self.pixels[keep],
            channels=tuple(self.channels[i] for i in keep),
            levels=tuple(level[keep] for level in self.levels),
        )

    def compute(self, indices: Iterable[int] | None = None) -> NDArray[Any]:
        """Read pixels into memory: (C', Y, X) in the file's own type.

        Parameters
        ----------
        indices
            Which channels; all of them by default.
        """
        pixels = self.pixels if indices is None else self.pixels[list(indices)]
        return np.asarray(pixels.compute(scheduler="threads"))
