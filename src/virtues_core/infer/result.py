"""What the model painted → the result: better of both, intervals, counts and scores.

The image is gone through in blocks, so that a large one need not fit in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.cohort import CohortFit, MarkerFit
from virtues_core.infer.intervals import IntervalTable
from virtues_core.infer.judge import Block, Judge
from virtues_core.infer.masks import patches_at
from virtues_core.infer.painting import Painted
from virtues_core.infer.planes import Canvas, Window, windows
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.request import InpaintResult, Strategy
from virtues_core.infer.uncertainty import interval, stored_table
from virtues_core.model import Checkpoint
from virtues_core.preprocess import to_counts

_VALUES = ("prediction", "lower", "upper", "truth")


@dataclass(frozen=True, eq=False)
class _Marker:
    """How one wanted channel is finished."""

    k: int
    channel: int
    fit: MarkerFit | None
    table: IntervalTable | None


def make_result(
    prepared: PreparedImage,
    checkpoint: Checkpoint,
    strategy: Strategy,
    wanted: Sequence[int],
    patches: NDArray[np.bool_],
    painted: Painted,
    fit: CohortFit | None,
    warnings: Sequence[str],
) -> InpaintResult:
    """Finish what was painted.

    Parameters
    ----------
    prepared, checkpoint, strategy, fit
        As used for the painting.
    wanted
        K channels.
    patches
        (C, ⌈Y/p⌉, ⌈X/p⌉) True = hidden.
    painted
        What the model made of them.
    warnings
        What a person should know already.
    """
    markers = [_marker(prepared, checkpoint, strategy, k, c, fit) for k, c in enumerate(wanted)]
    shape, on_disk = (len(wanted), *prepared.shape), not prepared.in_memory
    masked = Canvas(shape, np.bool_, on_disk=on_disk)
    values = {name: Canvas(shape, on_disk=on_disk) for name in _VALUES}
    counts = {name: Canvas(shape, on_disk=on_disk) for name in _VALUES}
    judge = Judge(prepared, checkpoint, strategy, wanted, patches, fit)
    for window in windows(prepared.shape):
        where = patches_at(patches[list(wanted)], window, checkpoint.config.patch_size)
        seen = _seen(prepared, wanted, window, needed=bool(where.any()) and judge.needs_others)
        for marker in markers:
            k, c = marker.k, marker.channel
            block = _finish(prepared, marker, fit, painted, window, where[k], seen)
            judge.add(k, block)
            masked.put(k, window, where[k])
            for name in _VALUES:
                plane = getattr(block, name)
                values[name].put(k, window, plane)
                scale = prepared.mean[[c]], prepared.std[[c]]
                counts[name].put(k, window, to_counts(plane[None], *scale)[0])
    return InpaintResult(
        channels=tuple(prepared.channels[c] for c in wanted),
        masked=masked.finish(),
        **{name: canvas.finish() for name, canvas in values.items()},
        **{f"{name}_counts": canvas.finish() for name, canvas in counts.items()},
        scores=judge.scores(),
        warnings=(*warnings, *_uncalibrated(markers)),
    )


def _marker(
    prepared: PreparedImage,
    checkpoint: Checkpoint,
    strategy: Strategy,
    k: int,
    channel: int,
    fit: CohortFit | None,
) -> _Marker:
    """Choose the table of a marker: the cohort's, else the checkpoint's for its own painting."""
    own = None if fit is None else fit.markers[channel]
    table = None if own is None else own.table
    if table is None and (own is None or own.method == "model"):
        table = stored_table(checkpoint.calibration, strategy, prepared.keys[channel])
    return _Marker(k, channel, own, table)


def _seen(
    prepared: PreparedImage, wanted: Sequence[int], window: Window, *, needed: bool
) -> dict[int, NDArray[np.float32]]:
    """Read channels of a window: those that were wanted, and the others where they are needed."""
    channels = list(range(len(prepared.channels))) if needed else list(wanted)
    return dict(zip(channels, prepared.pixels[channels, window[0], window[1]], strict=True))


def _finish(
    prepared: PreparedImage,
    marker: _Marker,
    fit: CohortFit | None,
    painted: Painted,
    window: Window,
    where: NDArray[np.bool_],
    seen: dict[int, NDArray[np.float32]],
) -> Block:
    """Make the values of one marker in one window."""
    truth = seen[marker.channel]
    prediction, lower, upper, model = (truth.copy() for _ in range(4))
    if where.any():
        floor = float(prepared.floor[marker.channel])
        said = painted.prediction.get(marker.k, window)[where]
        spread = painted.spread.get(marker.k, window)[where]
        value = said
        if fit is not None and marker.fit is not None:
            visible = np.stack([seen[c][where] for c in fit.visible])
            value = marker.fit.predict(visible, said, marker.fit.method)
        value = np.maximum(value, np.float32(floor))
        low, high = interval(marker.table, value, spread, floor)
        prediction[where], lower[where], upper[where], model[where] = value, low, high, said
    return Block(window, where, truth, prediction, lower, upper, model, seen)


def _uncalibrated(markers: Sequence[_Marker]) -> list[str]:
    if all(marker.table is not None for marker in markers):
        return []
    return [
        "the 80 % intervals are not calibrated for this checkpoint: do not rely on them; "
        "give other images of the cohort to fit on, or calibrate the checkpoint (virtues "
        "calibrate)"
    ]
