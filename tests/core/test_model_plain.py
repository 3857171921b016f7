"""The packed model gives the numbers of the plain, dense and padded one."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from virtues_core.model import ModelConfig, VirTues
from virtues_core.train import MaskingConfig
from virtues_core.train.masking import draw_mask

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain import plain_forward

CONFIG = ModelConfig(
    model_dim=32, feedforward_dim=64, num_heads=2, encoder_pattern="hvhv", decoder_pattern="ff"
)
MASKINGS = {
    "independent": MaskingConfig(),
    "marker": MaskingConfig(independent=0, marker=1),
    "niche": MaskingConfig(independent=0, niche=1),
}


@pytest.mark.parametrize("masking", [None, *MASKINGS])
@pytest.mark.parametrize("sizes", [(3,), (5, 2, 4)])
def test_packing_changes_no_number(masking: str | None, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = VirTues(CONFIG)
    images = [torch.randn(c, 48, 32) for c in sizes]
    embeddings = [torch.randn(c, 640) * 0.2 for c in sizes]
    masks = None
    if masking is not None:
        generator = np.random.default_rng(0)
        masks = [
            torch.from_numpy(draw_mask(generator, c, (6, 4), MASKINGS[masking])) for c in sizes
        ]
    packed = model(images, embeddings, masks).reconstruction
    dense = plain_forward(model, images, embeddings, masks)
    for a, b in zip(packed, dense, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for made in (packed, dense):
        model.zero_grad()
        sum(image.square().mean() for image in made).backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        if made is packed:
            expected = gradients
    torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-6)
