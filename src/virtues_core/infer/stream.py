"""Patch tokens of an image, tile after tile: out of the cache, or out of the model."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from virtues_core.infer.cache import TokenCache
from virtues_core.infer.predict import Runner
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.tiles import cut
from virtues_core.model import VirTues

_Read = TypeVar("_Read")


@dataclass(frozen=True, eq=False)
class TileTokens:
    """What the model says of one tile."""

    origin: tuple[int, int]
    """(y, x) of its top-left pixel."""
    tokens: NDArray[np.float32]
    """(h, w, D) patch summary tokens."""
    stored: bool
    """Whether they came out of the cache."""


@dataclass(frozen=True, eq=False)
class _Part:
    """Some tiles, read and looked up."""

    origins: list[tuple[int, int]]
    tiles: list[NDArray[np.float32]]
    keys: list[bytes]
    stored: list[NDArray[np.float32] | None]


def tile_tokens(
    prepared: PreparedImage,
    origins: NDArray[np.int64],
    runner: Runner,
    cache: TokenCache | None = None,
) -> Iterator[TileTokens]:
    """Encode tiles, with nothing hidden, in the order given.

    While the model is at one batch the next one is read, normalised and looked up. Tokens are
    stored as soon as they are there, and none are kept.

    Parameters
    ----------
    prepared
        The image, in model units.
    origins
        (T, 2) top-left pixels (y, x).
    runner
        Runs the model; its batch size is that of the reading too.
    cache
        Where tokens are looked up and stored.

    Raises
    ------
    InputError
        NaN or negative pixels in a tile of a large image.
    Cancelled, DeviceError
        As `Runner.each`.
    """
    size = runner.batch_size
    parts = [origins[i : i + size] for i in range(0, len(origins), size)]
    for part in _one_ahead(lambda part: _read(prepared, part, cache), parts):
        missing = [i for i, found in enumerate(part.stored) if found is None]
        new = runner.each([part.tiles[i] for i in missing], prepared.embeddings, _summaries)
        made = dict(zip(missing, new, strict=True))
        for i, origin in enumerate(part.origins):
            found = part.stored[i]
            tokens = made[i].float().numpy() if found is None else found
            if found is None and cache is not None:
                cache.put(origin, part.keys[i], tokens)
            yield TileTokens(origin, tokens, stored=found is not None)


def _read(prepared: PreparedImage, origins: NDArray[np.int64], cache: TokenCache | None) -> _Part:
    """Read tiles and look them up; pixels whose tokens are stored are not kept."""
    places = [(int(y), int(x)) for y, x in origins]
    tiles = cut(prepared.pixels, origins)
    if cache is None:
        return _Part(places, tiles, [], [None] * len(tiles))
    keys = [cache.key(at, tile) for at, tile in zip(places, tiles, strict=True)]
    stored = [cache.get(at, key) for at, key in zip(places, keys, strict=True)]
    return _Part(places, tiles, keys, stored)


def _summaries(model: VirTues, tiles: list[Tensor], markers: list[Tensor]) -> list[Tensor]:
    nothing: list[list[int]] = [[] for _ in tiles]
    summary: list[Tensor] = model(tiles, markers, channels=nothing).patch_summary
    return summary


def _one_ahead(
    read: Callable[[NDArray[np.int64]], _Read], parts: Sequence[NDArray[np.int64]]
) -> Iterator[_Read]:
    """Read part after part in a thread of its own, one part ahead of the one at hand."""
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(read, part) for part in parts[:1]]
        for part in [*parts[1:], None]:
            if not ahead:
                return
            ready = ahead.pop().result()
            if part is not None:
                ahead.append(pool.submit(read, part))
            yield ready
