"""A training of seconds: a tiny model on small images whose channels depend on each other."""

import csv
from pathlib import Path

import numpy as np
import torch

from virtues_core.model import ModelConfig, load_checkpoint
from virtues_core.read import write_ome_tiff
from virtues_core.train import TrainConfig
from virtues_core.train.loop import TrainResult, pretrain
from virtues_core.train.sources import sources_of_images

CHANNELS = ("CD3_Er170", "CD8a_Dy162", "CD20_Dy161", "DNA1_Ir191", "131Xe_Xe131")
TINY = TrainConfig(
    model=ModelConfig(
        model_dim=16, feedforward_dim=32, num_heads=2, encoder_pattern="hv", decoder_pattern="f"
    ),
    batch_size=4,
    micro_batch_size=2,
    max_steps=6,
    precision="32-true",
    learning_rate=3e-3,
    checkpoint_every_steps=2,
    validate_every_steps=3,
    reconstruct_every_steps=3,
    validation_crops=2,
    accelerator="cpu",
)


def write_images(folder: Path, number: int = 2) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(number):
        g = np.random.default_rng(i)
        shared = g.gamma(2, 1, (18, 20)).repeat(8, 0).repeat(8, 1)
        pixels = np.stack([g.poisson(shared * (c + 1)) for c in range(5)]).astype(np.uint16)
        paths.append(folder / f"image{i}.ome.tiff")
        write_ome_tiff(paths[-1], pixels, CHANNELS, (1.0, 1.0))
    return paths


def train(tmp_path: Path, name: str, config: TrainConfig = TINY, **options) -> TrainResult:
    paths = sorted((tmp_path / "images").glob("*.tiff")) or write_images(tmp_path / "images")
    return pretrain(config, sources_of_images(paths), tmp_path / name, quiet=True, **options)


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_checkpoint(result.checkpoint).model.state_dict()


def rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
