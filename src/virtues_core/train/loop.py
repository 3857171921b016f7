"""A pretraining from start to checkpoint: prepare, train, save; or go on where it stopped."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning
import torch
from torch import Tensor

from virtues_core.errors import ConfigError, DeviceError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint, VirTues, save_checkpoint
from virtues_core.model.split import SPLIT_FILE, Split
from virtues_core.run_dir import ARTIFACTS, METRICS, run_status
from virtues_core.train.callbacks import Clock, MetricsFile, StateSaver, StopOnSignal, truncate_rows
from virtues_core.train.config import TrainConfig
from virtues_core.train.dataset import CropDataset, split_by_patient
from virtues_core.train.memory import (
    StepCost,
    find_micro_batch,
    is_out_of_memory,
    release_memory,
    smaller,
)
from virtues_core.train.module import Pretraining
from virtues_core.train.record import (
    STATE,
    card,
    known_micro_batch,
    saved_steps,
    start_or_resume,
    write_micro_batch,
    write_run,
)
from virtues_core.train.sources import Source, TrainingData, embeddings_for, prepare
from virtues_core.train.trainer import make_loaders, make_trainer, quiet_lightning, steps_of
from virtues_core.train.watching import BestCheckpoint, Reconstructions, whole_weights

BEST = Path("checkpoints") / "best"


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
    best: Path | None = None
    """The checkpoint with the lowest validation loss; None where no patient was kept out."""


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same however often a run is taken up again."""

    config: TrainConfig
    run_dir: Path
    data: TrainingData
    table: MarkerEmbeddings
    train_set: CropDataset
    held_out: CropDataset
    split: Split
    start: Checkpoint | None
    quiet: bool

    def module(self, config: TrainConfig) -> Pretraining:
        """Make the model as it is before the first step."""
        torch.manual_seed(config.seed)
        model = VirTues(config.model)
        if self.start is not None:
            model.load_state_dict(self.start.model.state_dict())
        return Pretraining(config, model, steps_of(config, self.train_set))

    def save(
        self, folder: Path, weights: dict[str, Tensor], steps: int, val_loss: float | None = None
    ) -> None:
        """Write a checkpoint with these weights."""
        model = VirTues(self.config.model)
        model.load_state_dict(weights)
        keys = self.data.keys
        known = {key: self.table[key] for key in keys}
        save_checkpoint(
            Checkpoint(
                model=model.eval(),
                config=self.config.model,
                embeddings=MarkerEmbeddings(
                    known, stand_ins=self.table.stand_ins, origin=self.table.origin
                ),
                statistics=self.data.statistics,
                trained_keys=keys,
                split=self.split,
                card=card(self.config, self.data, self.table, steps, self.start, val_loss),
            ),
            folder,
        )


def pretrain(
    config: TrainConfig,
    sources: Sequence[Source],
    run_dir: Path,
    *,
    embeddings: MarkerEmbeddings | None = None,
    start: Checkpoint | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> TrainResult:
    """Train a model and leave it in ``run_dir/checkpoint``.

    ``checkpoints/last.ckpt`` holds the state to resume from, ``checkpoints/best`` the checkpoint
    with the lowest validation loss, ``artifacts`` pictures of a fixed tile, ``split.json`` digests
    of who was trained on and who was kept out (also in each checkpoint).

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
    start
        A checkpoint to start from (fine-tuning): its weights, its embeddings of the markers that
        it knows, and its split, so that nobody it was trained on is kept out now.
    resume
        Go on from ``checkpoints/last.ckpt`` with the same data and recipe; anew where no state had
        been saved.
    quiet
        Print nothing but what must be known.

    Raises
    ------
    ConfigError, InputError, MarkerError, CheckpointError, RunError
        What to mend is in the text.
    DeviceError
        Not even a single crop fits into the device's memory.
    VirtuesError
        The disk is full; the last saved state is whole.
    """
    run_dir = Path(run_dir)
    _check_start(config, start)
    done = start_or_resume(run_dir, config, start, resume=resume)
    with run_status(run_dir) as status:
        run, stand_ins, held = _prepared(config, sources, run_dir, embeddings, start, quiet=quiet)
        trainer, signal = _fit(run, done)
        steps = trainer.global_step
        weights = whole_weights(trainer)
        if trainer.is_global_zero:
            run.save(run_dir / "checkpoint", weights, steps)
        if signal is not None:
            status.end("stopped", f"stopped by {signal}; resume goes on")
    return TrainResult(
        checkpoint=run_dir / "checkpoint",
        steps=steps,
        finished=signal is None,
        stand_ins=stand_ins,
        held_out=held,
        best=run_dir / BEST if (run_dir / BEST).is_dir() else None,
    )


def _check_start(config: TrainConfig, start: Checkpoint | None) -> None:
    """Refuse to start from a model of another size."""
    if start is None or start.config == config.model:
        return
    here, there = config.model.to_dict(), start.config.to_dict()
    unlike = ", ".join(f"{n} {there[n]} (here {here[n]})" for n in here if here[n] != there[n])
    message = (
        f"model: expected the sizes of the checkpoint to start from, which has {unlike}. Leave "
        "model out of the settings, or start from another checkpoint."
    )
    raise ConfigError(message)


def _prepared(
    config: TrainConfig,
    sources: Sequence[Source],
    run_dir: Path,
    embeddings: MarkerEmbeddings | None,
    start: Checkpoint | None,
    *,
    quiet: bool,
) -> tuple[_Run, tuple[str, ...], tuple[MultiplexImage, ...]]:
    """Read, normalise and split; give also the stand-ins and the images kept out."""
    data = prepare(sources, run_dir / "cache")
    known = embeddings
    if start is not None:  # its weights were trained with its own
        known = start.embeddings if embeddings is None else start.embeddings.merge(embeddings)
    table, stand_ins = embeddings_for(data.keys, known, config.model.marker_embedding_dim)
    before = Split.load(run_dir / SPLIT_FILE) or (start.split if start is not None else None)
    training, validation = split_by_patient(
        data.images, config.validation_fraction, config.seed, before
    )
    held = {(image.dataset, image.patient) for image in validation}
    members = [(source.dataset, source.patient, source.image) for source in sources]
    unseen = [member for member in members if member[:2] in held]
    split = Split.of([member for member in members if member[:2] not in held], unseen)
    split = split if before is None else before.merge(split)
    train_set = CropDataset(training, table, config)
    held_out = CropDataset(validation, table, config, training=False)
    if config.micro_batch_size == "auto":
        size = known_micro_batch(run_dir) or _found(config, data, quiet=quiet)
        config = replace(config, micro_batch_size=size)
    write_run(run_dir, config, training, validation, stand_ins, start)
    split.save(run_dir / SPLIT_FILE)
    run = _Run(config, run_dir, data, table, train_set, held_out, split, start, quiet)
    return run, stand_ins, tuple(image for _, _, image in unseen)


def _found(config: TrainConfig, data: TrainingData, *, quiet: bool) -> int:
    """Try how many crops of the widest panel fit at once."""

    def say(cost: StepCost) -> None:
        gib = cost.peak_bytes / 2**30
        print(f"{cost.micro_batch_size} crops at once: {gib:.2f} GiB, {cost.seconds:.2f} s a step")

    markers = max(len(image.keys) for image in data.images)
    return find_micro_batch(config, markers, on_try=None if quiet else say)


def _fit(run: _Run, done: int | None) -> tuple[lightning.Trainer, str | None]:
    """Train to the end or to a signal; where memory runs out, go on with fewer crops at once."""
    config = run.config
    while True:
        try:
            return _attempt(run, config, done)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            before, config = config, _after_exhaustion(config)
        except (OSError, VirtuesError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            raise VirtuesError(_unwritable(run.run_dir, cause)) from error
        release_memory()  # here, for the error held on to what was computed
        done = saved_steps(run.run_dir)
        write_micro_batch(run.run_dir, int(config.micro_batch_size))
        print(
            f"out of memory with {before.micro_batch_size} crops at once: going on from step "
            f"{done or 0} with {config.micro_batch_size}; a step still takes {config.batch_size}",
            file=sys.stderr,
            flush=True,
        )


def _after_exhaustion(config: TrainConfig) -> TrainConfig:
    if config.devices * config.nodes == 1:
        return smaller(config)
    message = (  # the other processes cannot know, and would wait for this one
        f"out of memory with micro_batch_size {config.micro_batch_size} on one of several devices. "
        "Set a smaller one and --resume: the batch of a step stays what it is."
    )
    raise DeviceError(message)


def _unwritable(run_dir: Path, error: OSError) -> str:
    steps = saved_steps(run_dir)
    kept = "no state was saved yet" if steps is None else f"the state of step {steps} is whole"
    return (
        f"could not write to {str(run_dir)!r}: {error.strerror or error}; {kept}. Free some space "
        "there, then go on by --resume."
    )


def _attempt(
    run: _Run, config: TrainConfig, done: int | None
) -> tuple[lightning.Trainer, str | None]:
    """Train from where ``done`` steps were done before; name the signal that ended it."""
    run_dir, module = run.run_dir, run.module(config)
    signals, metrics = StopOnSignal(), MetricsFile(run_dir, quiet=run.quiet)
    saver = StateSaver(run_dir / STATE, config.checkpoint_every_steps)
    shown = run.held_out if run.held_out.images else run.train_set.fixed()
    callbacks = [
        Clock(),
        signals,
        BestCheckpoint(run_dir / BEST, run.save),
        Reconstructions(run_dir / ARTIFACTS, shown, config.reconstruct_every_steps),
        saver,
        metrics,  # the last one: what the others take is no waiting for data
    ]
    with quiet_lightning():
        trainer = make_trainer(config, run_dir, module.steps, callbacks)
        truncate_rows(run_dir / METRICS, done or 0)
        loaders = make_loaders(config, run.train_set, run.held_out, done or 0, trainer)
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
