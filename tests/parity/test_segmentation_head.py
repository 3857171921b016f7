"""The segmentation head reproduces the published implementation's logits."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from virtues_core.errors import CheckpointError, ConfigError, InputError
from virtues_core.model import ModelConfig, SegmentationHead, VirTues
from virtues_core.model.published import to_published
from virtues_core.model.segmentation_head import CELL_TYPES

TOLERANCE = 1e-4
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
]


def drawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)


def encoder_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    a = drawn(key, shape)
    if key.endswith(("layernorm1.weight", "layernorm2.weight", "layer_norm.weight")):
        a = 1 + np.float32(0.1) * a
    elif key.endswith("bias"):
        a = np.float32(0.02) * a
    elif len(shape) == 2:
        a = a / np.float32(np.sqrt(shape[1]))
    else:
        a = np.float32(0.05) * a
    return torch.from_numpy(a)


def head_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    a = drawn(key, shape)
    if key.endswith("running_var"):
        a = 1 + np.float32(0.1) * np.abs(a)
    elif key.endswith("running_mean"):
        a = np.float32(0.1) * a
    elif len(shape) >= 2:
        a = np.float32(1.4) * a / np.float32(np.sqrt(np.prod(shape[1:])))
    elif key.endswith("weight"):
        a = 1 + np.float32(0.1) * a
    else:
        a = np.float32(0.02) * a
    return torch.from_numpy(np.asarray(a))


def published_weights(head: SegmentationHead) -> dict[str, torch.Tensor]:
    return {key: head_weight(key, tuple(v.shape)) for key, v in head.state_dict().items()}


def small_model(**sizes: object) -> VirTues:
    config = ModelConfig(model_dim=16, feedforward_dim=16, num_heads=2, decoder_pattern="f")
    return VirTues(ModelConfig(**{**config.to_dict(), **sizes}))


@pytest.mark.parametrize("device", DEVICES)
def test_logits(parity_data: Path, device: str) -> None:
    case = json.loads((parity_data / "segmentation_small.json").read_text())
    reference = np.load(parity_data / "segmentation_small.npz")["logits"]
    sizes = ("model_dim", "feedforward_dim", "num_heads", "encoder_pattern", "decoder_pattern")
    config = ModelConfig(**{name: case[name] for name in sizes})
    model = VirTues(config).eval()
    shapes = to_published(model.state_dict(), config)
    model.load_published({k: encoder_weight(k, tuple(v.shape)) for k, v in shapes.items()})
    head = SegmentationHead(
        config, instance_channels=case["instance_channels"], cell_types=case["cell_types"]
    )
    head.load_published(published_weights(head))
    assert list(head.layers) == case["intermediate_layers"]
    table = np.random.default_rng(case["seed"]).standard_normal((50, 640)) * 0.2
    embeddings = torch.from_numpy(table[case["panel"]].astype(np.float32)).to(device)
    pixels = np.random.default_rng(case["seed"] + 1).standard_normal((3, *case["size"]))
    image = torch.from_numpy(pixels.astype(np.float32)).to(device)
    with torch.inference_mode():
        found = head.to(device).logits(model.to(device), [image], [embeddings])
    assert found.shape == (1, 14, 128, 128)
    error = np.abs(found[0].cpu().numpy() - reference).max() / np.abs(reference).max()
    assert error < TOLERANCE


def test_names_and_shapes_are_those_of_the_published_head(parity_data: Path) -> None:
    keys = json.loads((parity_data / "published_segmentation_head_keys.json").read_text())
    with torch.device("meta"):
        head = SegmentationHead(ModelConfig())
    found = {key: tuple(value.shape) for key, value in head.state_dict().items()}
    assert found == {key: tuple(shape) for key, shape in keys.items()}
    assert head.layers == (4, 8, 12, 16)


def test_a_batch_of_differing_panels_and_other_sizes() -> None:
    model = small_model(encoder_pattern="hvhv").eval()
    head = SegmentationHead(model.config, instance_channels=2, cell_types=len(CELL_TYPES)).eval()
    assert head.layers == (1, 2, 3, 4)
    g = torch.Generator().manual_seed(0)
    images = [torch.randn(count, 16, 24, generator=g) for count in (2, 3)]
    embeddings = [torch.randn(count, 640, generator=g) for count in (2, 3)]
    with torch.inference_mode():
        together = head.logits(model, images, embeddings)
        apart = [head.logits(model, [a], [b]) for a, b in zip(images, embeddings, strict=True)]
    assert together.shape == (2, 11, 16, 24)
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="multiples of 8 px, got 20 x 24"):
        head.logits(model, [torch.zeros(2, 20, 24)], embeddings[:1])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("pixel_classifier.fc1.weight"), r"lacks: pixel_classifier\.fc1"),
        (lambda state: state.update(other=torch.zeros(1)), "has left over: other"),
        (
            lambda state: state.update({"pixel_classifier.fc3.bias": torch.zeros(2)}),
            r"other shapes in: pixel_classifier\.fc3\.bias \(2,\) instead of \(1,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_whole(change: object, problem: str) -> None:
    head = SegmentationHead(small_model().config)
    before = head.decoder.decoder3[0].block[0].weight.clone()
    state = published_weights(head)
    change(state)
    with pytest.raises(CheckpointError, match=problem):
        head.load_published(state)
    assert torch.equal(before, head.decoder.decoder3[0].block[0].weight)


@pytest.mark.parametrize("sizes", [{"patch_size": 4}, {"encoder_pattern": "hv"}])
def test_models_that_a_head_cannot_read(sizes: dict) -> None:
    with pytest.raises(ConfigError, match="needs patch_size 8 and an encoder of 4 blocks"):
        SegmentationHead(small_model(**sizes).config)
