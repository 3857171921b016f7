"""Marker embeddings: one vector of numbers for each protein, kept by its accession."""

import hashlib
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import CheckpointError, MarkerError
from virtues_core.files import replacing

STAND_IN_SCALE = 0.2
"""Standard deviation of a stand-in's values; those of ESM-2 150M have about this spread."""
_STAND_IN_ENTRY = "stand_ins"
_ORIGIN_ENTRY = "origin"
_DAMAGED = (EOFError, ValueError, TypeError, AttributeError, OSError, struct.error)


@dataclass(frozen=True, eq=False)
class MarkerEmbeddings:
    """Embedding vectors by marker key (a UniProt accession, or ``stain:dna``)."""

    vectors: Mapping[str, NDArray[np.float32]]
    """Key → (dim,) float32, all of the same dim, finite."""
    stand_ins: frozenset[str] = frozenset()
    """Keys whose vector says nothing about the protein: it was drawn from a hash of the key."""
    origin: str = ""
    """Where the vectors come from, in words: a model's name, a file."""
    dim: int = field(init=False)
    """Number of values in each vector; 0 when there are none."""

    def __post_init__(self) -> None:
        vectors = {key: _checked(key, vector) for key, vector in self.vectors.items()}
        dims = sorted({len(vector) for vector in vectors.values()})
        if len(dims) > 1:
            odd = {d: next(k for k, v in vectors.items() if len(v) == d) for d in dims}
            found = ", ".join(f"{d} ({key})" for d, key in odd.items())
            message = (
                f"marker embeddings must all have the same length; found lengths {found}. "
                "Embed every marker with the same model."
            )
            raise MarkerError(message)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "stand_ins", frozenset(self.stand_ins) & vectors.keys())
        object.__setattr__(self, "dim", dims[0] if dims else 0)

    def __contains__(self, key: object) -> bool:
        return key in self.vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[str]:
        return iter(self.vectors)

    def __getitem__(self, key: str) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self.stack([key])[0]
        return row

    def keys(self) -> tuple[str, ...]:
        """Return the keys in the order in which they were given."""
        return tuple(self.vectors)

    def stack(self, keys: Iterable[str]) -> NDArray[np.float32]:
        """Vectors of these markers, one a row: (C, dim) float32.

        Raises
        ------
        MarkerError
            Some have no embedding; the message names them all.
        """
        wanted = list(keys)
        missing = [key for key in dict.fromkeys(wanted) if key not in self.vectors]
        if missing:
            message = (
                f"no embedding for {', '.join(missing)} among the {len(self)} markers"
                f"{f' of {self.origin}' if self.origin else ''}. Leave those channels out, or "
                "add them with `virtues markers embed`."
            )
            raise MarkerError(message)
        if not wanted:
            return np.empty((0, self.dim), np.float32)
        return np.stack([self.vectors[key] for key in wanted])

    def select(self, keys: Iterable[str]) -> "MarkerEmbeddings":
        """Only these markers, in this order (errors as in `stack`)."""
        wanted = tuple(dict.fromkeys(keys))
        rows = self.stack(wanted)
        return MarkerEmbeddings(
            dict(zip(wanted, rows, strict=True)), self.stand_ins, origin=self.origin
        )

    def merge(self, other: "MarkerEmbeddings") -> "MarkerEmbeddings":
        """Both sets of markers; where a key is in both, this one's vector is kept.

        A real vector of ``other`` replaces a stand-in of this one.

        Raises
        ------
        MarkerError
            The two have vectors of different lengths.
        """
        taken = [k for k in other if k not in self or (k in self.stand_ins - other.stand_ins)]
        vectors = {**self.vectors, **{key: other.vectors[key] for key in taken}}
        stand_ins = (self.stand_ins - set(taken)) | (other.stand_ins & set(taken))
        origins = dict.fromkeys(o for o in (self.origin, other.origin if taken else "") if o)
        return MarkerEmbeddings(vectors, stand_ins, origin="; ".join(origins))

    @classmethod
    def stand_in(cls, keys: Iterable[str], dim: int = 640) -> "MarkerEmbeddings":
        """Vectors that only tell markers apart, for use where no protein model is at hand.

        The same key gives the same vector everywhere: normal deviates × `STAND_IN_SCALE` from
        NumPy's default generator, seeded by the SHA-256 of the key. Every key is named in
        `stand_ins`, also after saving and loading.

        Parameters
        ----------
        keys
            Marker keys; repeats are taken once.
        dim
            Values in each vector; 640 is that of ESM-2 150M.
        """
        vectors = {key: _drawn(key, dim) for key in keys}
        return cls(vectors, frozenset(vectors), origin="stand-ins drawn from the keys")

    @classmethod
    def load(cls, source: str | Path) -> "MarkerEmbeddings":
        """Read embeddings from a safetensors file or a folder.

        Parameters
        ----------
        source
            A ``.safetensors`` file (key → (dim,)); a checkpoint's folder with its
            ``markers.safetensors``; or a folder of ``ACCESSION.pt`` files, each one tensor (dim,)
            or the output of the ``esm-extract`` script. These are opened weights-only.

        Raises
        ------
        MarkerError
            Nothing is there, or the vectors do not fit together.
        CheckpointError
            The file is of a kind that can run code when it is opened, or is damaged.
        """
        path = Path(source)
        if path.is_dir():
            inside = path / "markers.safetensors"
            return _from_safetensors(inside) if inside.is_file() else _from_folder(path)
        if not path.is_file():
            message = (
                f"no marker embeddings at {str(path)!r}: expected a .safetensors file or a folder "
                "of ACCESSION.pt files. Make one with `virtues markers embed`."
            )
            raise MarkerError(message)
        if path.suffix != ".safetensors":
            message = (
                f"expected marker embeddings as .safetensors or a folder of ACCESSION.pt, found "
                f"{path.name!r}. Pickled files can run code and are not opened; save the vectors "
                "with safetensors.numpy.save_file({accession: vector}, path)."
            )
            raise CheckpointError(message)
        return _from_safetensors(path)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file: key → (dim,) float32, stand-ins and origin as metadata."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        metadata = {
            _STAND_IN_ENTRY: "|".join(sorted(self.stand_ins)),
            _ORIGIN_ENTRY: self.origin,
        }
        with replacing(Path(path)) as new:
            try:
                save_file(dict(self.vectors), new, metadata=metadata)
            except SafetensorError as error:  # how it says that the disk is full
                raise OSError(*error.args) from error


def _checked(key: str, vector: NDArray[Any]) -> NDArray[np.float32]:
    if vector.ndim != 1 or not vector.size or not np.issubdtype(vector.dtype, np.floating):
        message = (
            f"the embedding of {key} must be one row of floating-point numbers, found shape "
            f"{vector.shape} of {vector.dtype}. Average it over residues first."
        )
        raise MarkerError(message)
    values = np.array(vector, np.float32)  # a copy of our own
    if not np.isfinite(values).all():
        message = f"the embedding of {key} has NaN or infinite values; embed that marker again."
        raise MarkerError(message)
    values.flags.writeable = False
    return values


def _drawn(key: str, dim: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")
    drawn = np.random.default_rng(seed).standard_normal(dim) * STAND_IN_SCALE
    return drawn.astype(np.float32)


def _from_safetensors(path: Path) -> MarkerEmbeddings:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # torch: NumPy has no bfloat16
            keys = sorted(file.keys())
            vectors = {key: file.get_tensor(key).to(torch.float32).numpy() for key in keys}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        message = (
            f"{path.name!r} is not a readable safetensors file ({error}). It may be truncated or "
            "of another format: fetch or make it again."
        )
        raise CheckpointError(message) from error
    stand_ins = frozenset(filter(None, metadata.get(_STAND_IN_ENTRY, "").split("|")))
    return MarkerEmbeddings(vectors, stand_ins, origin=metadata.get(_ORIGIN_ENTRY) or path.name)


def _from_folder(folder: Path) -> MarkerEmbeddings:
    files = sorted(folder.glob("*.pt"))
    if not files:
        message = (
            f"no marker embeddings in the folder {str(folder)!r}: expected markers.safetensors or "
            "files named ACCESSION.pt, found neither."
        )
        raise MarkerError(message)
    vectors = {file.stem: _from_pt(file) for file in files}
    return MarkerEmbeddings(vectors, origin=folder.name)


def _from_pt(file: Path) -> NDArray[np.float32]:
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on pickle protocols: refused anyway
            value: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, LookupError, RuntimeError, *_DAMAGED) as error:
        message = (
            f"{file.name!r} does not open as plain weights: it is damaged, or a pickle that could "
            "run code, which is never opened. Save it as one tensor (dim,), or the whole set as "
            "a .safetensors file."
        )
        raise CheckpointError(message) from error
    if isinstance(value, dict) and isinstance(value.get("mean_representations"), dict):
        layers = value["mean_representations"]
        value = layers[max(layers)]  # the last layer
    if not isinstance(value, torch.Tensor):
        message = f"expected one tensor in {file.name!r}, found {type(value).__name__}."
        raise MarkerError(message)
    return value.to(torch.float32).numpy()
