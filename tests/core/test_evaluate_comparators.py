"""Comparators beside VirTues: niches by ResNet-50, KRONOS's door, intervals, and the commands."""

import dataclasses
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from safetensors.torch import save_model
from test_evaluate_probes import model
from torch import nn
from transformers import EsmConfig, ResNetConfig, ResNetModel
from typer.testing import CliRunner

from virtues_core.cli import evaluate
from virtues_core.errors import CheckpointError, ConfigError, InputError, MarkerError
from virtues_core.evaluate import (
    CAMAE,
    CAMAEConfig,
    LabelledCohort,
    LabelledTissue,
    MeanIntensities,
    NicheCohort,
    ResNetNiches,
    bootstrap_f1,
    evaluate_cells,
    load_kronos,
    load_resnet,
    niches_of,
    save_camae,
)
from virtues_core.evaluate.encoders import model_units, statistics_of_datasets
from virtues_core.infer import cell_tokens
from virtues_core.markers import Panel
from virtues_core.model import save_checkpoint
from virtues_core.preprocess import tissue_mask
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora


def cohort(folder: Path, dataset: str, seed: int, size: int = 264) -> Path:
    config = CohortConfig(
        datasets=(dataset,), patients=4, tissues_per_patient=1, size_px=size, seed=seed
    )
    return write_spora(simulate_cohort(config), folder / dataset)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("cohorts")
    made = cohort(root, "imc-immune", 5), cohort(root, "mibi", 6, 128)
    table = pd.read_parquet(made[0] / "metadata" / "cells.parquet")
    nest = table["niche"].astype(str).isin(["tumour_nest", "invasive_margin"])
    table["side"] = np.where(nest, "tumour", "host")
    table.to_parquet(made[0] / "metadata" / "cells.parquet")
    return made


@pytest.fixture(scope="module")
def immune(folders: tuple[Path, Path]) -> list[LabelledTissue]:
    return list(LabelledCohort(folders[0], "niche"))


@pytest.fixture(scope="module")
def virtues(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VirTues that knows both panels."""
    tissues = [next(iter(LabelledCohort(folder, "niche"))) for folder in folders]
    folder = tmp_path_factory.mktemp("virtues") / "model"
    save_checkpoint(model(tissues), folder)
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet of 50's blocks, thin and with random weights, as the hub keeps the real one."""
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1], layer_type="bottleneck"
    )
    folder = tmp_path_factory.mktemp("resnet")
    ResNetModel(config).save_pretrained(folder)
    return folder


def call(*args: object) -> str:
    app = typer.Typer()
    evaluate.register(app)
    result = CliRunner().invoke(app, ["evaluate", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_niches_stand_for_cells(immune: list[LabelledTissue]) -> None:
    tissue = immune[0]
    found = niches_of(tissue)
    assert found.image.shape[1:] == found.cell_mask.shape == (256, 256)  # of 264
    enough = tissue_mask(found.image.compute())
    for number in range(1, 5):
        y, x = 128 * ((number - 1) // 2), 128 * ((number - 1) % 2)
        window = (slice(y, y + 128), slice(x, x + 128))
        held = np.unique(found.cell_mask[window]).tolist()
        assert held == [number if enough[window].mean() >= 0.3 else 0]
        if held == [0]:
            continue
        cells = tissue.cell_mask[window]
        area = {
            name: sum((cells == i).sum() for i, own in tissue.labels.items() if own == name)
            for name in set(tissue.labels.values())
        }
        assert found.labels[number] == max(area, key=lambda name: area[name])


def test_tissues_without_a_niche_are_left_out(immune: list[LabelledTissue]) -> None:
    small = dataclasses.replace(
        immune[0],
        image=dataclasses.replace(immune[0].image, pixels=immune[0].image.pixels[:, :100]),
        cell_mask=immune[0].cell_mask[:100],
    )
    assert [t.image.name for t in NicheCohort([small, immune[1]])] == [immune[1].image.name]


def test_resnet_sees_each_channel_alone(resnet: Path, immune: list[LabelledTissue]) -> None:
    niches = [t.only(t.keys[:2]) for t in NicheCohort(immune)]
    network = load_resnet(str(resnet))
    found = ResNetNiches(network, batch_size=3, components=4).encode(niches)
    numbers = [sorted(set(t.cell_mask.ravel().tolist()) - {0}) for t in niches]
    assert [one.ids.tolist() for one in found] == numbers
    assert any((t.cell_mask > 0).all() for t in niches)  # no background at all
    assert all(one.features.shape[1] == 4 for one in found)
    # the components tell apart what the embeddings, by hand, tell apart
    statistics = statistics_of_datasets(niches)
    rows = []
    for tissue, listed in zip(niches, numbers, strict=True):
        pixels, keys = model_units(tissue, statistics[tissue.dataset])
        for number in listed:
            y, x = np.argwhere(tissue.cell_mask == number)[0]
            crop = torch.from_numpy(pixels[:, y : y + 128, x : x + 128])
            with torch.inference_mode():
                pooled = network(crop[:, None].expand(-1, 3, -1, -1)).pooler_output
            order = sorted(range(len(keys)), key=lambda i: keys[i])
            rows.append(pooled[order].flatten().numpy())
    by_hand = np.array(rows)
    encoder = ResNetNiches(network)
    embedded = [encoder._embed(t, statistics[t.dataset], sorted(t.keys)) for t in niches]
    np.testing.assert_allclose(np.concatenate([e.features for e in embedded]), by_hand, atol=1e-4)
    features = np.concatenate([one.features for one in found])
    kept = np.linalg.lstsq(np.c_[features, np.ones(len(features))], by_hand, rcond=None)[1]
    assert kept.sum() < 0.3 * ((by_hand - by_hand.mean(0)) ** 2).sum()


def test_resnet_refuses_what_it_cannot_do(
    resnet: Path, immune: list[LabelledTissue], tmp_path: Path
) -> None:
    network = load_resnet(str(resnet))
    with pytest.raises(InputError, match="choose the niche level"):
        ResNetNiches(network).encode(immune[:1])
    with pytest.raises(InputError, match=r"principal components \(9\)"):
        ResNetNiches(network).encode(list(NicheCohort(immune[:1])))
    with pytest.raises(CheckpointError, match="hf download"):
        load_resnet(str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match="hf download"):
        load_resnet("nobody/resnet")
    EsmConfig().save_pretrained(tmp_path / "esm")
    with pytest.raises(CheckpointError, match="type 'esm'"):
        load_resnet(str(tmp_path / "esm"))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((resnet / "config.json").read_bytes())
    torch.save(network.state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_resnet(str(pickled))
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    told = json.loads((resnet / "config.json").read_text()) | {"depths": [1, 1, 1, 2]}
    (deeper / "config.json").write_text(json.dumps(told))
    (deeper / "model.safetensors").write_bytes((resnet / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="missing"):
        load_resnet(str(deeper))


def test_intervals_are_of_patients() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.array(["a", "b"]), 300)
    patients = np.repeat([f"P{i}" for i in range(12)], 50)
    wrong = np.isin(patients, ["P0", "P1", "P2", "P3"]) & (rng.random(600) < 0.9)
    types = np.where(wrong, np.where(labels == "a", "b", "a"), labels)
    found = bootstrap_f1(labels, types, patients)
    assert found is not None
    assert found.patients == 12
    low, high = found.macro
    assert low < 0.6 < 0.8 < high  # four patients of twelve are wrong
    of_cells = bootstrap_f1(labels, types, np.arange(600).astype(str))
    assert of_cells is not None
    assert of_cells.macro[1] - of_cells.macro[0] < 0.3 * (high - low)
    assert set(found.classes) == {"a", "b"}
    assert bootstrap_f1(labels, types, np.repeat(["P", "Q"], 300)) is None


def test_a_class_of_one_patient_is_left_out_of_draws_without_it() -> None:
    labels = np.array(["a", "rare", "a", "a", "a"])
    types = np.array(["a", "rare", "a", "a", "a"])
    found = bootstrap_f1(labels, types, np.array(["P", "P", "Q", "R", "S"]))
    assert found is not None
    assert found.macro == (1.0, 1.0)


def test_reports_say_how_sure(immune: list[LabelledTissue]) -> None:
    one = [dataclasses.replace(t, split="test" if i else "train") for i, t in enumerate(immune)]
    report = evaluate_cells(one, [MeanIntensities()])
    said = report.to_dict()["encoders"]["mean intensities"]
    low, high = said["macro_f1_interval"]
    assert 0 < low <= said["macro_f1"] + 0.05
    assert high <= 1
    for name, known in said["classes"].items():
        assert known["f1_interval"] == list(report.intervals["mean intensities"].classes[name])
    two = [dataclasses.replace(t, split="test" if i < 2 else "train") for i, t in enumerate(immune)]
    report = evaluate_cells(two, [MeanIntensities()])
    assert not report.intervals
    assert any("2 patient(s) tested on" in text for text in report.warnings)


def test_kronos_is_the_users_own(tmp_path: Path) -> None:
    assert find_spec("kronos") is None
    with pytest.raises(InputError, match=r"install github\.com/mahmoodlab/KRONOS"):
        load_kronos(tmp_path)


class Patches(nn.Module):
    """NOT KRONOS: its documented signature around one linear layer.

    The package is under CC BY-NC-ND and its weights behind a form, so that neither can be had for
    a test. What is tested is what we hand over and how we use what comes back.
    """

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step
        self.linear = nn.Linear(256, 3)
        self.seen: list[list[torch.Tensor]] = []

    def forward(self, images: torch.Tensor, *, marker_ids: list[torch.Tensor]):
        self.seen.append(marker_ids)
        patches = images.unfold(2, 16, self.step).unfold(3, 16, self.step).flatten(4)
        tokens = self.linear(patches) + torch.stack(marker_ids)[:, :, None, None, None]
        return tokens.mean((1, 2, 3)), tokens.mean((2, 3)), tokens


@pytest.fixture
def kronos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights, and a package of the documented names."""
    package = tmp_path / "site" / "kronos"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from test_evaluate_comparators import Patches\n"
        "def create_model(checkpoint_path=None, cfg_path=None, cache_dir=None,\n"
        "                 hf_auth_token=None, cfg=None):\n"
        "    return Patches(8 if cfg['token_overlap'] else 16), 'float32', 3\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "kronos", raising=False)
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    save_model(Patches(8), str(folder / "model.safetensors"))
    told = {"model_type": "vits16", "token_overlap": True}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "marker_metadata.csv").write_text(
        "marker_name,marker_id,marker_mean,marker_std\nCD20,148,0.001,0.002\nDAPI,2,0.01,0.02\n"
        "CD8,160,0.002,0.004\n"
    )
    yield folder
    sys.modules.pop("kronos", None)


@pytest.mark.parametrize("overlap", [True, False])
def test_kronos_tokens_by_hand(
    kronos: Path, immune: list[LabelledTissue], *, overlap: bool
) -> None:
    told = {"model_type": "vits16", "token_overlap": overlap}
    (kronos / "config.json").write_text(json.dumps(told))
    encoder = load_kronos(kronos, stride_px=136 - 128, batch_size=3)
    tissue = immune[0]
    crop = dataclasses.replace(
        tissue,
        image=dataclasses.replace(tissue.image, pixels=tissue.image.pixels[:, :136, :128]),
        cell_mask=tissue.cell_mask[:136, :128],
    )
    (found,) = encoder.encode([crop])
    assert np.array_equal(found.ids, np.unique(crop.cell_mask)[1:])
    names = ("CD20_Dy161", "CD8a_Dy162", "DNA1_Ir191", "DNA3_Ir193")
    known = [(148, 0.001, 0.002), (160, 0.002, 0.004), (2, 0.01, 0.02), (2, 0.01, 0.02)]
    assert encoder.model.seen[0][0].tolist() == [k[0] for k in known]
    raw = crop.image.compute([crop.image.index(n) for n in names]) / 65535
    units = np.stack([(p - mean) / std for p, (_, mean, std) in zip(raw, known, strict=True)])
    step, margin = (8, 4) if overlap else (16, 0)
    padded = np.pad(units, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    tiles, origins = [], []
    weight, bias = (p.detach().numpy() for p in encoder.model.linear.parameters())
    for y in range(0, padded.shape[1] - 127, 8):
        for x in range(0, padded.shape[2] - 127, 8):
            starts = range(0, 113, step)
            tile = [[padded[:, y + i : y + i + 16, x + j : x + j + 16].reshape(4, 256)
                     for j in starts] for i in starts]  # fmt: skip
            ids = np.array([k[0] for k in known])
            tiles.append((np.array(tile) @ weight.T + bias + ids[:, None]).mean(2))
            origins.append((y, x))
    ids, by_hand = cell_tokens(np.array(tiles), np.array(origins), crop.cell_mask, step)
    np.testing.assert_allclose(found.features, by_hand, atol=2e-3)


def test_kronos_refuses_what_does_not_fit(kronos: Path, immune: list[LabelledTissue]) -> None:
    encoder = load_kronos(kronos)
    entries = immune[0].panel.entries
    gone = [e for e in entries if e.key not in encoder.markers]
    other = dataclasses.replace(immune[0], panel=Panel(tuple(gone)))
    with pytest.raises(MarkerError, match="a marker that KRONOS knows"):
        encoder.encode([other])
    floats = immune[0].image.pixels.astype(np.float32)
    image = dataclasses.replace(immune[0].image, pixels=floats)
    with pytest.raises(InputError, match="unsigned whole numbers"):
        encoder.encode([dataclasses.replace(immune[0], image=image)])
    (kronos / "marker_metadata.csv").write_text("name\nCD20\n")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_kronos(kronos)
    (kronos / "model.safetensors").rename(kronos / "model.pt")
    with pytest.raises(CheckpointError, match=r"found no model\.safetensors"):
        load_kronos(kronos)


def test_the_commands_compare_them(
    folders: tuple[Path, Path], virtues: Path, resnet: Path, tmp_path: Path
) -> None:
    out = tmp_path / "niches.json"
    common = ["--label", "side", "--device", "cpu", "--json", out, "--checkpoint", virtues]
    said = call("cells", folders[0], "--level", "niche", "--resnet", resnet, *common)
    told = json.loads(out.read_text())
    assert list(told["encoders"]) == ["VirTues", "ResNet-50", "mean intensities"]
    assert told["level"] == "niche"
    assert told["trained_on"] + told["tested_on"] <= 16
    assert "niches, split" in said


def test_camae_is_carried_over_by_the_shared_markers(
    folders: tuple[Path, Path], virtues: Path, tmp_path: Path
) -> None:
    entries = next(iter(LabelledCohort(folders[0], "cell_type"))).panel.entries
    keys = tuple(entry.key for entry in entries if entry.keep and entry.key is not None)
    assert len(keys) > len(set(keys))  # two channels of DNA
    config = CAMAEConfig(
        keys, model_dim=8, num_heads=1, encoder_blocks=1, decoder_dim=8, decoder_blocks=1
    )
    save_camae(CAMAE(config), tmp_path / "camae")
    out = tmp_path / "transfer.json"
    common = ["--label", "cell_type", "--json", out, "--camae", tmp_path / "camae",
              "--checkpoint", virtues, "--stride", 128, "--device", "cpu"]  # fmt: skip
    said = call("transfer", cohort(tmp_path, "imc-immune", 7, 128), folders[1], *common)
    told = json.loads(out.read_text())
    assert list(told["encoders"]) == ["VirTues", "CA-MAE", "mean intensities"]
    assert "95 %, patients" in said
    low, high = told["encoders"]["CA-MAE"]["macro_f1_interval"]
    assert f"{low:.3f}-{high:.3f}" in said
    with pytest.raises(MarkerError, match="besides"):  # another panel's markers are not
        call("cells", folders[1], *common)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--level", "patch"], "--level: expected cell or niche, got 'patch'"),
        (["--resnet", "x"], "--resnet: expected --level niche"),
        (["--level", "niche", "--kronos", "x"], "--kronos: expected --level cell"),
    ],
)
def test_wrong_choices(tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call("cells", tmp_path, "--label", "niche", "--json", tmp_path / "x.json", *options)
