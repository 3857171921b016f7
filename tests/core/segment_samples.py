"""Small models with a head, and drawn cells with the maps that a perfect head would give."""

import numpy as np
import torch

from virtues_core.image import MultiplexImage
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint, Head, ModelConfig, SegmentationHead, VirTues
from virtues_core.model.segmentation_head import CELL_TYPES, PixelClassifier
from virtues_core.simulate import SimulatedTissue
from virtues_core.train.head import relative_depth


def model_of(tissue: SimulatedTissue | MultiplexImage) -> Checkpoint:
    """A small model of random weights that a head can look into."""
    keys = [key for key in Panel.from_names(tissue.channels).keys if key is not None]
    config = ModelConfig(
        model_dim=32, feedforward_dim=32, num_heads=2, encoder_pattern="hvhv", decoder_pattern="f"
    )
    torch.manual_seed(0)
    model = VirTues(config).eval().requires_grad_(requires_grad=False)
    return Checkpoint(model, config, MarkerEmbeddings.stand_in(dict.fromkeys(keys)))


def head_of(checkpoint: Checkpoint, cell_types: tuple[str, ...] = CELL_TYPES) -> Head:
    torch.manual_seed(0)
    network = SegmentationHead(checkpoint.config, cell_types=len(cell_types)).eval()
    return Head(network.requires_grad_(requires_grad=False), cell_types)


def discs(shape: tuple[int, int]) -> np.ndarray:
    """Cells of radius 7 px, 20 px apart, in rows that are shifted."""
    labels = np.zeros(shape, np.int32)
    y, x = np.indices(shape)
    number = 0
    for row, cy in enumerate(range(6, shape[0], 20)):
        for cx in range(4 + 7 * (row % 3), shape[1], 20):
            number += 1
            labels[(y - cy) ** 2 + (x - cx) ** 2 <= 49] = number
    return labels


def maps_of(labels: np.ndarray) -> np.ndarray:
    """(5, Y, X) what a perfect head would say: offsets to the cell's middle, spreads, depth."""
    maps = np.zeros((5, *labels.shape))
    for number in range(1, labels.max() + 1):
        own = np.argwhere(labels == number)
        offset = (own.mean(axis=0) - own) / 4  # InstanSeg's unit is 4 px
        share = np.clip(offset / 8 + 0.5, 1e-3, 1 - 1e-3)
        maps[1][tuple(own.T)], maps[0][tuple(own.T)] = np.log(share / (1 - share)).T
    maps[4] = 15 * (relative_depth(labels) - 0.5)
    return maps


def near_the_seed() -> PixelClassifier:
    """A pixel whose embedding is within about 2 px of the seed's is of the seed's cell."""
    classifier = PixelClassifier()
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.zero_()
        for i, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)]):
            classifier.fc1.weight[i, axis] = sign
            classifier.fc2.weight[i, i] = 1
            classifier.fc3.weight[0, i] = -20
        classifier.fc3.bias.fill_(10)
    return classifier
