"""A small real checkpoint and a small real image file, for tests that run the model."""

from pathlib import Path

import torch

from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import (
    Checkpoint,
    Head,
    ModelConfig,
    SegmentationHead,
    VirTues,
    load_checkpoint,
    save_checkpoint,
    save_head,
)
from virtues_core.model.checkpoint import HEAD_FILE
from virtues_core.model.segmentation_head import CELL_TYPES
from virtues_core.read import write_ome_tiff
from virtues_core.simulate import simulate_tissue


def tiny_checkpoint(
    folder: Path, names: tuple[str, ...], *, model_dim: int = 32, encoder_pattern: str = "hv"
) -> Path:
    """Save a small model with random weights that knows the embeddings of these channels."""
    torch.manual_seed(0)
    config = ModelConfig(
        model_dim=model_dim,
        feedforward_dim=model_dim,
        num_heads=2,
        encoder_pattern=encoder_pattern,
        decoder_pattern="f",
    )
    keys = [key for key in Panel.from_names(names).keys if key is not None]
    embeddings = MarkerEmbeddings.stand_in(dict.fromkeys(keys))
    card = "# Tiny\n\nRandom weights, for tests.\n"
    save_checkpoint(
        Checkpoint(model=VirTues(config), config=config, embeddings=embeddings, card=card), folder
    )
    return folder


def tiny_head(folder: Path) -> None:
    """Save a segmentation head beside a checkpoint with four layers or more.

    Its weights are random: it sees small cells in noise, and their types in more noise.
    """
    torch.manual_seed(0)
    head = SegmentationHead(load_checkpoint(folder).config, cell_types=len(CELL_TYPES)).eval()
    with torch.no_grad():
        instances = head.decoder.decoder.decoder0_header[2]
        instances.weight[:4], instances.bias[:4] = 0, 0  # a pixel's cell is where the pixel is
        instances.weight[4] *= 20
        instances.bias[4] += 10
        head.decoder_phenotypes.decoder.decoder0_header[2].weight *= 300
        classifier = head.pixel_classifier
        for parameter in classifier.parameters():
            parameter.zero_()
        for i, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)]):
            classifier.fc1.weight[i, axis] = sign
            classifier.fc2.weight[i, i] = 1
            classifier.fc3.weight[0, i] = -4
        classifier.fc3.bias.fill_(10)
    save_head(Head(head, CELL_TYPES), folder / HEAD_FILE)


def simulated_file(path: Path, size: int = 256, seed: int = 3) -> Path:
    """Write a simulated tissue as an OME-TIFF."""
    image = simulate_tissue("imc-tumour", (size, size), seed=seed).image
    write_ome_tiff(path, image.compute(), image.channels, image.pixel_size_um)
    return path
