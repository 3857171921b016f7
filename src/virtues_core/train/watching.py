"""What a training keeps to be looked at: the best checkpoint, pictures of a fixed tile."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from virtues_core.errors import VirtuesError
from virtues_core.read import write_ome_tiff
from virtues_core.train.config import MaskingConfig
from virtues_core.train.dataset import CropDataset
from virtues_core.train.masking import draw_mask
from virtues_core.train.module import Pretraining

KEPT_PICTURES = 5
"""Pictures of the fixed tile that are kept, the last ones."""
MASKINGS = ("independent", "marker", "niche")


def whole_weights(trainer: lightning.Trainer) -> dict[str, Tensor]:
    """Collect the model's weights, from all devices; empty in other processes than the first."""
    state = trainer.strategy.lightning_module_state_dict()
    return {name.removeprefix("model."): value for name, value in state.items()}


class BestCheckpoint(Callback):
    """Keep the checkpoint with the lowest validation loss.

    Parameters
    ----------
    folder
        Of the checkpoint.
    save
        Writes one, of these weights, into a folder: ``save(folder, weights, steps, val_loss)``.
    """

    def __init__(
        self, folder: Path, save: Callable[[Path, dict[str, Tensor], int, float], None]
    ) -> None:
        self.folder = folder
        self._save = save
        self._best = float("inf")

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save where the loss is lower than ever."""
        loss = trainer.callback_metrics.get("val_loss")
        if loss is None or not float(loss) < self._best:
            return
        self._best = float(loss)
        weights = whole_weights(trainer)
        if trainer.is_global_zero:
            self._save(self.folder, weights, trainer.global_step, self._best)

    def state_dict(self) -> dict[str, Any]:
        """Remember the loss with the state."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it, where that checkpoint is there."""
        if self.folder.is_dir():
            self._best = float(state_dict["best"])


class Reconstructions(Callback):
    """Paint a fixed tile back every N steps, under each of the three maskings.

    ``reconstruction_<step>.ome.tiff`` holds float32 planes in model units: for each marker the
    truth, and for each masking what was shown (hidden patches at the marker's lowest value) and
    what the model painted. A failure to write is said and does not end the run.

    Parameters
    ----------
    folder
        For the pictures.
    data
        Its first fixed sample is the tile.
    every_steps
        N.
    """

    def __init__(self, folder: Path, data: CropDataset, every_steps: int) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self._channels = data.image_of(0).channels
        self._sample = data[0]
        grid = self._sample.mask.shape[1:]
        self._masks = []
        for number, name in enumerate(MASKINGS):
            generator = np.random.default_rng((data.config.seed, 5, number))
            only = MaskingConfig(**(dict.fromkeys(MASKINGS, 0.0) | {name: 1.0}))  # type: ignore[arg-type]
            drawn = draw_mask(generator, len(self._channels), (grid[0], grid[1]), only)
            self._masks.append(torch.from_numpy(drawn))
        self._painted = -1

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        """Paint after every N-th optimiser step."""
        step = trainer.global_step
        if step and step != self._painted and step % self.every_steps == 0:
            self._painted = step
            self._paint(trainer, pl_module)

    def _paint(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not isinstance(pl_module, Pretraining):
            return
        device, count = pl_module.device, len(MASKINGS)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            output = pl_module.model(
                [self._sample.image.to(device)] * count,
                [self._sample.embeddings.to(device)] * count,
                [mask.to(device) for mask in self._masks],
            )
        if not trainer.is_global_zero:
            return
        painted = [made.float().cpu().numpy() for made in output.reconstruction]
        pixels, names = self._planes(painted)
        try:
            path = self.folder / f"reconstruction_{trainer.global_step:07d}.ome.tiff"
            write_ome_tiff(path, pixels, names)
        except VirtuesError as error:
            print(f"picture not written: {error}", file=sys.stderr, flush=True)
        for old in sorted(self.folder.glob("reconstruction_*.ome.tiff"))[:-KEPT_PICTURES]:
            old.unlink(missing_ok=True)

    def _planes(self, painted: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], list[str]]:
        truth = self._sample.image.numpy()
        size = truth.shape[1] // self._masks[0].shape[1]
        planes, names = [truth], [f"truth {name}" for name in self._channels]
        for masking, mask, made in zip(MASKINGS, self._masks, painted, strict=True):
            hidden = mask.numpy().repeat(size, 1).repeat(size, 2)
            shown = np.where(hidden, truth.min(axis=(1, 2), keepdims=True), truth)
            planes += [shown, made]
            names += [f"{masking} shown {name}" for name in self._channels]
            names += [f"{masking} painted {name}" for name in self._channels]
        return np.concatenate(planes).astype(np.float32), names
