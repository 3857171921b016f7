"""A small real checkpoint and a small real image file, for tests that run the model."""

from pathlib import Path

import torch

from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint, ModelConfig, VirTues, save_checkpoint
from virtues_core.read import write_ome_tiff
from virtues_core.simulate import simulate_tissue


def tiny_checkpoint(folder: Path, names: tuple[str, ...], *, model_dim: int = 32) -> Path:
    """Save a small model with random weights that knows the embeddings of these channels."""
    torch.manual_seed(0)
    config = ModelConfig(
        model_dim=model_dim,
        feedforward_dim=model_dim,
        num_heads=2,
        encoder_pattern="hv",
        decoder_pattern="f",
    )
    keys = [key for key in Panel.from_names(names).keys if key is not None]
    embeddings = MarkerEmbeddings.stand_in(dict.fromkeys(keys))
    card = "# Tiny\n\nRandom weights, for tests.\n"
    save_checkpoint(
        Checkpoint(model=VirTues(config), config=config, embeddings=embeddings, card=card), folder
    )
    return folder


def simulated_file(path: Path, size: int = 256, seed: int = 3) -> Path:
    """Write a simulated tissue as an OME-TIFF."""
    image = simulate_tissue("imc-tumour", (size, size), seed=seed).image
    write_ome_tiff(path, image.compute(), image.channels, image.pixel_size_um)
    return path
