"""A small cohort with known relations between its markers, and a small model, for several tests."""

import dask.array as da
import numpy as np
import torch
from scipy import ndimage

from virtues_core.image import MultiplexImage
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint, ModelConfig, VirTues

CHANNELS = ("CD3_Er170", "CD20_Dy161", "CD68_Tb159", "DNA1_Ir191", "131Xe_Xe131")
USED = CHANNELS[:4]
"""All but the gas."""


def counts(seed: int, shape: tuple[int, int] = (140, 150)) -> np.ndarray:
    """(C, Y, X) uint16: Poisson counts of channels that share two hidden patterns."""
    rng = np.random.default_rng(seed)
    patterns = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 4) for _ in range(2)])
    patterns /= patterns.std(axis=(1, 2), keepdims=True)
    mixing = np.array([[0.9, 0.0], [0.0, 0.9], [0.6, 0.6], [0.7, -0.5], [0.0, 0.0]])
    rate = 4 * np.exp(np.tensordot(mixing, patterns, 1))
    return rng.poisson(rate).astype(np.uint16)


def image_of(pixels: np.ndarray, channels: tuple[str, ...] = CHANNELS, name: str = "one"):
    lazy = da.from_array(pixels, chunks=(1, *pixels.shape[1:]))
    return MultiplexImage(lazy, channels, (1.0, 1.0), name)


def cohort(number: int, shape: tuple[int, int] = (140, 150)) -> list[MultiplexImage]:
    return [image_of(counts(i, shape), name=f"image {i}") for i in range(number)]


def checkpoint(**fields) -> Checkpoint:
    """A model of random weights that knows the markers of `CHANNELS` by stand-ins."""
    config = ModelConfig(
        model_dim=32,
        feedforward_dim=64,
        num_heads=2,
        encoder_pattern="hv",
        decoder_pattern="f",
    )
    torch.manual_seed(0)
    model = VirTues(config).eval().requires_grad_(requires_grad=False)
    keys = [key for key in Panel.from_names(CHANNELS).keys if key is not None]
    fields = {"embeddings": MarkerEmbeddings.stand_in(keys), "trained_keys": tuple(keys)} | fields
    return Checkpoint(model=model, config=config, **fields)
