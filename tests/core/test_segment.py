"""Segmentation: a head is trained on masks, then finds cells and types in an image."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_samples import discs, head_of, maps_of, model_of, near_the_seed

from virtues_core.errors import CheckpointError, ConfigError, InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer import Runner, prepare_image, segment_cells
from virtues_core.infer import segment as segment_module
from virtues_core.infer.instances import find_instances
from virtues_core.infer.planes import Canvas
from virtues_core.model import (
    Checkpoint,
    Head,
    load_checkpoint,
    load_head,
    save_checkpoint,
    save_head,
)
from virtues_core.model.head_file import HEAD_FILE
from virtues_core.model.segmentation_head import CELL_TYPES
from virtues_core.simulate import SimulatedTissue, simulate_tissue
from virtues_core.train.head import HeadConfig, LabelledImage, relative_depth
from virtues_core.train.head import train_head as train


def canvas(maps: np.ndarray) -> Canvas:
    made = Canvas(maps.shape, on_disk=True)
    for k, plane in enumerate(maps):
        made.put(k, (slice(0, plane.shape[0]), slice(0, plane.shape[1])), plane)
    return made


def test_cells_at_the_borders_of_blocks_are_whole_and_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = discs((90, 110))
    maps = canvas(maps_of(truth))
    whole = find_instances(maps, 5, near_the_seed())
    monkeypatch.setattr("virtues_core.infer.instances.BLOCK_PX", 48)
    monkeypatch.setattr("virtues_core.infer.instances.MARGIN_PX", 24)
    in_blocks = find_instances(maps, 5, near_the_seed())
    inner = [n for n in range(1, truth.max() + 1) if (truth == n).sum() == 149]
    for found in (whole, in_blocks):
        partners = [np.unique(found[truth == n]) for n in inner]
        assert all(len(p) == 1 and p[0] > 0 for p in partners)  # each cell one label, its own
        assert len({int(p[0]) for p in partners}) == len(inner)
        assert set(np.unique(found)) == set(range(found.max() + 1))
    assert ((whole > 0) == (in_blocks > 0)).mean() > 0.995
    assert whole.max() == in_blocks.max()


def test_nothing_is_found_where_nothing_is() -> None:
    maps = np.zeros((5, 130, 140))
    maps[4] = -7.5
    assert not find_instances(canvas(maps), 5, near_the_seed()).any()


def test_depth_is_a_share_of_each_cells_own() -> None:
    labels = np.zeros((12, 20), int)
    labels[2:9, 3:10] = 4
    labels[2:5, 10:13] = 7  # beside the other: a border between cells counts
    labels[9:12, 15:20] = 9  # cut by the image, which is no border
    depth = relative_depth(labels)
    assert depth.max() == 1
    assert (depth > 0).tolist() == (labels > 0).tolist()
    assert depth[5, 3:10].tolist() == [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]
    assert depth[3, 10:13].tolist() == [0.5, 1.0, 0.5]
    assert depth[11, 15:].tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1, 1], abs=1e-6)
    assert relative_depth(np.ones((4, 4), int)).tolist() == [[1.0] * 4] * 4


def test_maps_are_blended_over_tiles_and_types_measured_on_whole_cells() -> None:
    tissue = simulate_tissue("imc-tumour", (130, 200), seed=3)
    checkpoint = model_of(tissue)
    head = head_of(checkpoint)
    prepared = prepare_image(tissue.image, None, checkpoint)
    seen: list[tuple[int, int]] = []
    maps = segment_module._maps(
        prepared, head, Runner(checkpoint, batch_size=3), 96, lambda *tile: seen.append(tile)
    )
    assert maps.shape == (14, 130, 200)
    assert seen == [(i + 1, 4) for i in range(4)]
    tile = torch.from_numpy(prepared.pixels[:, :128, :128])
    with torch.inference_mode():
        alone = head.network.logits(
            checkpoint.model, [tile], [torch.from_numpy(prepared.embeddings)]
        )[0].numpy()
    whole = np.stack([maps.get(k, (slice(0, 130), slice(0, 200))) for k in range(14)])
    np.testing.assert_allclose(whole[:, :8, :72], alone[:, :8, :72], atol=1e-4)  # one tile there
    labels = tissue.cell_mask
    probabilities, centre, area = segment_module._measure(maps, 5, labels)
    pixels = np.exp(whole[5:] - whole[5:].max(axis=0))
    pixels /= pixels.sum(axis=0)
    for cell in (1, int(labels.max())):
        own = labels == cell
        np.testing.assert_allclose(probabilities[cell - 1], pixels[:, own].mean(axis=1), rtol=1e-4)
        np.testing.assert_allclose(centre[cell - 1], np.argwhere(own).mean(axis=0), rtol=1e-6)
        assert area[cell - 1] == own.sum()


def test_a_head_comes_back_from_its_file_with_its_types(tmp_path: Path) -> None:
    tissue = simulate_tissue("imc-tumour", (128, 128), seed=3)
    checkpoint = model_of(tissue)
    head = head_of(checkpoint, ("None", "T cell", "Tumor"))
    save_head(head, tmp_path / "mine.safetensors")
    back = load_head(checkpoint, tmp_path / "mine.safetensors")
    assert back.cell_types == head.cell_types
    for key, value in head.network.state_dict().items():
        assert torch.equal(value, back.network.state_dict()[key])
    assert not back.network.training

    save_checkpoint(checkpoint, tmp_path / "model")
    opened = load_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"found none at .*virtues train-head"):
        load_head(opened)
    published = head_of(checkpoint)
    weights = {k: v.clone() for k, v in published.network.state_dict().items()}
    save_file(weights, tmp_path / "model" / HEAD_FILE)  # names no types: the published nine
    assert load_head(opened).cell_types == CELL_TYPES
    save_checkpoint(replace(opened, card="# Changed"), tmp_path / "model")
    assert load_head(load_checkpoint(tmp_path / "model")).cell_types == CELL_TYPES  # kept


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file, _: file.write_bytes(b"short"), "not a whole safetensors file"),
        (lambda file, state: save_file({"a": torch.zeros(1)}, file), "lacks decoder.decoder"),
        (
            lambda file, state: save_file(state | {"other": torch.zeros(1)}, file),
            "has left over: other",
        ),
        (
            lambda file, state: save_file(state, file, {"cell_types": '["one"]'}),
            "names of 9 cell types, found",
        ),
        (lambda file, state: save_file(state, file, {"cell_types": "[1,"}), "list .* damaged"),
    ],
)
def test_files_that_are_no_head(change: Callable, said: str, tmp_path: Path) -> None:
    checkpoint = model_of(simulate_tissue("imc-tumour", (64, 64), seed=3))
    state = {k: v.clone() for k, v in head_of(checkpoint).network.state_dict().items()}
    change(tmp_path / "head.safetensors", state)
    with pytest.raises(CheckpointError, match=said):
        load_head(checkpoint, tmp_path / "head.safetensors")


def test_without_the_package_one_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "instanseg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "instanseg", None)  # as an import finds no package
    tissue = simulate_tissue("imc-tumour", (128, 128), seed=3)
    checkpoint = model_of(tissue)
    with pytest.raises(InputError, match=r"instanseg-torch.*napari-virtues\[segment\]"):
        segment_cells(tissue.image, None, checkpoint, head_of(checkpoint))
    with pytest.raises(InputError, match=r"napari-virtues\[segment\]"):
        train(HeadConfig(), checkpoint.model, [labelled(tissue, checkpoint)], 2)


def labelled(tissue: SimulatedTissue, checkpoint: Checkpoint) -> LabelledImage:
    prepared = prepare_image(tissue.image, None, checkpoint)
    return LabelledImage(
        prepared.pixels, prepared.embeddings, tissue.cell_mask, tissue.cell_types.astype(np.int64)
    )


def test_training_on_masks_brings_out_the_cells() -> None:
    truth = discs((128, 128))
    kind = np.where(truth > 0, 1 + truth % 2, 0).astype(np.int64)
    rate = np.stack([1 + 30 * relative_depth(truth), 1 + 30 * (kind == 1), 1 + 30 * (kind == 2)])
    counts = np.random.default_rng(0).poisson(rate).astype(np.uint16)
    channels = ("DNA1_Ir191", "CD3_Er170", "CD20_Dy161")
    image = MultiplexImage(da.from_array(counts), channels, (1.0, 1.0), "discs")
    checkpoint = model_of(image)
    prepared = prepare_image(image, None, checkpoint)
    data = LabelledImage(prepared.pixels, prepared.embeddings, truth, kind)
    losses: list[float] = []
    network = train(
        HeadConfig(steps=26, batch_size=2, tile_px=32, learning_rate=0.01),
        checkpoint.model, [data], 3, on_step=lambda step, loss: losses.append(loss),
    )  # fmt: skip
    assert len(losses) == 26
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    found = segment_cells(image, None, checkpoint, Head(network, ("None", "T cell", "B cell")))
    overlaps = []
    for cell in range(1, truth.max() + 1):
        own = truth == cell
        counted = np.bincount(found.labels[own])
        counted[0] = 0
        partner = found.labels == counted.argmax()
        overlaps.append((own & partner).sum() / (own | partner).sum() if counted.any() else 0.0)
    assert np.mean(np.array(overlaps) > 0.5) > 0.8  # most cells are found, each by itself
    assert abs(len(found.area_px) - truth.max()) < 0.2 * truth.max()


def test_a_crop_without_background_teaches_no_instances_but_breaks_nothing() -> None:
    tissue = simulate_tissue("imc-tumour", (128, 128), seed=3)
    checkpoint = model_of(tissue)
    data = labelled(tissue, checkpoint)
    data = replace(data, labels=np.ones_like(data.labels))
    losses: list[float] = []
    recipe = HeadConfig(steps=1, batch_size=2, tile_px=32)
    types = 1 + int(data.classes.max())
    train(recipe, checkpoint.model, [data], types, on_step=lambda step, loss: losses.append(loss))
    assert len(losses) == 1
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": 0}, "steps: expected 1 or more, found 0"),
        ({"batch_size": 1}, "batch_size: expected 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate: expected more than 0"),
        ({"tile_px": 16}, "tile_px: expected 32 or more"),
    ],
)
def test_recipes_that_cannot_be(fields: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HeadConfig(**fields)


def test_data_that_cannot_train_a_head() -> None:
    tissue = simulate_tissue("imc-tumour", (128, 128), seed=3)
    checkpoint = model_of(tissue)
    data = labelled(tissue, checkpoint)
    with pytest.raises(InputError, match=r"labels of the image's size \(128, 128\).*\(100, 128\)"):
        replace(data, labels=data.labels[:100])
    with pytest.raises(InputError, match="a mask with cells, found none"):
        replace(data, labels=np.zeros_like(data.labels))
    with pytest.raises(InputError, match="expected images with masks, found none"):
        train(HeadConfig(), checkpoint.model, [], 2)
    with pytest.raises(InputError, match="at least 136 × 136 px"):
        train(HeadConfig(tile_px=136), checkpoint.model, [data], 2)
    with pytest.raises(ConfigError, match="a multiple of 8 px"):
        train(HeadConfig(tile_px=36), checkpoint.model, [data], 2)
