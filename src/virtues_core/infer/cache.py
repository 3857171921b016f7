"""Patch tokens on disk, tile by tile as they are computed, so that a run can go on where it was.

A stored tile is signed by all that its tokens depend on: the tile's place and pixels in model
units (hence image, clipping and statistics), the panel's keys and embeddings, the model's weights
and their precision. Tokens are given back only under the very signature, so that changed inputs
are never served stale; and only if the checksum is right, so that a damaged file is computed anew.
"""

import hashlib
import io
import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from virtues_core.errors import VirtuesError
from virtues_core.files import replacing
from virtues_core.infer.request import TILE_PX
from virtues_core.model import Checkpoint

RESERVE_BYTES = 2**30
"""Nothing is stored once less than this is free: the result has to be written, too."""
_MAGIC = b"VTOKENS1"
_DIGEST = 32
_SUFFIX = ".tokens"


def checkpoint_signature(checkpoint: Checkpoint) -> str:
    """Sign a model by its sizes and weights, in the precision in which it was opened: 32 digits.

    Tokens of two checkpoints can be compared, and a classifier of one used on the other, only if
    their signatures are the same.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(checkpoint.config.to_dict(), sort_keys=True).encode())
    for name, weight in sorted(checkpoint.model.state_dict().items()):
        values = weight.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def token_signature(
    checkpoint: Checkpoint, keys: Sequence[str], embeddings: NDArray[np.float32]
) -> str:
    """Sign what the tokens of every tile of an image depend on, apart from its pixels: 64 digits.

    Parameters
    ----------
    checkpoint
        The model.
    keys
        C marker keys, in the order of the channels.
    embeddings
        (C, E) their embeddings.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST)
    digest.update(checkpoint_signature(checkpoint).encode())
    digest.update(json.dumps([TILE_PX, precision(checkpoint), list(keys)]).encode())
    digest.update(np.ascontiguousarray(embeddings, np.float32).tobytes())
    return digest.hexdigest()


def precision(checkpoint: Checkpoint) -> str:
    """Name the type of the model's weights, such as ``float32``."""
    return str(next(checkpoint.model.parameters()).dtype).removeprefix("torch.")


class TokenCache:
    """Patch tokens of one image in a folder, one file a tile.

    Parameters
    ----------
    folder
        Made when the first tile is stored. May be shared by images and runs: each has a folder of
        its own in it.
    name
        Of the image.
    signature
        As `token_signature` gives it.
    """

    def __init__(self, folder: Path | str, name: str, signature: str) -> None:
        plain = re.sub(r"[^\w-]+", "_", name)[:40]
        self.folder = Path(folder) / f"{plain}-{signature[:16]}"
        self.damaged = 0
        """Stored tiles that were found damaged."""
        self.problem = ""
        """Why nothing is stored any more; empty while tiles are."""
        self._signature = signature

    def key(self, origin: tuple[int, int], tile: NDArray[np.float32]) -> bytes:
        """Sign a tile (C, 128, 128), model units, whose top-left pixel is ``origin`` (y, x)."""
        digest = hashlib.blake2b(f"{self._signature} {tuple(origin)}".encode(), digest_size=_DIGEST)
        digest.update(np.ascontiguousarray(tile, np.float32).data)
        return digest.digest()

    def get(self, origin: tuple[int, int], key: bytes) -> NDArray[np.float32] | None:
        """Give the stored tokens (h, w, D); None where there are none, stale or damaged ones."""
        try:
            stored = self._path(origin).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            self.damaged += 1
            return None
        head = len(_MAGIC) + _DIGEST
        if stored[:head] == _MAGIC + key:
            payload = stored[head + _DIGEST :]
            if stored[head : head + _DIGEST] == _checksum(payload):
                found: NDArray[np.float32] = np.load(io.BytesIO(payload), allow_pickle=False)
                return found
            self.damaged += 1
        elif len(stored) < head or not stored.startswith(_MAGIC):
            self.damaged += 1
        return None

    def put(self, origin: tuple[int, int], key: bytes, tokens: NDArray[np.float32]) -> None:
        """Store tokens (h, w, D); where the disk does not take them, say why and go on without."""
        free = _free_bytes(self.folder)
        if free < RESERVE_BYTES and not self.problem:
            self.problem = (
                f"{free / 2**30:.1f} GiB are free on the disk of {str(self.folder)!r}, and "
                f"{RESERVE_BYTES / 2**30:.0f} GiB are left for the result"
            )
        if self.problem:
            return
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(tokens, np.float32), allow_pickle=False)
        payload = buffer.getvalue()
        try:
            with replacing(self._path(origin)) as new:
                new.write_bytes(_MAGIC + key + _checksum(payload) + payload)
        except VirtuesError as error:
            self.problem = str(error)

    def _path(self, origin: tuple[int, int]) -> Path:
        return self.folder / f"{origin[0]:06d}" / f"{origin[1]:06d}{_SUFFIX}"

    def notes(self) -> list[str]:
        """Say what a person should know of it."""
        notes = []
        if self.damaged:
            notes.append(
                f"{self.damaged} stored tiles were damaged and computed anew ({self.folder})"
            )
        if self.problem:
            notes.append(
                "patch tokens are no longer stored, so that a run that is stopped begins anew: "
                f"{self.problem}"
            )
        return notes


def _free_bytes(folder: Path) -> float:
    """Say how much room there is where a folder is or will be; infinite where it cannot be told."""
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), Path())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return math.inf


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST).digest()
