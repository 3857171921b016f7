"""CA-MAE learns, knows no marker, keeps its weights in safetensors; costs are really measured."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from virtues_core.errors import CheckpointError, ConfigError, DeviceError, InputError
from virtues_core.evaluate.camae import (
    CAMAE,
    CAMAEConfig,
    load_camae,
    save_camae,
    sine_positions,
    train_camae,
)
from virtues_core.evaluate.scaling import ScalingRequest, measure_scaling
from virtues_core.model import ModelConfig

TINY = CAMAEConfig(
    ("P07766", "P01732", "stain:dna"),
    model_dim=16,
    num_heads=2,
    encoder_blocks=1,
    decoder_dim=16,
    decoder_blocks=1,
)


def crop(k: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(k)
    blocks = torch.randn(1, 4, 4, generator=generator).repeat_interleave(8, 1)
    return blocks.repeat_interleave(8, 2) * torch.tensor([1.0, -1.0, 0.5])[:, None, None]


def validation_loss(model: CAMAE) -> float:
    batch = torch.stack([crop(1000 + k) for k in range(16)])
    with torch.inference_mode():
        return float(model.loss(batch, torch.Generator().manual_seed(1)))


def test_it_learns_what_one_channel_says_of_another() -> None:
    torch.manual_seed(0)
    before = validation_loss(CAMAE(TINY))
    trained = train_camae(crop, TINY, steps=150, batch_size=8, learning_rate=3e-3)
    assert validation_loss(trained) < 0.8 * before


def test_tokens_do_not_depend_on_the_order_of_channels() -> None:
    model = CAMAE(TINY).eval()
    images = torch.randn(2, 3, 32, 16)
    with torch.inference_mode():
        tokens = model.patch_tokens(images)
        turned = model.patch_tokens(images[:, [2, 0, 1]])
    assert tokens.shape == (2, 4, 2, 16)
    torch.testing.assert_close(tokens, turned, atol=1e-5, rtol=1e-4)


def test_hidden_pixels_are_not_looked_at() -> None:
    model = CAMAE(TINY).eval()
    images = torch.randn(1, 3, 16, 16)
    seen = torch.tensor([[0, 5, 7]])  # patch 0 of channel 0, patches 1 and 3 of channel 1
    other = images.clone()
    other[:, 2] = 7
    other[:, 0, 8:] = -3
    with torch.inference_mode():
        torch.testing.assert_close(model.encode(images, seen), model.encode(other, seen))


def test_positions_differ_and_repeat() -> None:
    table = sine_positions(4, 6, 32)
    assert len(torch.unique(table, dim=0)) == 24
    torch.testing.assert_close(table[:6, :16], table[:1, :16].expand(6, -1))  # one row


def test_saved_and_opened(tmp_path: Path) -> None:
    model = CAMAE(TINY).eval()
    save_camae(model, tmp_path)
    again = load_camae(tmp_path)
    assert again.config == TINY
    images = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model.patch_tokens(images), again.patch_tokens(images))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str) -> None:
    save_camae(CAMAE(TINY), tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="Train it anew"):
        load_camae(tmp_path)


def test_weights_of_another_panel_are_refused(tmp_path: Path) -> None:
    save_camae(CAMAE(TINY), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["channels"] = values["channels"][:2]
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError):
        load_camae(tmp_path)


@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (1, 3, 12, 16), (3, 16, 16)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="one panel"):
        CAMAE(TINY).patch_tokens(torch.zeros(shape))


@pytest.mark.parametrize(
    "change",
    [{"channels": ()}, {"mask_ratio": 1.0}, {"model_dim": 20}],
)
def test_wrong_sizes_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        dataclasses.replace(TINY, **change)


SMALL = ModelConfig(
    model_dim=16, feedforward_dim=32, num_heads=2, encoder_pattern="hv", decoder_pattern="f"
)


def test_costs_grow_with_markers() -> None:
    request = ScalingRequest((2, 12), batch_size=2, warmup=1, runs=2, size=SMALL)
    told = []
    costs = measure_scaling(request, told.append)
    assert told == costs
    by = {(c.model, c.markers): c for c in costs}
    assert len(by) == 4
    assert by["VirTues", 2].parameters == by["VirTues", 12].parameters
    grown = by["CA-MAE", 12].parameters - by["CA-MAE", 2].parameters
    assert grown == 10 * sum(p.numel() for p in CAMAE(
        CAMAEConfig(("x",), 16, 2, 2, 16)).decoders.parameters())  # fmt: skip
    assert by["CA-MAE", 12].memory_bytes > by["CA-MAE", 2].memory_bytes
    assert by["CA-MAE", 12].seconds > by["CA-MAE", 2].seconds
    assert all(c.cost > 0 for c in costs)


def test_a_measurement_that_dies_is_told() -> None:
    request = ScalingRequest((3,), batch_size=1, warmup=0, runs=1, size=SMALL, device="cuda:99")
    with pytest.raises(DeviceError, match="3 markers"):
        measure_scaling(request)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="markers"):
        ScalingRequest(())
    with pytest.raises(ConfigError, match="runs"):
        ScalingRequest(runs=0)
