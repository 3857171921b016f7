"""An image, its panel and a checkpoint → what the model can be asked about."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError, MarkerError
from virtues_core.image import MultiplexImage
from virtues_core.infer.planes import IN_MEMORY_VALUES, LazyPixels, windows
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.survey import sampled_statistics, survey
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint
from virtues_core.preprocess import (
    Statistics,
    check_counts,
    dataset_statistics,
    normalise,
    tissue_mask,
    upper_quantiles,
)
from virtues_core.preprocess.intensity import safe_std

ITSELF = "the image itself"
"""Dataset of the statistics of an image whose channels no dataset of the checkpoint has."""


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """The channels of an image that the model can read, in model units."""

    name: str
    source: str
    """The file or folder it came from; empty where it came from none."""
    channels: tuple[str, ...]
    """C names, as the file gives them."""
    keys: tuple[str, ...]
    """C marker keys."""
    embeddings: NDArray[np.float32]
    """(C, E) one marker embedding a channel."""
    pixels: NDArray[np.float32] | LazyPixels
    """(C, Y, X) model units; of a large image, made when a window of them is read."""
    tissue: NDArray[np.bool_]
    """(Y, X) True on tissue; of a large image, of every n-th pixel of every n-th row."""
    mean: NDArray[np.float32]
    """(C,) subtracted from log(1 + counts)."""
    std: NDArray[np.float32]
    """(C,) what that was divided by."""
    statistics_from: str
    """Name of the dataset in the checkpoint whose statistics these are, or "the image itself"."""
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X)."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    @property
    def floor(self) -> NDArray[np.float32]:
        """(C,) model units of a count of 0: no truth is lower."""
        return np.asarray((np.float32(0) - self.mean) / safe_std(self.std), dtype=np.float32)

    @property
    def in_memory(self) -> bool:
        """Whether all pixels are."""
        return not isinstance(self.pixels, LazyPixels)

    def mean_intensity(self, channel: int) -> float:
        """Mean of one channel over the whole image, model units."""
        total = 0.0
        for rows, columns in windows(self.shape):
            total += float(self.pixels[[channel], rows, columns].sum(dtype=np.float64))
        return total / (self.shape[0] * self.shape[1])

    def positions(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the position of each channel name among `channels`.

        Raises
        ------
        MarkerError
            A name is not there; the message lists what is and what is near.
        """
        for name in names:
            if name not in self.channels:
                raise MarkerError(_unknown(name, self))
        return tuple(self.channels.index(name) for name in names)


def prepare_image(
    image: MultiplexImage,
    panel: Panel | None,
    checkpoint: Checkpoint,
    *,
    required: Sequence[str] = (),
    in_memory: bool | None = None,
) -> PreparedImage:
    """Choose the channels fit for the model and normalise them.

    Channels that are no marker, or that have no embedding in the checkpoint, are left out, with a
    warning that names them. Statistics are those of the first dataset in the checkpoint that has
    all the channels; where none has, those of the image itself.

    Parameters
    ----------
    image
        Raw counts or intensities.
    panel
        What its channels are; `Panel.from_names` of its channel names by default.
    checkpoint
        Gives marker embeddings and statistics.
    required
        Channel names that must not be left out.
    in_memory
        Whether to normalise the whole image now, or each window when it is read. By default now,
        up to `IN_MEMORY_VALUES`.

    Raises
    ------
    MarkerError
        A required channel is not in the image, or cannot be used; no channel can be used.
    InputError
        The image is under 128 px, has NaN or negative counts, or fewer than two usable channels.
    """
    _check_size(image)
    used, keys, left_out = _usable(image, panel, checkpoint)
    _check_required(image, required, used, left_out)
    channels = tuple(image.channels[i] for i in used)
    if len(used) < 2:
        raise InputError(_too_few(image, channels, left_out))
    if in_memory is None:
        in_memory = len(used) * image.shape[1] * image.shape[2] <= IN_MEMORY_VALUES
    made = (_now if in_memory else _later)(image, used, channels, keys, checkpoint)
    warnings = [f"left out: {text}" for text in _grouped(left_out)]
    if made.flat:
        warnings.append(
            f"no signal in {', '.join(made.flat)}: every pixel is 0, so nothing can be measured "
            "there"
        )
    mean, std = made.statistics.of(channels)
    return PreparedImage(
        name=image.name,
        source="" if image.source is None else str(image.source),
        channels=channels,
        keys=keys,
        embeddings=_embeddings(checkpoint, keys),
        pixels=made.pixels,
        tissue=made.tissue,
        mean=mean,
        std=std,
        statistics_from=made.statistics.dataset,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, eq=False)
class _Made:
    """Pixels in model units, and what they were made with."""

    pixels: NDArray[np.float32] | LazyPixels
    tissue: NDArray[np.bool_]
    statistics: Statistics
    flat: tuple[str, ...]
    """Channels without any signal."""


def _now(
    image: MultiplexImage,
    used: Sequence[int],
    channels: tuple[str, ...],
    keys: tuple[str, ...],
    checkpoint: Checkpoint,
) -> _Made:
    """Read and normalise the whole image."""
    pixels = image.compute(used)
    check_counts(pixels, channels)
    tissue = tissue_mask(pixels)
    statistics = _known(channels, checkpoint)
    if statistics is None:
        statistics = dataset_statistics(ITSELF, [(pixels, tissue)], channels, keys)
    upper = upper_quantiles(pixels, tissue, channels=channels)
    flat = tuple(name for name, plane in zip(channels, pixels, strict=True) if not plane.any())
    return _Made(normalise(pixels, upper, *statistics.of(channels)), tissue, statistics, flat)


def _later(
    image: MultiplexImage,
    used: Sequence[int],
    channels: tuple[str, ...],
    keys: tuple[str, ...],
    checkpoint: Checkpoint,
) -> _Made:
    """Look at a part of the image, and normalise windows of it when they are read."""
    raw = image.pixels[list(used)]
    found = survey(raw, channels)
    statistics = _known(channels, checkpoint)
    if statistics is None:
        statistics = sampled_statistics(raw, found, channels, keys, dataset=ITSELF)
    pixels = LazyPixels(raw, found.upper, *statistics.of(channels), channels)
    flat = tuple(name for name, top in zip(channels, found.upper, strict=True) if top == 0)
    return _Made(pixels, found.tissue, statistics, flat)


def _known(channels: tuple[str, ...], checkpoint: Checkpoint) -> Statistics | None:
    """Return the statistics of the checkpoint's first dataset that has all the channels."""
    return next((s for s in checkpoint.statistics if s.covers(channels)), None)


def _check_size(image: MultiplexImage) -> None:
    _, height, width = image.shape
    if min(height, width) < TILE_PX:
        message = (
            f"expected an image of at least {TILE_PX} × {TILE_PX} px, found {height} × {width} px "
            f"(y, x) in {image.name!r}. Open a larger region, or rescale it to about 1 µm a pixel."
        )
        raise InputError(message)


def _usable(
    image: MultiplexImage, panel: Panel | None, checkpoint: Checkpoint
) -> tuple[list[int], tuple[str, ...], dict[str, str]]:
    """Return positions and keys of the channels to use, and why the others are left out."""
    panel = Panel.from_names(image.channels) if panel is None else panel
    if tuple(panel.names) == image.channels:
        entries = panel.entries
    else:
        missing = [name for name in image.channels if name not in panel.names]
        if missing:
            message = (
                f"the panel does not name the channels {', '.join(missing)} of {image.name!r}; "
                f"it names: {', '.join(panel.names)}. Give the panel of this image."
            )
            raise MarkerError(message)
        entries = tuple(panel[name] for name in image.channels)
    used: list[int] = []
    keys: list[str] = []
    left_out: dict[str, str] = {}
    for i, entry in enumerate(entries):
        name = image.channels[i]
        if entry.key is None:
            left_out[name] = {
                "background": "background, not a marker",
                "stain": "a stain that the model does not know",
            }.get(entry.status, "not mapped to a protein (see `virtues markers map`)")
        elif not entry.keep:
            left_out[name] = "the panel says not to use it"
        elif name in image.channels[:i]:
            left_out[name] = "a second channel of the same name"
        elif entry.key not in checkpoint.embeddings and not _stands_in(checkpoint):
            left_out[name] = f"no embedding for {entry.key} in the checkpoint"
        else:
            used.append(i)
            keys.append(entry.key)
    return used, tuple(keys), left_out


def _stands_in(checkpoint: Checkpoint) -> bool:
    """Say whether the checkpoint knows every marker by a stand-in for its embedding."""
    embeddings = checkpoint.embeddings
    return len(embeddings) > 0 and len(embeddings.stand_ins) == len(embeddings)


def _embeddings(checkpoint: Checkpoint, keys: Sequence[str]) -> NDArray[np.float32]:
    known = checkpoint.embeddings
    missing = [key for key in keys if key not in known]
    if missing:
        known = known.merge(MarkerEmbeddings.stand_in(missing, known.dim))
    return known.stack(keys)


def _check_required(
    image: MultiplexImage, required: Sequence[str], used: list[int], left_out: dict[str, str]
) -> None:
    usable = {image.channels[i] for i in used}
    for name in required:
        if name not in image.channels:
            near = difflib.get_close_matches(name, image.channels, n=3, cutoff=0.4)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            message = (
                f"no channel named {name!r} in {image.name!r}.{hint} "
                f"Its channels are: {', '.join(image.channels)}"
            )
            raise MarkerError(message)
        if name not in usable:
            message = (
                f"channel {name!r} cannot be inpainted: {left_out[name]}. Choose another channel, "
                "or map it to its protein and add that protein's embedding to the checkpoint "
                "(`virtues markers embed`)."
            )
            raise MarkerError(message)


def _unknown(name: str, prepared: PreparedImage) -> str:
    near = difflib.get_close_matches(name, prepared.channels, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"no usable channel named {name!r} in {prepared.name!r}.{hint} "
        f"The model can use: {', '.join(prepared.channels)}"
    )


def _too_few(image: MultiplexImage, used: tuple[str, ...], left_out: dict[str, str]) -> str:
    why = f" Left out: {'; '.join(_grouped(left_out))}." if left_out else ""
    return (
        f"expected at least two channels that the model can use in {image.name!r}, found "
        f"{len(used)}{f' ({used[0]})' if used else ''}: markers are read together.{why} "
        "Open an image with more markers, or map its channels to proteins."
    )


def _grouped(left_out: dict[str, str]) -> list[str]:
    """One text for each reason, with its channels."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    return [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
