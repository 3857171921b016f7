"""CA-MAE on tissues: what it is trained on, and the tokens of cells that it gives."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from virtues_core.errors import MarkerError
from virtues_core.evaluate.camae import CAMAE
from virtues_core.evaluate.encoders import (
    EncodedCells,
    model_units,
    statistics_of_datasets,
)
from virtues_core.evaluate.labelled import LabelledTissue
from virtues_core.infer.cells import CellMask
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tiles import cut
from virtues_core.infer.tokens import cell_tokens
from virtues_core.preprocess import Statistics, tile_origins
from virtues_core.train import TrainConfig
from virtues_core.train.dataset import CropDataset
from virtues_core.train.sources import Source, embeddings_for, prepare


def camae_crops(
    sources: Sequence[Source], cache: Path, *, seed: int = 0
) -> tuple[Callable[[int], Tensor], tuple[str, ...]]:
    """Draw training crops for `train_camae` as `pretrain` draws its own: turned, from tissue.

    Parameters
    ----------
    sources
        Images of one panel.
    cache
        Folder for the normalised images.
    seed
        Decides the crops.

    Returns
    -------
    crops
        Gives crop k, (C, 128, 128) in model units.
    channels
        Marker key of each channel.

    Raises
    ------
    MarkerError
        The images have different panels.
    """
    data = prepare(sources, cache)
    panels = {image.keys for image in data.images}
    channels = data.images[0].keys
    if len(panels) > 1:
        message = (
            f"expected images of one panel, found {len(panels)}. CA-MAE has a decoder for each "
            "channel: train it for each data set by itself."
        )
        raise MarkerError(message)
    table, _ = embeddings_for(data.keys, None, 4)
    config = TrainConfig(channel_dropout=0.0, seed=seed)
    drawn = CropDataset(data.images, table, config)
    return (lambda k: drawn[k].image), channels


@dataclass(frozen=True, eq=False)
class CAMAETokens:
    """Cell tokens of a CA-MAE: the mean over channels of its tokens, averaged over the cells.

    As for VirTues pixels are standardised by the data set that is at hand, and a patch weighs as
    many pixels as the cell has in it. Of a cohort seen through some markers of the model's panel
    those are encoded.
    """

    model: CAMAE
    stride_px: int = 42
    batch_size: int = 8
    name: str = "CA-MAE"

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        """See `Encoder`.

        Raises
        ------
        MarkerError
            A tissue shows a marker that the model was not trained on.
        """
        statistics = statistics_of_datasets(cohort)
        return [self._encode(tissue, statistics[tissue.dataset]) for tissue in cohort]

    def _encode(self, tissue: LabelledTissue, known: Statistics) -> EncodedCells:
        pixels, keys = model_units(tissue, known)
        self._check(tissue.image.name, keys)
        cells = CellMask(tissue.cell_mask, pixels.shape[1:])
        origins = tile_origins(pixels.shape[1:], size=TILE_PX, stride=self.stride_px)
        origins = origins[cells.held_by(origins)]
        device = next(self.model.parameters()).device
        tokens: list[NDArray[np.float32]] = []
        for start in range(0, len(origins), self.batch_size):
            part = origins[start : start + self.batch_size]
            batch = torch.from_numpy(np.stack(cut(pixels, part))).to(device)
            with torch.inference_mode():
                tokens += list(self.model.patch_tokens(batch).float().cpu().numpy())
        patch = self.model.config.patch_size
        return EncodedCells(*cell_tokens(tokens, origins, tissue.cell_mask, patch))

    def _check(self, name: str, keys: Sequence[str]) -> None:
        other = set(keys) - set(self.model.config.channels)
        if other:
            message = (
                f"expected markers of the panel that CA-MAE was trained on, {name!r} shows "
                f"{', '.join(sorted(other))} besides. Train one for this panel; CA-MAE knows no "
                "other."
            )
            raise MarkerError(message)
