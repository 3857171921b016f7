"""A pretraining from start to checkpoint: prepare, train, save; or go on where it stopped."""

import dataclasses
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from virtues_core import __version__
from virtues_core.errors import CheckpointError, ConfigError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint, VirTues, save_checkpoint
from virtues_core.run_dir import RUN, first_process, read_json, run_status, update_run, versions
from virtues_core.train.callbacks import (
    Clock,
    MetricsFile,
    StateSaver,
    StopOnSignal,
    truncate_rows,
)
from virtues_core.train.config import TrainConfig
from virtues_core.train.dataset import (
    CropDataset,
    NumberSampler,
    Sample,
    split_by_patient,
)
from virtues_core.train.module import Pretraining
from virtues_core.train.sources import Source, TrainingData, embeddings_for, prepare

STATE = Path("checkpoints") / "last.ckpt"
_FOREVER = 1 << 30


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    checkpoint: Path
    """The checkpoint's folder."""
    steps: int
    """Optimiser steps done."""
    finished: bool
    """False where a signal stopped it; resume goes on."""
    stand_ins: tuple[str, ...]
    """Marker keys that were trained with a stand-in instead of a protein's embedding."""
    held_out: tuple[MultiplexImage, ...]
    """Images of the patients that were kept out of training."""


def pretrain(
    config: TrainConfig,
    sources: Sequence[Source],
    run_dir: Path,
    *,
    embeddings: MarkerEmbeddings | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> TrainResult:
    """Train a model and leave it in ``run_dir/checkpoint``.

    Source: the paper, Methods, "VirTues pretraining".

    Parameters
    ----------
    config
        The recipe.
    sources
        Images to train on; see `sources_of_images` and `sources_of_spora`.
    run_dir
        A new folder, or that of the run to resume.
    embeddings
        Marker embeddings; keys without one get a stand-in, which the result lists.
    resume
        Go on from ``checkpoints/last.ckpt`` with the same data and recipe.
    quiet
        Print nothing.

    Raises
    ------
    ConfigError, InputError, MarkerError, CheckpointError
        What to mend is in the text.
    """
    run_dir = Path(run_dir)
    done = _check_run_dir(run_dir, config, resume=resume)
    with run_status(run_dir) as status:
        result, signal = _train(config, sources, run_dir, embeddings, done, quiet=quiet)
        if signal is not None:
            status.end("stopped", f"stopped by {signal}; resume goes on")
    return result


def _train(
    config: TrainConfig,
    sources: Sequence[Source],
    run_dir: Path,
    embeddings: MarkerEmbeddings | None,
    done: int | None,
    *,
    quiet: bool,
) -> tuple[TrainResult, str | None]:
    """Train from ``done`` steps on; the signal that ended it is named beside the result."""
    data = prepare(sources, run_dir / "cache")
    table, stand_ins = embeddings_for(data.keys, embeddings, config.model.marker_embedding_dim)
    training, validation = split_by_patient(data.images, config.validation_fraction, config.seed)
    _write_run(run_dir, config, training=training, validation=validation, stand_ins=stand_ins)
    torch.manual_seed(config.seed)
    train_set = CropDataset(training, table, config)
    held_out = CropDataset(validation, table, config, training=False)
    module = Pretraining(config, VirTues(config.model), _steps(config, train_set))
    trainer, signal = _fit(module, train_set, held_out, run_dir, done, quiet=quiet)
    if trainer.is_global_zero:
        save_checkpoint(_checkpoint(module, data, table, trainer.global_step),
                        run_dir / "checkpoint")  # fmt: skip
    held = {(image.dataset, image.patient) for image in validation}
    result = TrainResult(
        checkpoint=run_dir / "checkpoint",
        steps=trainer.global_step,
        finished=signal is None,
        stand_ins=stand_ins,
        held_out=tuple(s.image for s in sources if (s.dataset, s.patient) in held),
    )
    return result, signal


def _fit(
    module: Pretraining,
    train_set: CropDataset,
    held_out: CropDataset,
    run_dir: Path,
    done: int | None,
    *,
    quiet: bool,
) -> tuple[lightning.Trainer, str | None]:
    """Train to the end, or to a signal, which is named then; ``done`` steps were done before."""
    config = module.config
    signals, metrics = StopOnSignal(), MetricsFile(run_dir, quiet=quiet)
    saver = StateSaver(run_dir / STATE, config.checkpoint_every_steps)
    with _quiet_lightning():
        trainer = _trainer(config, run_dir, module.steps, [Clock(), signals, metrics, saver])
        truncate_rows(run_dir / "metrics.csv", done or 0)
        loaders = _loaders(config, train_set, held_out, done or 0, trainer)
        trainer.fit(
            module,
            loaders[0],
            loaders[1] if len(loaders) > 1 else None,
            ckpt_path=None if done is None else run_dir / STATE,
            weights_only=True,
        )
        saver.save(trainer)
        metrics.write(trainer, module)
    return trainer, signals.received


def _checkpoint(
    module: Pretraining, data: TrainingData, table: MarkerEmbeddings, steps: int
) -> Checkpoint:
    config = module.config
    kept = {key: table[key] for key in data.keys}
    return Checkpoint(
        model=module.model.eval(),
        config=config.model,
        embeddings=MarkerEmbeddings(kept, stand_ins=table.stand_ins, origin=table.origin),
        statistics=data.statistics,
        trained_keys=data.keys,
        card=_card(config, data_names=sorted({i.dataset for i in data.images}),
                   images=len(data.images), steps=steps,
                   stand_ins=tuple(key for key in data.keys if key in table.stand_ins)),
    )  # fmt: skip


def _steps(config: TrainConfig, train_set: CropDataset) -> int | None:
    if config.max_steps is not None:
        return config.max_steps
    if config.max_minutes is not None:
        return None
    return max(1, config.epochs * train_set.epoch_length // config.batch_size)


def accumulation(config: TrainConfig) -> int:
    """Micro-batches of an optimiser step.

    Raises
    ------
    ConfigError
        The effective batch is no multiple of what goes through at once.
    """
    at_once = config.micro_batch_size * config.devices * config.nodes
    if at_once > config.batch_size or config.batch_size % at_once:
        message = (
            f"batch_size: expected a multiple of micro_batch_size x devices x nodes ({at_once}), "
            f"got {config.batch_size}"
        )
        raise ConfigError(message)
    return config.batch_size // at_once


def _check_run_dir(run_dir: Path, config: TrainConfig, *, resume: bool) -> int | None:
    """Give the steps done of the run to resume; refuse to mix two runs in one folder."""
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
        message = f"nothing to resume: expected {state}. Start without --resume."
        raise CheckpointError(message)
    before = read_json(run_dir / RUN).get("config", {})
    now = json.loads(json.dumps(config.to_dict()))
    free = {"max_steps", "max_minutes", "epochs", "workers", "accelerator", "devices", "nodes",
            "checkpoint_every_steps", "validate_every_steps", "micro_batch_size"}  # fmt: skip
    changed = sorted(name for name in now if name not in free and now[name] != before.get(name))
    if before and changed:
        message = (
            f"cannot resume with another {', '.join(changed)}: "
            f"the run in {run_dir} was started with other values. Leave them as they were."
        )
        raise ConfigError(message)
    if not state.is_file():
        print(f"{run_dir}: ended before its first saved state, so it starts anew", file=sys.stderr)
        return None
    try:
        loaded = torch.load(state, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        message = f"{state} is damaged ({error}); start the run anew."
        raise CheckpointError(message) from error
    return int(loaded["global_step"])


def _write_run(run_dir: Path, config: TrainConfig, **asked: Any) -> None:
    if not first_process():
        return
    update_run(
        run_dir,
        command="pretrain",
        config=config.to_dict(),
        images={
            split: [{"name": i.name, "patient": i.patient, "dataset": i.dataset} for i in images]
            for split, images in (("train", asked["training"]), ("validation", asked["validation"]))
        },
        stand_ins=list(asked["stand_ins"]),
        versions=versions() | {"lightning": lightning.__version__},
    )


def _trainer(
    config: TrainConfig, run_dir: Path, steps: int | None, callbacks: list[Any]
) -> lightning.Trainer:
    on_cpu = config.accelerator == "cpu" or (
        config.accelerator == "auto" and not torch.cuda.is_available()
        and not torch.backends.mps.is_available()
    )  # fmt: skip
    precision = config.precision
    if on_cpu and precision == "16-mixed":
        precision = "bf16-mixed"
    many = config.devices * config.nodes > 1
    try:
        return lightning.Trainer(
            accelerator="cpu" if on_cpu else config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if many else "auto",
            precision=precision,
            max_steps=steps or _FOREVER,
            max_epochs=-1,
            accumulate_grad_batches=accumulation(config),
            gradient_clip_val=config.gradient_norm,
            val_check_interval=config.validate_every_steps * accumulation(config),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
            logger=TensorBoardLogger(run_dir, name="", version="tensorboard"),
            callbacks=callbacks,
        )
    except (
        RuntimeError,
        ValueError,
        lightning.fabric.utilities.exceptions.MisconfigurationException,
    ) as error:
        message = (
            f"cannot train with accelerator {config.accelerator!r} x {config.devices}: {error}"
        )
        raise VirtuesError(message) from error


def _loaders(
    config: TrainConfig,
    train_set: CropDataset,
    validation_set: CropDataset,
    done: int,
    trainer: lightning.Trainer,
) -> list[DataLoader[Sample]]:
    steps = config.max_steps or _steps(config, train_set) or _FOREVER
    sampler = NumberSampler(
        done * config.batch_size,
        steps * config.batch_size,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    loader: DataLoader[Sample] = DataLoader(
        train_set,
        batch_size=config.micro_batch_size,
        sampler=sampler,
        num_workers=config.workers,
        collate_fn=list,
        drop_last=True,
        persistent_workers=config.workers > 0,
        multiprocessing_context="spawn" if config.workers else None,
    )
    if not validation_set.images:
        return [loader]
    check: DataLoader[Sample] = DataLoader(
        validation_set, batch_size=config.micro_batch_size, collate_fn=list
    )
    return [loader, check]


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says of choices made here on purpose, and its advertisements."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in (
                ".*does not have many workers.*",
                ".*have no `val_dataloader`.*",
                ".*resuming from a checkpoint that ended before the epoch ended.*",
                ".*isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
                ".*`weights_only` was not set.*",
            ):
                warnings.filterwarnings("ignore", text)
            yield
    finally:
        logger.setLevel(level)


def _card(
    config: TrainConfig, *, data_names: list[str], images: int, steps: int,
    stand_ins: tuple[str, ...],
) -> str:  # fmt: skip
    lines = [
        "# VirTues checkpoint",
        "",
        f"Trained by `virtues pretrain` (napari-virtues {__version__}): {steps} steps of "
        f"{config.batch_size} crops of {config.crop_px} px from {images} images "
        f"({', '.join(data_names)}).",
        "",
        f"Model: {json.dumps(dataclasses.asdict(config.model))}",
        "",
        f"Masking: {json.dumps(dataclasses.asdict(config.masking))}",
    ]
    if stand_ins:
        lines += [
            "",
            f"{len(stand_ins)} markers were trained with a stand-in instead of the protein's "
            f"ESM-2 embedding: {', '.join(stand_ins)}. The model knows them by name only; it "
            "cannot infer anything about a protein that it never saw.",
        ]
    return "\n".join(lines) + "\n"
