"""Mean and standard deviation of each channel over a dataset's tissue."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.preprocess.intensity import log_intensities, upper_quantiles, whole_if_empty


@dataclass(frozen=True, eq=False)
class Statistics:
    """How bright each channel of a dataset is, in log(1 + clipped, blurred counts)."""

    dataset: str
    """The dataset's name."""
    channels: tuple[str, ...]
    """C names, as the files give them."""
    keys: tuple[str | None, ...]
    """C marker keys (`PanelEntry.key`)."""
    mean: NDArray[np.float32]
    """(C,) over the tissue of all images."""
    std: NDArray[np.float32]
    """(C,) over the tissue of all images; 1 where a channel is the same everywhere."""
    constant: tuple[str, ...] = ()
    """Channels that are the same everywhere (all zero, say), whose ``std`` was set to 1."""

    def __post_init__(self) -> None:
        counts = (len(self.channels), len(self.keys), len(self.mean), len(self.std))
        if len(set(counts)) != 1:
            message = (
                f"expected as many keys, means and standard deviations as channels in the "
                f"statistics of {self.dataset!r}, found {counts}. Compute them again."
            )
            raise InputError(message)

    def covers(self, channels: Iterable[str]) -> bool:
        """Say whether every one of these channel names is here."""
        return set(channels) <= set(self.channels)

    def of(self, channels: Iterable[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and std, (K,) each, of these channels in this order.

        Raises
        ------
        InputError
            A channel is not here.
        """
        wanted = list(channels)
        missing = [name for name in wanted if name not in self.channels]
        if missing:
            message = (
                f"the statistics of {self.dataset!r} have no channel {', '.join(missing)}; "
                f"they have: {', '.join(self.channels)}"
            )
            raise InputError(message)
        at = [self.channels.index(name) for name in wanted]
        return self.mean[at], self.std[at]


def dataset_statistics(
    dataset: str,
    images: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]],
    channels: Sequence[str],
    keys: Sequence[str | None],
) -> Statistics:
    """Take mean and standard deviation of each channel over the tissue of all images.

    Every tissue pixel weighs the same, whichever image it is in. Each image is clipped at its own
    99th percentile first. Images are read one after another; none is kept.

    Parameters
    ----------
    dataset
        A name for it.
    images
        Pairs of pixels (C, Y, X) in raw units and tissue (Y, X).
    channels, keys
        C channel names and C marker keys.

    Returns
    -------
    Statistics
        With ``std`` 1 for the channels named in ``constant``.

    Raises
    ------
    InputError
        No image, a wrong number of channels, NaN or negative pixels.
    """
    sums = ChannelSums(len(channels))
    for pixels, tissue in images:
        if pixels.shape[0] != len(channels):
            message = (
                f"expected {len(channels)} channels in every image of {dataset!r}, found "
                f"{pixels.shape[0]}. Choose the same channels in all of them."
            )
            raise InputError(message)
        upper = upper_quantiles(pixels, tissue, channels=channels)
        sums.add(log_intensities(pixels, upper)[:, whole_if_empty(pixels, tissue)])
    return sums.statistics(dataset, channels, keys)


class ChannelSums:
    """Sums over pixels, from which mean and standard deviation of each channel follow.

    Parameters
    ----------
    channels
        C.
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._total = np.zeros(channels)
        self._squares = np.zeros(channels)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add pixels (C, P), log(1 + clipped, blurred counts)."""
        self._count += values.shape[1]
        self._total += values.sum(axis=1, dtype=np.float64)
        self._squares += np.square(values, dtype=np.float64).sum(axis=1)

    def statistics(
        self, dataset: str, channels: Sequence[str], keys: Sequence[str | None]
    ) -> Statistics:
        """Give mean and standard deviation, the latter 1 where a channel is the same everywhere.

        Raises
        ------
        InputError
            No pixel was added.
        """
        if self._count == 0:
            message = f"expected at least one image to take statistics of {dataset!r}, found none."
            raise InputError(message)
        mean = self._total / self._count
        std = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0.0))
        flat = std <= 1e-6
        return Statistics(
            dataset=dataset,
            channels=tuple(channels),
            keys=tuple(keys),
            mean=mean.astype(np.float32),
            std=np.where(flat, 1.0, std).astype(np.float32),
            constant=tuple(name for name, is_flat in zip(channels, flat, strict=True) if is_flat),
        )
