"""KRONOS, where the user has its package and its weights.

Shaban et al. 2025 (arXiv:2506.03373); the package ``kronos`` of github.com/mahmoodlab/KRONOS (CC
BY-NC-ND 4.0), whose weights are given out on the hub to those who ask. What its documentation says
and this module relies on:

- ``kronos.create_model(cfg={"model_type": "vits16" | "vitl16", "token_overlap": bool})`` gives
  (model, precision, width); tokens are of 16 x 16 px, every 8 px with overlap, else every 16.
- ``model(images, marker_ids=…)`` takes (B, C, H, W) and B × (C,) int64, and gives (B, D) of the
  crop, (B, C, D) of its markers and (B, C, h, w, D) of its tokens.
- ``marker_metadata.csv`` lists marker_name, marker_id, marker_mean and marker_std; mean and
  standard deviation are of intensities divided by the highest that the image's type can hold.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from virtues_core.errors import CheckpointError, InputError, MarkerError
from virtues_core.evaluate.encoders import EncodedCells
from virtues_core.evaluate.labelled import LabelledTissue
from virtues_core.infer.cells import CellMask
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tiles import cut
from virtues_core.infer.tokens import cell_tokens
from virtues_core.markers import Panel
from virtues_core.preprocess import tile_origins

TOKEN_PX = 16
FILES = ("config.json", "model.safetensors", "marker_metadata.csv")
_COLUMNS = ("marker_name", "marker_id", "marker_mean", "marker_std")


@dataclass(frozen=True, eq=False)
class KronosTokens:
    """Cell tokens of KRONOS: the mean over markers of its tokens, averaged over the cells.

    As in the paper ("Comparisons and baselines"). A token stands for the square around its middle
    that is as wide as the step between tokens, and weighs as many pixels as the cell has there.
    """

    model: Any
    markers: dict[str, tuple[int, float, float]]
    """Marker key → its number, mean and standard deviation in KRONOS's training."""
    step_px: int
    """From token to token: 8 or 16."""
    stride_px: int = 42
    batch_size: int = 8
    name: str = "KRONOS"

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        """See `Encoder`.

        Raises
        ------
        MarkerError
            KRONOS knows no marker of a tissue.
        InputError
            Pixels are not whole numbers.
        """
        return [self._encode(tissue) for tissue in cohort]

    def _encode(self, tissue: LabelledTissue) -> EncodedCells:
        pixels, numbers = self._pixels(tissue)
        margin = (TOKEN_PX - self.step_px) // 2  # from a tile's edge to its first token's square
        padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
        origins = tile_origins(padded.shape[1:], size=TILE_PX, stride=self.stride_px)
        cells = CellMask(tissue.cell_mask, tissue.image.shape[1:])
        origins = origins[cells.held_by(origins, TILE_PX - 2 * margin)]
        device = next(self.model.parameters()).device
        marker_ids = torch.from_numpy(numbers).to(device)
        tokens: list[NDArray[np.float32]] = []
        for start in range(0, len(origins), self.batch_size):
            tiles = cut(padded, origins[start : start + self.batch_size])
            batch = torch.from_numpy(np.stack(tiles)).to(device)
            tokens += list(self._tokens(batch, marker_ids).float().cpu().numpy())
        return EncodedCells(*cell_tokens(tokens, origins, tissue.cell_mask, self.step_px))

    def _tokens(self, batch: Tensor, marker_ids: Tensor) -> Tensor:
        """(B, C, 128, 128) → (B, h, w, D)."""
        with torch.inference_mode():
            _, _, tokens = self.model(batch, marker_ids=[marker_ids] * len(batch))
        side = (TILE_PX - TOKEN_PX) // self.step_px + 1
        if tokens.ndim != 5 or tokens.shape[:4] != (len(batch), len(marker_ids), side, side):
            message = (
                f"expected tokens ({len(batch)}, {len(marker_ids)}, {side}, {side}, D) of KRONOS, "
                f"found {tuple(tokens.shape)}. Does token_overlap in its config.json fit?"
            )
            raise CheckpointError(message)
        mean: Tensor = tokens.mean(1)
        return mean

    def _pixels(self, tissue: LabelledTissue) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(C, Y, X) as KRONOS saw its own, and the C markers' numbers."""
        entries = tissue.panel.entries
        channels = [i for i, e in enumerate(entries) if e.keep and e.key in self.markers]
        if not channels:
            message = (
                f"expected a marker that KRONOS knows in {tissue.image.name!r}, found none. Check "
                "the names in its marker_metadata.csv."
            )
            raise MarkerError(message)
        counts = tissue.image.compute(channels)
        if counts.dtype.kind != "u":
            message = (
                "expected unsigned whole numbers, whose type says how high they can be, found "
                f"{counts.dtype} in {tissue.image.name!r}. KRONOS takes intensities relative to it."
            )
            raise InputError(message)
        known = np.array([self.markers[str(entries[i].key)] for i in channels])
        mean, std = (known[:, k, None, None] for k in (1, 2))
        units = (counts / np.iinfo(counts.dtype).max - mean) / std
        return units.astype(np.float32), known[:, 0].astype(np.int64)


def load_kronos(
    folder: Path, device: str = "cpu", *, stride_px: int = 42, batch_size: int = 8
) -> KronosTokens:
    """Open KRONOS with the user's own package and weights.

    Parameters
    ----------
    folder
        With ``config.json`` and ``marker_metadata.csv`` as given out, and ``model.safetensors``:
        what ``safetensors.torch.save_model`` writes of the model that
        ``kronos.create_model_from_pretrained`` gives. Pickled weights are not opened.
    device
        As PyTorch names it.
    stride_px, batch_size
        Step from tile to tile, px, and tiles at once.

    Raises
    ------
    InputError
        The package is not installed.
    CheckpointError
        A file is missing, damaged, or does not fit the model.
    """
    if find_spec("kronos") is None:
        message = (
            "expected the package kronos, found it missing. Ask for its weights on the hub "
            "(MahmoodLab/kronos, CC BY-NC-ND 4.0) and install github.com/mahmoodlab/KRONOS; it is "
            "not a part of this project."
        )
        raise InputError(message)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        message = (
            f"expected {', '.join(FILES)} in {str(folder)!r}, found no {', '.join(missing)}. Write "
            "the weights once with safetensors.torch.save_model, for pickled ones are not opened."
        )
        raise CheckpointError(message)
    import kronos
    from safetensors.torch import load_model

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        model, _, _ = kronos.create_model(cfg=config)
        load_model(model, folder / "model.safetensors")
        step = TOKEN_PX // 2 if config["token_overlap"] else TOKEN_PX
        markers = _markers(folder / "marker_metadata.csv")
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"expected KRONOS in {str(folder)!r}, found files that do not fit: {first}"
        raise CheckpointError(message) from error
    ready = model.eval().requires_grad_(requires_grad=False).to(device)
    return KronosTokens(ready, markers, step, stride_px, batch_size)


def _markers(path: Path) -> dict[str, tuple[int, float, float]]:
    """Read KRONOS's table of markers, by marker key; of several with one key the first."""
    import pandas as pd

    table = pd.read_csv(path)[list(_COLUMNS)]
    found: dict[str, tuple[int, float, float]] = {}
    panel = Panel.from_names([str(name) for name in table["marker_name"]])
    for key, (_, number, mean, std) in zip(panel.keys, table.itertuples(index=False), strict=True):
        if key is not None:
            found.setdefault(key, (int(number), float(mean), float(std)))
    return found
