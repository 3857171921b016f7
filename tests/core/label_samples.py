"""A cohort on disk whose tissues are told apart by a bright block, and a small model for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import zarr
from scipy import ndimage

from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint, ModelConfig, VirTues

CHANNELS = ("CD3_Er170", "CD20_Dy161", "CD68_Tb159", "DNA1_Ir191")
KEYS = tuple(str(key) for key in Panel.from_names(CHANNELS).keys)
BLOCK = 40
"""Side of the block, px: five patches."""


def small_checkpoint(pattern: str = "hvhvhv") -> Checkpoint:
    """A model of random weights that knows the markers of `CHANNELS` by stand-ins."""
    config = ModelConfig(
        model_dim=32, feedforward_dim=32, num_heads=2, encoder_pattern=pattern, decoder_pattern="f"
    )
    torch.manual_seed(0)
    model = VirTues(config).eval().requires_grad_(requires_grad=False)
    return Checkpoint(model, config, MarkerEmbeddings.stand_in(KEYS))


def tissue(seed: int, *, block: bool, size: int = 128) -> tuple[np.ndarray, tuple[int, int] | None]:
    """(C, Y, X) uint16 counts, and the top-left pixel of a block bright in CD20, if it has one."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(len(CHANNELS), size, size)), (0, 4, 4))
    rate = 6 * np.exp(smooth / smooth.std())
    place = None
    if block:
        y, x = (int(8 * rng.integers((size - BLOCK) // 8 + 1)) for _ in range(2))
        rate[CHANNELS.index("CD20_Dy161"), y : y + BLOCK, x : x + BLOCK] += 200
        place = (y, x)
    return rng.poisson(rate).astype(np.uint16), place


def write_cohort(folder: Path, patients: int = 12, size: int = 128) -> Path:
    """Write a spora folder: two tissues a patient; column ``grade``: high has the block."""
    rows = []
    for number in range(2 * patients):
        high = number // 2 % 2 == 1
        pixels, _ = tissue(number, block=high, size=size)
        name = f"t{number}"
        path = folder / "imc" / "1_0mpp" / "images" / f"{name}.ome.zarr"
        group = zarr.open_group(path, mode="w", zarr_format=3)
        group.create_array("0", data=pixels, chunks=pixels.shape)
        axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space"} for a in "yx")]
        scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
        levels = [{"path": "0", "coordinateTransformations": scale}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
        rows.append(
            {
                "tissue_id": name,
                "dataset": "blocks",
                "patient_id": f"p{number // 2}",
                "modality": "imc",
                "grade": "high" if high else "low",
                "site": "lung",
                "age": 40.5 + number // 2,
            }
        )
    (folder / "metadata").mkdir()
    pd.DataFrame(rows).to_parquet(folder / "metadata" / "tissues.parquet")
    described = {"channel_name": CHANNELS, "uniprot_id": [k if k[0] == "P" else None for k in KEYS]}
    pd.DataFrame(described).to_parquet(folder / "imc" / "channels.parquet")
    return folder
