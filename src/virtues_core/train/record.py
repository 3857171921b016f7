"""What a run writes down of itself: what was asked, how it stands, what it may be resumed from."""

import dataclasses
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch

from virtues_core import __version__
from virtues_core.errors import CheckpointError, ConfigError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint
from virtues_core.run_dir import ARTIFACTS, RUN, first_process, read_json, update_run, versions
from virtues_core.train.callbacks import truncate_rows
from virtues_core.train.config import TrainConfig
from virtues_core.train.dataset import TrainingImage
from virtues_core.train.memory import is_out_of_memory
from virtues_core.train.sources import TrainingData

STATE = Path("checkpoints") / "last.ckpt"
_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What `replacing` writes to, and leaves where its process is killed."""
_FREE = frozenset({"max_steps", "max_minutes", "epochs", "workers", "accelerator", "devices",
                   "nodes", "strategy", "checkpoint_every_steps", "validate_every_steps",
                   "reconstruct_every_steps", "micro_batch_size"})  # fmt: skip
"""Settings that a resumed run may change."""


def start_or_resume(
    run_dir: Path, config: TrainConfig, start: Checkpoint | None, *, resume: bool
) -> int | None:
    """Give the steps done of the run to resume, or None; refuse to mix two runs in one folder.

    Raises
    ------
    ConfigError
        The folder holds a run already, or one of other settings.
    CheckpointError, RunError
        There is nothing to resume, or it is damaged.
    """
    state = run_dir / STATE
    if not resume:
        if state.exists() or (run_dir / "checkpoint").exists():
            message = (
                f"{run_dir} holds a run already. Choose another folder, or go on with it "
                "by --resume."
            )
            raise ConfigError(message)
        return None
    if not (run_dir / RUN).is_file():
        message = f"nothing to resume: expected {run_dir / RUN}. Start without --resume."
        raise CheckpointError(message)
    before = read_json(run_dir / RUN)
    _check_same(run_dir, before, config, start, begun=state.is_file())
    _sweep(run_dir)
    if state.is_file():
        return saved_steps(run_dir)
    print(
        f"{run_dir}: ended before its first saved state, so it starts anew",
        file=sys.stderr,
        flush=True,
    )
    truncate_rows(run_dir / "metrics.csv", 0)
    return None


def _check_same(
    run_dir: Path, before: dict[str, Any], config: TrainConfig, start: Checkpoint | None,
    *, begun: bool,
) -> None:  # fmt: skip
    old = before.get("config")
    if old is None and not begun:
        return  # it was ended before it had written down what it does
    if not isinstance(old, dict):
        message = f"{run_dir / RUN}: expected the settings of a run under 'config'. Was it edited?"
        raise ConfigError(message)
    usual, now = _plain(TrainConfig()), _plain(config)
    changed = [n for n in now if n not in _FREE and now[n] != old.get(n, usual[n])]
    if begun and start is None:  # its weights are in the state
        pass
    elif _origin(start) != before.get("from"):
        changed.append("checkpoint to start from (--from)")
    if changed:
        message = (
            f"cannot resume with another {', '.join(sorted(changed))}: "
            f"the run in {run_dir} was started with other values. Leave them as they were."
        )
        raise ConfigError(message)


def saved_steps(run_dir: Path) -> int | None:
    """Optimiser steps of the saved state; None where none was saved.

    Raises
    ------
    CheckpointError
        It is damaged.
    RuntimeError
        Memory ran out while it was read.
    """
    state = run_dir / STATE
    if not state.is_file():
        return None
    try:
        loaded = torch.load(state, map_location="cpu", weights_only=True, mmap=True)
        return int(loaded["global_step"])
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        message = f"{state} is damaged ({error}); start the run anew."
        raise CheckpointError(message) from error


def _sweep(run_dir: Path) -> None:
    """Remove what a killed process left half-written."""
    for folder in (run_dir / STATE.parent, run_dir / ARTIFACTS):
        for left in folder.glob(".*"):
            if left.is_dir() and _LEFT.fullmatch(left.name):
                shutil.rmtree(left, ignore_errors=True)


def write_run(
    run_dir: Path,
    config: TrainConfig,
    training: Sequence[TrainingImage],
    validation: Sequence[TrainingImage],
    stand_ins: Sequence[str],
    start: Checkpoint | None,
) -> None:
    """Write down what a run trains on, and how, in ``run.json``."""
    if not first_process():
        return
    update_run(
        run_dir,
        command="pretrain",
        resumable=True,
        config=_plain(config),
        images={
            split: [{"name": i.name, "patient": i.patient, "dataset": i.dataset} for i in images]
            for split, images in (("train", training), ("validation", validation))
        },
        stand_ins=list(stand_ins),
        micro_batch_size=config.micro_batch_size,
        versions=versions() | {"lightning": lightning.__version__},
        **{"from": _origin(start)},
    )


def write_micro_batch(run_dir: Path, size: int) -> None:
    """Remember with how many crops at once a run goes on."""
    update_run(run_dir, micro_batch_size=size)


def known_micro_batch(run_dir: Path) -> int | None:
    """Crops at once that this run went with; None for a new one."""
    if not (run_dir / RUN).is_file():
        return None
    size = read_json(run_dir / RUN).get("micro_batch_size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _plain(config: TrainConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return plain


def _origin(start: Checkpoint | None) -> dict[str, str] | None:
    """Describe a checkpoint to start from: where it was, and the digest of its weights."""
    if start is None:
        return None
    digest = hashlib.sha256()
    for name, weight in sorted(start.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return {"checkpoint": str(start.folder), "weights": digest.hexdigest()[:32]}


def card(
    config: TrainConfig,
    data: TrainingData,
    table: MarkerEmbeddings,
    steps: int,
    start: Checkpoint | None,
    val_loss: float | None,
) -> str:
    """Tell in Markdown how a checkpoint came to be."""
    names = sorted({image.dataset for image in data.images})
    lines = [
        "# VirTues checkpoint",
        "",
        f"Trained by `virtues pretrain` (napari-virtues {__version__}): {steps} steps of "
        f"{config.batch_size} crops of {config.crop_px} px from {len(data.images)} images "
        f"({', '.join(names)}).",
        "",
        f"Model: {json.dumps(dataclasses.asdict(config.model))}",
        "",
        f"Masking: {json.dumps(dataclasses.asdict(config.masking))}",
    ]
    if start is not None:
        lines += ["", f"Started from the checkpoint {_named(start)}, whose own card said:", ""]
        lines += [f"> {line}".rstrip() for line in start.card.splitlines()]
    if val_loss is not None:
        lines += ["", f"The lowest validation loss of its run: {val_loss:.4f}."]
    stand_ins = tuple(key for key in data.keys if key in table.stand_ins)
    if stand_ins:
        lines += [
            "",
            f"{len(stand_ins)} markers were trained with a stand-in instead of the protein's "
            f"ESM-2 embedding: {', '.join(stand_ins)}. The model knows them by name only; it "
            "cannot infer anything about a protein that it never saw.",
        ]
    return "\n".join(lines) + "\n"


def _named(start: Checkpoint) -> str:
    return repr(start.folder.name) if start.folder else "given"
