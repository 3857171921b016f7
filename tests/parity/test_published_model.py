"""The architecture reproduces the published implementation's outputs, loss and gradients."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from virtues_core.model import ModelConfig, VirTues, reconstruction_loss
from virtues_core.model.published import is_rotary_table, key_sources, to_published

CASES = ["small_unmasked", "small_independent", "small_marker", "small_niche", "published_unmasked"]
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


def published_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    model = VirTues(config)
    return {k: tuple(v.shape) for k, v in to_published(model.state_dict(), config).items()}


def weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    a = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith(("layernorm1.weight", "layernorm2.weight", "layer_norm.weight")):
        a = 1 + np.float32(0.1) * a
    elif key.endswith("bias"):
        a = np.float32(0.02) * a
    elif len(shape) == 2:
        a = a / np.float32(np.sqrt(shape[1]))
    else:
        a = np.float32(0.05) * a
    return torch.from_numpy(a)


def build(case: dict) -> tuple[VirTues, list, list, list | None]:
    config = ModelConfig(
        **{k: case[k] for k in ("model_dim", "feedforward_dim", "num_heads")},
        encoder_pattern=case["encoder_pattern"],
        decoder_pattern=case["decoder_pattern"],
    )
    model = VirTues(config)
    model.load_published({k: weight(k, s) for k, s in published_shapes(config).items()})
    seed, (height, width) = case["seed"], case["size"]
    table = (np.random.default_rng(seed).standard_normal((50, 640)) * 0.2).astype(np.float32)
    embeddings = [torch.from_numpy(table[panel]) for panel in case["panels"]]
    g = np.random.default_rng(seed + 1)
    images = [
        torch.from_numpy(g.standard_normal((len(p), height, width)).astype(np.float32))
        for p in case["panels"]
    ]
    return model, images, embeddings, masks(case, height // 8, width // 8)


def masks(case: dict, rows: int, columns: int) -> list | None:
    g = np.random.default_rng(case["seed"] + 2)
    made = []
    for panel in case["panels"]:
        shape = (len(panel), rows, columns)
        if case["mask"] is None:
            return None
        if case["mask"] == "independent":
            mask = g.random(shape) < 0.75
        elif case["mask"] == "marker":
            mask = np.zeros(shape, bool)
            mask[1] = True
        else:
            mask = np.broadcast_to(g.random((1, rows, columns)) < 0.6, shape).copy()
        made.append(torch.from_numpy(mask))
    return made


def assert_close(found: torch.Tensor, expected: np.ndarray) -> None:
    error = np.abs(found.detach().cpu().numpy() - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_outputs_loss_and_gradients(parity_data: Path, name: str, device: str) -> None:
    case = json.loads((parity_data / f"{name}.json").read_text())
    reference = np.load(parity_data / f"{name}.npz")
    model, images, embeddings, mask = build(case)
    model.to(device)
    images = [x.to(device) for x in images]
    embeddings = [x.to(device) for x in embeddings]
    mask = None if mask is None else [x.to(device) for x in mask]
    output = model(images, embeddings, mask)
    for i in range(len(images)):
        assert_close(output.patch_summary[i], reference[f"summary_{i}"])
        assert_close(output.reconstruction[i], reference[f"reconstruction_{i}"])
    loss = reconstruction_loss(output.reconstruction, images)
    assert loss.item() == pytest.approx(case["loss"], rel=TOLERANCE)
    expected = case.get("gradient_norms")
    if expected:
        loss.backward()
        gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
        assert set(gradients) == set(model.state_dict())
        norms = {k: g.norm().item() for k, g in to_published(gradients, model.config).items()}
        unused = {key for key, norm in norms.items() if norm == 0}
        assert set(norms) - unused == set(expected) - unused
        assert unused <= {"encoder.masked_token"} if mask is None else not unused
        largest = max(expected.values())
        for key, value in expected.items():
            # a gradient that is zero but for rounding (key biases) is compared on the largest
            assert norms[key] == pytest.approx(value, rel=TOLERANCE, abs=1e-6 * largest), key


@pytest.mark.parametrize("name", CASES)
def test_inference_gives_the_same_as_training(parity_data: Path, name: str) -> None:
    """Chunked rows, trimmed blocks and chosen channels change no number."""
    case = json.loads((parity_data / f"{name}.json").read_text())
    reference = np.load(parity_data / f"{name}.npz")
    model, images, embeddings, mask = build(case)
    wanted = [[1] for _ in images]
    with torch.inference_mode():
        output = model(images, embeddings, mask, channels=wanted)
        summaries = model(images, embeddings, mask, channels=[[] for _ in images])
    for i in range(len(images)):
        assert_close(output.patch_summary[i], reference[f"summary_{i}"])
        assert_close(output.reconstruction[i], reference[f"reconstruction_{i}"][[1]])
        assert_close(summaries.patch_summary[i], reference[f"summary_{i}"])
        assert summaries.reconstruction[i].shape == (0, *case["size"])


def test_key_names_are_those_of_the_published_checkpoint(parity_data: Path) -> None:
    keys = json.loads((parity_data / "published_checkpoint_keys.json").read_text())
    weights = {k: tuple(v) for k, v in keys.items() if not is_rotary_table(k)}
    assert published_shapes(ModelConfig()) == weights
    assert sum(p.numel() for p in VirTues(ModelConfig()).parameters()) == 42_453_056
    assert set(key_sources(ModelConfig())) == set(VirTues(ModelConfig()).state_dict())
