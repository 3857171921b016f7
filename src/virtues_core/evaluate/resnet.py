"""ResNet-50 channel by channel, with PCA: niches without any knowledge of markers.

Source: the paper, Methods, "Comparisons and baselines", after Sorin et al. 2023: each channel of a
crop, repeated three times, goes through a ResNet-50 pretrained on ImageNet-1K; the embeddings of
all channels, side by side, are projected to 9 principal components by sparse mini-batch PCA.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from virtues_core.errors import CheckpointError, InputError
from virtues_core.evaluate.encoders import (
    EncodedCells,
    keys_of_all,
    model_units,
    statistics_of_datasets,
)
from virtues_core.evaluate.labelled import LabelledTissue
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tokens import labels_in
from virtues_core.preprocess import Statistics

RESNET_50 = "microsoft/resnet-50"
"""On the Hugging Face hub; Apache-2.0, ImageNet-1K."""
COMPONENTS = 9


@dataclass(frozen=True, eq=False)
class ResNetNiches:
    """Niches by ResNet-50; cells are smaller than what it sees.

    Crops of 128 px are taken as they are, in model units: the network averages over positions at
    its end. Only markers that every tissue shows are used; channels of one marker are averaged. The
    components are those of all niches of the cohort, labels unseen.
    """

    network: Any
    """ResNetModel of the package transformers."""
    batch_size: int = 8
    """Crops at once, of one channel each."""
    components: int = COMPONENTS
    seed: int = 0
    """Draws the batches of the PCA."""
    name: str = "ResNet-50"

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        """See `Encoder`.

        Raises
        ------
        InputError
            The masks hold something other than niches (`NicheCohort`), or there are fewer of them
            than components.
        """
        keys, statistics = keys_of_all(cohort), statistics_of_datasets(cohort)
        found = [self._embed(tissue, statistics[tissue.dataset], keys) for tissue in cohort]
        projected = self._project(np.concatenate([one.features for one in found]))
        ends = np.cumsum([len(one.ids) for one in found])[:-1]
        parts = np.split(projected, ends)
        return [EncodedCells(one.ids, part) for one, part in zip(found, parts, strict=True)]

    def _embed(self, tissue: LabelledTissue, known: Statistics, keys: list[str]) -> EncodedCells:
        """Embed the niches of a tissue: (N, C · width)."""
        pixels, own = model_units(tissue, known)
        ids = labels_in([tissue.cell_mask])
        crops = np.stack([pixels[:, *window] for window in _windows(tissue, ids)])
        columns = []
        for key in keys:
            channels = [i for i, name in enumerate(own) if name == key]
            columns.append(np.mean([self._pooled(crops[:, i]) for i in channels], axis=0))
        return EncodedCells(ids, np.concatenate(columns, axis=1).astype(np.float32))

    def _pooled(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 128, 128) of one channel → (N, width)."""
        device = next(self.network.parameters()).device
        found = []
        for start in range(0, len(crops), self.batch_size):
            part = torch.from_numpy(crops[start : start + self.batch_size]).to(device)
            with torch.inference_mode():
                pooled = self.network(part[:, None].expand(-1, 3, -1, -1)).pooler_output
            found.append(pooled.flatten(1).float().cpu().numpy())
        return np.concatenate(found)

    def _project(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        from sklearn.decomposition import MiniBatchSparsePCA

        if len(features) <= self.components:
            message = (
                f"expected more niches than principal components ({self.components}), found "
                f"{len(features)}. Give more of the cohort."
            )
            raise InputError(message)
        pca = MiniBatchSparsePCA(
            self.components, batch_size=256, max_iter=1, random_state=self.seed
        )
        return np.asarray(pca.fit_transform(features), dtype=np.float32)


def _windows(tissue: LabelledTissue, ids: NDArray[np.int64]) -> list[tuple[slice, slice]]:
    found = ndimage.find_objects(tissue.cell_mask)
    windows = [found[i - 1] for i in ids.tolist()]
    sides = {(w[0].stop - w[0].start, w[1].stop - w[1].start) for w in windows}
    if sides != {(TILE_PX, TILE_PX)}:
        message = (
            f"expected niches, squares of {TILE_PX} px, in the mask of {tissue.image.name!r}, "
            "found other objects. ResNet-50 has no features of cells: choose the niche level."
        )
        raise InputError(message)
    return windows


def load_resnet(name: str = RESNET_50, device: str = "cpu") -> Any:
    """Open a ResNet of the package transformers; nothing is downloaded.

    Parameters
    ----------
    name
        A folder with ``config.json`` and ``model.safetensors``, or a name on the hub that was
        downloaded before.
    device
        As PyTorch names it.

    Raises
    ------
    CheckpointError
        It is not there, its weights are not safetensors or are not those of its config, or it is
        another kind of model.
    """
    from transformers import AutoConfig, ResNetModel

    try:
        kind = AutoConfig.from_pretrained(name, local_files_only=True).model_type
        if kind != "resnet":
            message = f"expected a ResNet at {name!r}, found a model of type {kind!r}."
            raise CheckpointError(message)
        opened: Any = ResNetModel.from_pretrained(
            name, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        network, told = opened
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = (
            f"expected a ResNet at {name!r}, config.json and model.safetensors: {first} Give a "
            f"folder that holds them, or download once: hf download {RESNET_50} config.json "
            "model.safetensors"
        )
        raise CheckpointError(message) from error
    if told["missing_keys"]:
        message = (
            f"expected all weights of a ResNet in {str(Path(name))!r}, found "
            f"{len(told['missing_keys'])} missing, such as {min(told['missing_keys'])!r}. Download "
            "it again."
        )
        raise CheckpointError(message)
    return network.eval().requires_grad_(requires_grad=False).to(device)
