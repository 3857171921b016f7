"""Marker embeddings from protein sequences, by ESM-2."""

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import CheckpointError, MarkerError
from virtues_core.markers.embeddings import MarkerEmbeddings
from virtues_core.markers.sequences import cache_folder, checked_sequence

ESM2_150M = "facebook/esm2_t30_150M_UR50D"
"""The model whose embeddings the published checkpoints were trained with."""
MAX_RESIDUES = 4096


def embed_sequences(
    sequences: Mapping[str, str],
    *,
    model: str = ESM2_150M,
    device: str = "cpu",
    cache: Path | None = None,
    max_residues: int = MAX_RESIDUES,
    on_done: Callable[[str, int, int], None] = lambda key, done, total: None,
) -> MarkerEmbeddings:
    """Mean of ESM-2's last layer over the residues of each protein.

    The beginning and end tokens are left out of the mean. A sequence goes through the model whole,
    as those of the published checkpoints did, also beyond the 1022 residues that ESM-2 saw in
    training (its positions are rotary, so that it takes any length). One longer than
    ``max_residues`` is cut into the fewest consecutive windows of nearly equal length that fit,
    and the mean is taken over the residues of all of them.

    Parameters
    ----------
    sequences
        Marker key → amino acids.
    model
        Name on the Hugging Face hub, or a folder; weights as safetensors.
    device
        Where to run, as PyTorch names it.
    cache
        Folder that keeps each embedding; `sequences.cache_folder` by default.
    max_residues
        Longest piece that goes through the model; memory grows with its square.
    on_done
        Called after each protein with key, count so far, and total.

    Returns
    -------
    MarkerEmbeddings
        In the order of ``sequences``; 640 values each for the default model.

    Raises
    ------
    MarkerError
        The model cannot be had, or a sequence is not one.
    CheckpointError
        The model's weights are not safetensors, or not ESM's.
    """
    if max_residues < 1:
        message = f"max_residues must be 1 or more, found {max_residues}."
        raise MarkerError(message)
    clean = {key: checked_sequence(text, key) for key, text in sequences.items()}
    folder = (cache or cache_folder()) / "esm" / _tag(model, max_residues)
    encoder: _Encoder | None = None
    vectors: dict[str, NDArray[np.float32]] = {}
    for done, (key, sequence) in enumerate(clean.items(), start=1):
        name = hashlib.sha256(sequence.encode()).hexdigest()
        file = folder / f"{name}.safetensors"
        kept = _kept(file, name)
        if kept is not None:
            vectors[key] = kept
        else:
            encoder = encoder or _Encoder.load(model, device)
            vectors[key] = encoder.mean(sequence, max_residues)
            MarkerEmbeddings({name: vectors[key]}, origin=model).save(file)
        on_done(key, done, len(clean))
    return MarkerEmbeddings(vectors, origin=model)


def windows(length: int, longest: int) -> list[tuple[int, int]]:
    """Cut 0…length into the fewest consecutive pieces of nearly equal length, none over longest.

    Examples
    --------
    >>> windows(10, 4)
    [(0, 4), (4, 7), (7, 10)]
    """
    count = math.ceil(length / longest)
    size, extra = divmod(length, count)
    ends = [size * i + min(i, extra) for i in range(count + 1)]
    return list(itertools.pairwise(ends))


@dataclass(frozen=True)
class _Encoder:
    """An ESM-2 with its tokenizer, on a device."""

    model: Any
    tokenizer: Any
    device: str

    @classmethod
    def load(cls, name: str, device: str) -> "_Encoder":
        from transformers import EsmModel, EsmTokenizer

        try:
            tokenizer = EsmTokenizer.from_pretrained(name)
            model: Any = EsmModel.from_pretrained(
                name, add_pooling_layer=False, use_safetensors=True
            )
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise _unavailable(name, error) from error
        if model.config.model_type != "esm":
            message = f"{name!r} is a model of type {model.config.model_type!r}; expected 'esm'."
            raise CheckpointError(message)
        return cls(model.eval().to(device), tokenizer, device)

    def mean(self, sequence: str, max_residues: int) -> NDArray[np.float32]:
        """Mean over residues, (dim,) float32, summed in float64 over all windows."""
        import torch

        total: Any = 0.0
        for start, end in windows(len(sequence), max_residues):
            tokens = self.tokenizer(sequence[start:end], return_tensors="pt", truncation=False)
            with torch.inference_mode():
                states = self.model(**tokens.to(self.device)).last_hidden_state[0]
            residues = states[1:-1]  # without the tokens that mark beginning and end
            if len(residues) != end - start:
                message = (
                    f"the tokenizer made {len(residues)} tokens of {end - start} residues; "
                    "expected one each. Is the model an ESM-2?"
                )
                raise CheckpointError(message)
            total = total + residues.double().sum(0)
        mean = total / len(sequence)
        result: NDArray[np.float32] = mean.float().cpu().numpy()
        return result


def _kept(file: Path, name: str) -> NDArray[np.float32] | None:
    """Vector in a file of the cache; None where it is not there or damaged."""
    if not file.is_file():
        return None
    try:
        return MarkerEmbeddings.load(file)[name]
    except (MarkerError, CheckpointError):
        return None


def _unavailable(name: str, error: Exception) -> MarkerError | CheckpointError:
    folder = Path(name)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        return CheckpointError(
            f"no safetensors weights in {name!r}; expected model.safetensors with config.json and "
            "vocab.txt. Pickled weights are not opened: convert them first."
        )
    first = str(error).strip().splitlines()[0]
    return MarkerError(
        f"could not load the protein model {name!r}: {first} Check the network, or give a folder "
        "that holds config.json, vocab.txt and model.safetensors; or use ready embeddings."
    )


def _tag(model: str, max_residues: int) -> str:
    """Name for what decides an embedding beside the sequence: the weights and the cut."""
    folder = Path(model)
    words = [model, str(max_residues)]
    if folder.is_dir():
        words[0] = str(folder.resolve())
        stats = [(file.name, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
        words += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
    return f"{folder.name}-{digest}"
