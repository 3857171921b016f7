"""What happens beside a training: saving, metrics, the clock, signals, the terminal."""

import contextlib
import csv
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from virtues_core.files import replacing
from virtues_core.run_dir import StatusWriter
from virtues_core.train.memory import is_out_of_memory
from virtues_core.train.module import Pretraining

COLUMNS = (
    "step", "samples", "minutes", "loss", "val_loss", "learning_rate", "crops_per_s", "data_wait",
)  # fmt: skip


class StateSaver(Callback):
    """Save the whole state every N steps and at the end, whatever ended it."""

    def __init__(self, path: Path, every_steps: int) -> None:
        self.path = path
        self.every_steps = every_steps
        self._saved = -1

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        """Save after every N-th optimiser step."""
        step = trainer.global_step
        if step and step != self._saved and step % self.every_steps == 0:
            self.save(trainer)

    def save(self, trainer: lightning.Trainer) -> None:
        """Write the state beside the last good one, then put it in its place."""
        if trainer.is_global_zero:
            with replacing(self.path) as new:
                trainer.save_checkpoint(new)
        else:  # the other processes take part, and write nothing
            trainer.save_checkpoint(self.path)
        self._saved = trainer.global_step

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Save where memory ran out between two updates, so that no step is lost."""
        whole = isinstance(pl_module, Pretraining) and not pl_module.updating
        if not whole or trainer.world_size > 1 or not is_out_of_memory(exception):
            return
        pl_module.zero_grad(set_to_none=True)
        traceback.clear_frames(exception.__traceback__)  # what the failed step had computed
        # Without memory, writing fails in words of its own; then the last state serves.
        with contextlib.suppress(RuntimeError, MemoryError):
            self.save(trainer)


class Clock(Callback):
    """End the run when its minutes are over."""

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start counting."""
        if isinstance(pl_module, Pretraining):
            pl_module.start_clock()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop when the limit is reached."""
        if not isinstance(pl_module, Pretraining) or pl_module.config.max_minutes is None:
            return
        if _stepped(trainer, batch_idx):
            over = pl_module.minutes >= pl_module.config.max_minutes
            trainer.should_stop |= _any_process(trainer, over)


def _stepped(trainer: lightning.Trainer, batch_idx: int) -> bool:
    """Tell whether the optimiser has just stepped: only there is a state whole.

    Half an accumulated batch would be lost, and the count of micro-batches be off, on resuming.
    """
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _any_process(trainer: lightning.Trainer, yes: bool) -> bool:  # noqa: FBT001
    """Ask all processes: they must stop after the same step."""
    return bool(trainer.strategy.reduce_boolean_decision(yes, all=False))


class StopOnSignal(Callback):
    """Ctrl-C or SIGTERM ends the run after the step in hand, so that its state is saved."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Take over the signals, after Lightning has, in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop where a signal has come."""
        if _stepped(trainer, batch_idx) and _any_process(trainer, self.received is not None):
            self.received = self.received or "a signal to another process"
            trainer.should_stop = True

    def _note(self, number: int, frame: object) -> None:
        self.received = signal.Signals(number).name


class MetricsFile(Callback):
    """``metrics.csv``, the run's status and one line on the terminal, every few steps."""

    def __init__(self, run_dir: Path, *, every_steps: int = 10, quiet: bool = False) -> None:
        self.run_dir = run_dir
        self.every_steps = every_steps
        self.quiet = quiet
        self._written = -1
        self._waiting = 0.0
        self._since = time.monotonic()
        self._ended_batch: float | None = None
        self._samples = 0
        self._losses: list[float] = []

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        """Count the time between batches as waiting for data."""
        if self._ended_batch is not None:
            self._waiting += time.monotonic() - self._ended_batch

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Sequence[Any],
        *_: Any,
    ) -> None:
        """Write a row every N optimiser steps."""
        self._samples += len(batch)
        # Lightning gives a micro-batch's share of the step's loss
        self._losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        step = trainer.global_step
        if step and step != self._written and step % self.every_steps == 0:
            self.write(trainer, pl_module)
        self._ended_batch = time.monotonic()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Count a validation for no waiting."""
        self._ended_batch = time.monotonic()

    def write(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Append a row."""
        if not self._losses or not isinstance(pl_module, Pretraining):
            return
        loss = trainer.strategy.reduce(torch.tensor(self._losses).mean(), reduce_op="mean")
        if trainer.global_rank:
            self._begin_row(trainer.global_step)
            return
        seconds = max(1e-9, time.monotonic() - self._since)
        step = trainer.global_step
        value = trainer.callback_metrics.get("val_loss")
        row: dict[str, Any] = {
            "step": step,
            "samples": step * pl_module.config.batch_size,
            "minutes": round(pl_module.minutes, 3),
            "loss": round(float(loss), 6),
            "val_loss": "" if value is None else round(float(value), 6),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "crops_per_s": round(self._samples * trainer.world_size / seconds, 3),
            "data_wait": round(self._waiting / seconds, 4),
        }
        append_row(self.run_dir / "metrics.csv", row)
        status = StatusWriter.current()
        if status is not None:
            status.update(pl_module.progress, step=step)
        if not self.quiet:
            print(
                f"step {step}  {100 * pl_module.progress:3.0f} %  loss {row['loss']:.4f}"
                + (f"  validation {row['val_loss']:.4f}" if row["val_loss"] != "" else "")
                + f"  {row['crops_per_s']:.1f} crops/s  {row['minutes']:.1f} min",
                flush=True,
            )
        self._begin_row(step)

    def _begin_row(self, step: int) -> None:
        self._written, self._since = step, time.monotonic()
        self._waiting, self._samples, self._losses = 0.0, 0, []


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append to a CSV table, with its header where it is new."""
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def truncate_rows(path: Path, step: int) -> None:
    """Drop rows after ``step``, which a resumed run writes again, and a row cut short."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if _whole(row) and int(row["step"]) <= step]
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _whole(row: dict[str, str]) -> bool:
    return set(row) == set(COLUMNS) and None not in row.values() and row["step"].isdecimal()
