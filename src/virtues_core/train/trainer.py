"""Lightning's trainer and loaders, set up from a config."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.utils.data import DataLoader

from virtues_core.errors import VirtuesError
from virtues_core.train.config import TrainConfig, accumulation
from virtues_core.train.dataset import CropDataset, NumberSampler, Sample

_FOREVER = 1 << 30


def steps_of(config: TrainConfig, train_set: CropDataset) -> int | None:
    """Optimiser steps of a whole run; None where the clock ends it."""
    return steps_for(config, train_set.epoch_length)


def steps_for(config: TrainConfig, windows: int) -> int | None:
    """Give the same from the number of windows in an epoch."""
    if config.max_steps is not None:
        return config.max_steps
    if config.max_minutes is not None:
        return None
    return max(1, config.epochs * windows // config.batch_size)


def make_trainer(
    config: TrainConfig, run_dir: Path, steps: int | None, callbacks: Sequence[Callback]
) -> lightning.Trainer:
    """Set up the trainer.

    Raises
    ------
    VirtuesError
        The accelerator or that many of it are not there.
    """
    on_cpu = config.accelerator == "cpu" or (
        config.accelerator == "auto" and not torch.cuda.is_available()
        and not torch.backends.mps.is_available()
    )  # fmt: skip
    try:
        return lightning.Trainer(
            accelerator="cpu" if on_cpu else config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=_strategy(config),
            precision=_precision(config, on_cpu=on_cpu),
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
            callbacks=list(callbacks),
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


def _strategy(config: TrainConfig) -> Any:
    if config.devices * config.nodes == 1:
        return "auto"
    if config.strategy == "ddp":
        return "ddp"
    return ModelParallelStrategy(
        data_parallel_size=config.devices * config.nodes,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,  # one file, so that any number of devices goes on
    )


def _precision(config: TrainConfig, *, on_cpu: bool) -> Any:
    sharded = config.strategy == "fsdp" and config.devices * config.nodes > 1
    if config.precision == "16-mixed" and (on_cpu or sharded):
        return "bf16-mixed"  # float16 is slow on a CPU, and not offered for sharded models
    return config.precision


def make_loaders(
    config: TrainConfig,
    train_set: CropDataset,
    validation_set: CropDataset,
    done: int,
    trainer: lightning.Trainer,
) -> list[DataLoader[Sample]]:
    """Load samples from the first one after ``done`` steps, and those of the validation."""
    steps = steps_of(config, train_set) or _FOREVER
    sampler = NumberSampler(
        done * config.batch_size,
        steps * config.batch_size,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    size = int(config.micro_batch_size)
    loader: DataLoader[Sample] = DataLoader(
        train_set,
        batch_size=size,
        sampler=sampler,
        num_workers=config.workers,
        collate_fn=list,
        drop_last=True,
        persistent_workers=config.workers > 0,
        multiprocessing_context="spawn" if config.workers else None,
    )
    if not validation_set.images:
        return [loader]
    check: DataLoader[Sample] = DataLoader(validation_set, batch_size=size, collate_fn=list)
    return [loader, check]


@contextmanager
def quiet_lightning() -> Iterator[None]:
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
                ".*`srun` command is available.*",
                ".*Total length of .* across ranks is zero.*",  # a finished run, resumed
            ):
                warnings.filterwarnings("ignore", text)
            yield
    finally:
        logger.setLevel(level)
