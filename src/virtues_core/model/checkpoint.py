"""A checkpoint: a folder with weights, sizes, marker embeddings, statistics and a model card.

::

    config.json            {"format": 1, "model": {…}, "trained_keys": […]}
    model.safetensors      weights
    markers.safetensors    marker key → embedding
    statistics.parquet     dataset, channel, key, mean, std
    split.json             digests of the patients and images trained on, and kept out
    calibration.json       how wide an 80 % interval must be, by masking strategy
    README.md              the model card
    segmentation-head.safetensors   where it has one
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from virtues_core.errors import CheckpointError
from virtues_core.files import replacing
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model.config import ModelConfig
from virtues_core.model.split import SPLIT_FILE, Split
from virtues_core.model.strict import load_strictly
from virtues_core.model.virtues import VirTues
from virtues_core.preprocess import Statistics

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
WEIGHTS = "model.safetensors"
HEAD_FILE = "segmentation-head.safetensors"
"""Of a segmentation head in a checkpoint's folder (see ``head_file.py``)."""
_STATISTICS = ("dataset", "channel", "key", "mean", "std")
_PICKLES = {".pt", ".pth", ".ckpt", ".bin"}
_DAMAGED = (AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with what it needs to be used on an image."""

    model: VirTues
    """In evaluation mode, on the device and in the type that it was opened with."""
    config: ModelConfig
    embeddings: MarkerEmbeddings
    """The marker embeddings it was trained with; empty where the folder has none."""
    statistics: tuple[Statistics, ...] = ()
    """Means and deviations of each dataset it was trained on."""
    trained_keys: tuple[str, ...] = ()
    """Marker keys seen in training; empty where unknown."""
    calibration: dict[str, Any] | None = None
    """How its intervals are scaled; see ``infer/uncertainty.py``."""
    card: str = ""
    """The model card, Markdown."""
    split: Split | None = None
    """Whom it was trained on; None where unknown."""
    folder: Path | None = None
    """Where it was opened from."""


def demo_checkpoint() -> Path:
    """Folder of the small model that ships with the package, trained on simulated tissue."""
    return Path(__file__).parents[1] / "presets" / "demo"


def load_checkpoint(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Checkpoint:
    """Open a checkpoint.

    Parameters
    ----------
    source
        A folder; a weights file (``.safetensors``, or ``.pt`` that holds nothing but tensors)
        with or without a ``config.json`` beside it; ``demo``; or the name of a published variant
        or hub repository that was downloaded before (see ``hub.fetch``).
    device, dtype
        Where the model goes, and in which type its weights are kept.

    Raises
    ------
    CheckpointError
        Nothing is there, a key is missing or left over, a shape differs, the file is truncated,
        or it is a pickle of more than tensors (which is never unpickled).
    """
    weights = weights_of(source)
    folder = weights.parent
    described = _read_config(folder / "config.json")
    config = ModelConfig.from_dict(described.get("model", {}))
    state = _read_weights(weights)
    model = VirTues(config)
    if "encoder.patch_summary_token" in state:
        model.load_published(state)
    else:
        remedy = (
            "Expected exactly the weights that its config.json describes; copy the folder again."
        )
        load_strictly(model, state, remedy)
    model.to(device=device, dtype=dtype).eval().requires_grad_(requires_grad=False)
    markers = folder / "markers.safetensors"
    embeddings = MarkerEmbeddings.load(markers) if markers.is_file() else MarkerEmbeddings({})
    if embeddings.dim not in {0, config.marker_embedding_dim}:
        message = (
            f"{markers}: marker embeddings have {embeddings.dim} values, the model expects "
            f"{config.marker_embedding_dim}. Use the embeddings that the model was trained with."
        )
        raise CheckpointError(message)
    card = folder / "README.md"
    return Checkpoint(
        model=model,
        config=config,
        embeddings=embeddings,
        statistics=_read_statistics(folder / "statistics.parquet"),
        trained_keys=tuple(described.get("trained_keys", ())),
        calibration=_read_json(folder / "calibration.json"),
        card=card.read_text(encoding="utf-8") if card.is_file() else "",
        folder=folder,
        split=Split.load(folder / SPLIT_FILE),
    )


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint; an older one at that place is replaced when the new one is whole.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written; the older one is untouched.
    """
    from safetensors.torch import save

    with replacing(folder) as new:
        new.mkdir()
        weights = {
            k: v.detach().cpu().contiguous() for k, v in checkpoint.model.state_dict().items()
        }
        # written by Python, whose error on a full disk says what it is
        (new / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
        described = {
            "format": FORMAT,
            "model": checkpoint.config.to_dict(),
            "trained_keys": list(checkpoint.trained_keys),
        }
        (new / "config.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
        if len(checkpoint.embeddings):
            checkpoint.embeddings.save(new / "markers.safetensors")
        if checkpoint.statistics:
            _statistics_table(checkpoint.statistics).to_parquet(new / "statistics.parquet")
        if checkpoint.split is not None:
            checkpoint.split.save(new / SPLIT_FILE)
        if checkpoint.calibration is not None:
            (new / "calibration.json").write_text(
                json.dumps(checkpoint.calibration, indent=1), encoding="utf-8"
            )
        (new / "README.md").write_text(checkpoint.card, encoding="utf-8")
        head = None if checkpoint.folder is None else checkpoint.folder / HEAD_FILE
        if head is not None and head.is_file():
            shutil.copyfile(head, new / HEAD_FILE)


def weights_of(source: str | Path) -> Path:
    """Find the weights file of a checkpoint; what belongs to it lies beside it.

    Parameters
    ----------
    source
        As `load_checkpoint` takes it.

    Raises
    ------
    CheckpointError
        Nothing is there.
    """
    path = _locate(source)
    return path if path.is_file() else path / WEIGHTS


def _locate(source: str | Path) -> Path:
    if str(source) == "demo":
        return demo_checkpoint()
    path = Path(source).expanduser()
    if path.exists():
        return path
    from virtues_core.model.hub import cached

    found = cached(str(source))
    if found is None:
        message = (
            f"no checkpoint at {str(source)!r}. Expected a folder with {WEIGHTS}, a weights file, "
            "'demo', or a published model that was downloaded before "
            "(virtues download sp31, sp32 or imc14)."
        )
        raise CheckpointError(message)
    return found


def _read_config(path: Path) -> dict[str, Any]:
    described = _read_json(path) or {}
    version = described.get("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        message = (
            f"{path}: format {version!r} is newer than this program knows ({FORMAT}). "
            "Update napari-virtues."
        )
        raise CheckpointError(message)
    for name, kind in (("model", dict), ("trained_keys", list)):
        if not isinstance(described.get(name, kind()), kind):
            message = f"{path}: expected {name!r} to be a {kind.__name__}. Restore the file."
            raise CheckpointError(message)
    return described


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        message = f"{path}: expected JSON, found something else ({error}). Restore the file."
        raise CheckpointError(message) from error
    if not isinstance(found, dict):
        message = f"{path}: expected a JSON object, found {type(found).__name__}."
        raise CheckpointError(message)
    return found


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        message = f"no weights at {path}. Expected {WEIGHTS} in a checkpoint's folder."
        raise CheckpointError(message)
    if path.suffix in _PICKLES:
        return _read_torch_file(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        message = (
            f"{path.name} is not a whole safetensors file ({error}). It may be truncated, or a "
            "pickle under another name, which is never opened. Copy or download it again."
        )
        raise CheckpointError(message) from error


def _read_torch_file(path: Path) -> Mapping[str, Tensor]:
    import pickle

    try:
        with warnings.catch_warnings(action="ignore"):  # of a pickle by another program
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, *_DAMAGED) as error:
        message = (
            f"{path.name} holds more than weights, or is damaged, and was not opened: running "
            "what a pickle holds is not safe. Ask for the weights as .safetensors."
        )
        raise CheckpointError(message) from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        message = f"{path.name}: expected a table of tensors by name, found something else."
        raise CheckpointError(message)
    return found


def _statistics_table(statistics: tuple[Statistics, ...]) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(
        [
            pd.DataFrame(
                {
                    "dataset": s.dataset,
                    "channel": list(s.channels),
                    "key": list(s.keys),
                    "mean": s.mean,
                    "std": s.std,
                }
            )
            for s in statistics
        ],
        ignore_index=True,
    )


def _read_statistics(path: Path) -> tuple[Statistics, ...]:
    if not path.is_file():
        return ()
    import pandas as pd

    try:
        table = pd.read_parquet(path, columns=list(_STATISTICS))
    except (OSError, ValueError, KeyError) as error:
        message = (
            f"{path}: expected a table with the columns {', '.join(_STATISTICS)} ({error}). "
            "Copy the checkpoint's folder again."
        )
        raise CheckpointError(message) from error
    return tuple(
        Statistics(
            dataset=str(dataset),
            channels=tuple(part["channel"]),
            keys=tuple(None if pd.isna(key) else str(key) for key in part["key"]),
            mean=part["mean"].to_numpy(np.float32),
            std=part["std"].to_numpy(np.float32),
        )
        for dataset, part in table.groupby("dataset", sort=False)
    )
