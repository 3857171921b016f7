"""The training step and its schedules, for Lightning."""

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from virtues_core.model import VirTues
from virtues_core.train.config import TrainConfig, accumulation
from virtues_core.train.dataset import Sample


class Pretraining(lightning.LightningModule):
    """Reconstruct masked crops; AdamW with cosine schedules that follow steps or the clock."""

    def __init__(self, config: TrainConfig, model: VirTues, steps: int | None) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.steps = steps
        """Optimiser steps of the whole run; None where the clock ends it."""
        self.updating = False
        """Whether weights are being changed: only between two updates is their state whole."""
        self.minutes_before = 0.0
        """Minutes trained before this process took over."""
        self._started = time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes trained so far, over all processes that took part."""
        return self.minutes_before + (time.monotonic() - self._started) / 60

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, 0 to 1."""
        by_steps = self.global_step / self.steps if self.steps else 0.0
        limit = self.config.max_minutes
        return min(1.0, max(by_steps, self.minutes / limit if limit else 0.0))

    def start_clock(self) -> None:
        """Count minutes from now; what came before (reading, compiling) is not training."""
        self._started = time.monotonic()

    def training_step(self, batch: Sequence[Sample], batch_idx: int) -> Tensor:
        """Give the loss of a micro-batch."""
        loss = self.loss(batch)
        self.log("loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Sequence[Sample], batch_idx: int) -> Tensor:
        """Give the same on the fixed crops of the validation."""
        loss = self.loss(batch)
        self.log("val_loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=True)
        return loss

    def loss(self, batch: Sequence[Sample]) -> Tensor:
        """Mean squared error over a crop's decoded pixels, masked and visible; mean over crops.

        So a step's loss is one and the same however its crops are parted among micro-batches and
        devices.

        Source: the paper, Methods, "Loss function".
        """
        decode = [sample.decode for sample in batch]
        output = self.model(
            [sample.image for sample in batch],
            [sample.embeddings for sample in batch],
            [sample.mask for sample in batch],
            channels=decode,
        )
        errors = [
            (made.float() - sample.image[list(wanted)]).square().mean()
            for made, sample, wanted in zip(output.reconstruction, batch, decode, strict=True)
        ]
        return torch.stack(errors).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; biases, LayerNorms and learned tokens (1-D weights) do not decay."""
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        return torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.config.learning_rate,
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Set learning rate and weight decay for where the run is, by the first process's clock."""
        self.updating = True
        config, progress = self.config, self.trainer.strategy.broadcast(self.progress)
        rate = scheduled_rate(config, progress)
        decay = _cosine(config.weight_decay, config.final_weight_decay, progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
            if group["weight_decay"]:
                group["weight_decay"] = decay
        self.log("learning_rate", rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clock with the state."""
        checkpoint["minutes"] = self.minutes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where the state was saved.

        The sampler starts at the first sample that was not trained on, so Lightning's own count
        of micro-batches must start at nought: else it takes the rest for a finished epoch.
        """
        self.minutes_before = float(checkpoint["minutes"])
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        progress["current"] = dict.fromkeys(progress["current"], 0)
        done = int(checkpoint["global_step"]) * accumulation(self.config)
        progress["total"] = dict.fromkeys(progress["total"], done)  # validations go by it
        progress["is_last_batch"] = False

    def configure_model(self) -> None:
        """Part the model among the devices, where that was asked for."""
        if self.config.strategy == "fsdp" and self.config.devices * self.config.nodes > 1:
            from torch.distributed.fsdp import fully_shard

            mesh = self.device_mesh
            if mesh is not None:  # as one unit: its parts are called by other names than forward
                fully_shard(self.model, mesh=mesh["data_parallel"], reshard_after_forward=False)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note that weights are whole again."""
        self.updating = False


def scheduled_rate(config: TrainConfig, progress: float) -> float:
    """Learning rate at a fraction of the run: linear warm-up, then cosine decay."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 1e-3)
    after = (progress - config.warmup) / max(1e-9, 1 - config.warmup)
    return _cosine(config.learning_rate, config.final_learning_rate, after)


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
