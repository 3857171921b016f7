"""What changes about a cell when the model is not shown a marker."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.infer.place import Place, tile_around
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.tiles import cut
from virtues_core.model import Checkpoint, VirTues

Probabilities = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""A classifier: tokens (N, D) → probabilities (N, K)."""


@dataclass(frozen=True, eq=False)
class MarkerAblation:
    """A cell with all markers, and with each hidden in turn."""

    channels: tuple[str, ...]
    """C names."""
    token: NDArray[np.float32]
    """(D,) the cell's token when the model sees all markers."""
    hidden: NDArray[np.float32]
    """(C, D) its token with each marker hidden."""
    probability: NDArray[np.float64] | None = None
    """(K,) of each type when the model sees all markers; None without a classifier."""
    hidden_probability: NDArray[np.float64] | None = None
    """(C, K) with each marker hidden."""

    @property
    def token_change(self) -> NDArray[np.float64]:
        """(C,) how far the token moves, as a share of its length."""
        moved = np.linalg.norm(self.hidden.astype(np.float64) - self.token, axis=1)
        return np.asarray(moved / np.linalg.norm(self.token.astype(np.float64)))

    @property
    def probability_change(self) -> NDArray[np.float64] | None:
        """(C, K) probability that a type loses without the marker; negative where it gains."""
        if self.probability is None or self.hidden_probability is None:
            return None
        return np.asarray(self.probability - self.hidden_probability)


def ablate_markers(
    prepared: PreparedImage,
    checkpoint: Checkpoint,
    place: Place,
    classifier: Probabilities | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> MarkerAblation:
    """Hide each marker in turn and see what becomes of a cell's token and type.

    The token is the mean of the patch summaries that the cell touches, weighted by its pixels in
    each, in the tile of 128 px around the cell. Attention explains a model only in part; this
    measures what it does without the marker.

    Parameters
    ----------
    prepared
        Of `prepare_image`.
    checkpoint
        The model.
    place
        (y, x) of a pixel, or a mask (Y, X), True on the cell.
    classifier
        Turns tokens (N, D) into probabilities (N, K), one column a type.
    cancelled
        Asked between and within passes.

    Raises
    ------
    InputError
        As `tile_around`, or the classifier gives other than (N, K).
    DeviceError, Cancelled
        As `Runner.predict`.
    """
    origin, shares = tile_around(prepared, place, checkpoint.config.patch_size)
    tile = cut(prepared.pixels, np.array([origin]))[0]
    weights = (shares / shares.sum()).ravel()
    runner = Runner(checkpoint, batch_size=1, cancelled=cancelled)

    def token(kept: list[int]) -> NDArray[np.float32]:
        # masked tokens take no part in the encoder: a marker hidden whole is a marker left out
        seen = runner.each([tile[kept]], prepared.embeddings[kept], _summaries)[0]
        rows = seen.float().numpy().reshape(weights.size, -1)
        return np.asarray(weights @ rows, np.float32)

    every = list(range(len(prepared.channels)))
    tokens = np.stack([token(every), *(token([m for m in every if m != c]) for c in every)])
    if classifier is None:
        return MarkerAblation(prepared.channels, tokens[0], tokens[1:])
    said = np.asarray(classifier(tokens), np.float64)
    if said.ndim != 2 or len(said) != len(tokens):
        message = (
            f"expected probabilities ({len(tokens)}, types) from the classifier, found "
            f"{said.shape}; give one that takes tokens (N, D)."
        )
        raise InputError(message)
    return MarkerAblation(prepared.channels, tokens[0], tokens[1:], said[0], said[1:])


def _summaries(model: VirTues, tiles: list[Tensor], embeddings: list[Tensor]) -> Iterable[Tensor]:
    """(h, w, D) of each tile."""
    return model(tiles, embeddings, channels=[[]] * len(tiles)).patch_summary  # type: ignore[no-any-return]
