"""What is asked of an inpainting, and what comes of it. Imports nothing heavy: windows use it."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

Strategy = Literal["independent", "marker", "niche"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
TILE_PX = 128
"""Side of the square that the model looks at, px."""
REPEATS = 4
"""Visible subsets for the spread, in a calibration and by default in use."""


def check_strategy(strategy: str) -> Strategy:
    """Return the strategy of this name.

    Raises
    ------
    InputError
        There is none; the message lists them.
    """
    for known in STRATEGIES:
        if strategy == known:
            return known
    message = f"expected a strategy among {', '.join(STRATEGIES)}, found {strategy!r}."
    raise InputError(message)


@dataclass(frozen=True, eq=False)
class InpaintRequest:
    """What to hide and how to paint it back."""

    strategy: Strategy = "marker"
    """``marker`` hides ``markers`` (within ``region``, where one is given); ``niche`` hides
    everything in ``region``, or random patches of all channels; ``independent`` hides random
    patches of each channel, 60 to 100 %."""
    markers: tuple[str, ...] = ()
    """Channel names: hidden together under ``marker``; reported under the others, () = all."""
    region: NDArray[np.bool_] | None = None
    """(Y, X) True = hide. Patches that it touches are hidden whole."""
    repeats: int = REPEATS
    """Visible subsets for the uncertainty; 0 leaves the spread out of the interval."""
    stride_px: int = 96
    """Step from tile to tile, px: neighbouring tiles overlap by what is left to 128."""
    batch_size: int = 8
    """Tiles that go through the model at once."""
    seed: int = 0
    """Draws patches and visible subsets."""

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        if not 1 <= self.stride_px <= TILE_PX:
            message = f"stride_px: expected 1 to {TILE_PX} px, found {self.stride_px}."
            raise InputError(message)
        for name, least in (("repeats", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                message = f"{name}: expected {least} or more, found {getattr(self, name)}."
                raise InputError(message)
        if self.strategy == "marker" and not self.markers:
            message = (
                "nothing to hide: expected one marker or more, found none. Name the channels to "
                "hide, or choose the niche or independent strategy."
            )
            raise InputError(message)
        if self.strategy == "independent" and self.region is not None:
            message = (
                "expected no region with independent masking, which draws its patches at random; "
                "found one. Choose the niche strategy to hide a region, or marker to hide markers "
                "in it."
            )
            raise InputError(message)
        if self.region is not None:
            object.__setattr__(self, "region", np.asarray(self.region).astype(bool))
        object.__setattr__(self, "markers", tuple(dict.fromkeys(self.markers)))


@dataclass(frozen=True, eq=False)
class TileDone:
    """One tile of an inpainting, as it comes out of the model."""

    index: int
    """From 0."""
    total: int
    origin: tuple[int, int]
    """(y, x) of its top-left pixel; a tile may reach up to 7 px over the image's end."""
    prediction: NDArray[np.float32]
    """(K, 128, 128) model units."""
    channels: tuple[str, ...] = ()
    """K names."""


@dataclass(frozen=True)
class MarkerScore:
    """How well one marker was painted back, over its masked pixels only."""

    channel: str
    pearson: float
    """Between result and truth; NaN where one of them is the same everywhere."""
    f1: float
    """Of positivity, thresholded at the marker's mean intensity in the image."""
    coverage: float
    """Share of pixels whose truth is within the 80 % interval."""
    baselines: dict[str, float] = field(default_factory=dict)
    """Pearson of the simple ways: ``mean_visible``, ``best_other``, ``ridge``, where each can be
    had."""
    method: str = "model"
    """``model``, ``ridge`` or ``ridge+model``: what the result is."""
    model_pearson: float = float("nan")
    """Pearson of the model's own reconstruction."""
    held_out: dict[str, float] = field(default_factory=dict)
    """Pearson of each method on other images, by which the method was chosen."""
    note: str = ""
    """Which method, by how much; and whether the model knows the marker."""


@dataclass(frozen=True, eq=False)
class InpaintResult:
    """Painted markers of one image; all arrays (K, Y, X) float32."""

    channels: tuple[str, ...]
    """K names."""
    masked: NDArray[np.bool_]
    """(K, Y, X) True = hidden from the model."""
    prediction: NDArray[np.float32]
    """Model units; the truth where nothing was hidden."""
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    """Ends of the 80 % interval, model units; the truth where nothing was hidden."""
    truth: NDArray[np.float32]
    """Model units."""
    prediction_counts: NDArray[np.float32]
    truth_counts: NDArray[np.float32]
    lower_counts: NDArray[np.float32]
    upper_counts: NDArray[np.float32]
    """The same in counts of the clipped, blurred image."""
    scores: tuple[MarkerScore, ...]
    warnings: tuple[str, ...] = ()
