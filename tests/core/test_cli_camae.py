"""``virtues train-camae`` and what takes its model, on a small simulated cohort."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from virtues_core.cli import evaluate, train_camae
from virtues_core.errors import ConfigError, InputError, MarkerError
from virtues_core.evaluate import (
    CAMAE,
    CAMAEConfig,
    CAMAETokens,
    LabelledCohort,
    camae_crops,
    load_camae,
    save_camae,
)
from virtues_core.evaluate.encoders import statistics_of_datasets
from virtues_core.infer import cell_tokens
from virtues_core.preprocess import normalise, tissue_mask, upper_quantiles
from virtues_core.read import write_ome_tiff
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora
from virtues_core.train.sources import sources_of_spora


def cohort(folder: Path, *datasets: str) -> Path:
    config = CohortConfig(datasets=datasets, patients=3, tissues_per_patient=1, size_px=136, seed=3)
    return write_spora(simulate_cohort(config), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort(tmp_path_factory.mktemp("camae") / "imc", "imc-immune")


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of the cohort's panel."""
    out = tmp_path_factory.mktemp("camae")
    sources = sources_of_spora([folder])
    crops, channels = camae_crops(sources, out / "cache")
    assert channels == tuple(key for key in sources[0].keys if key is not None)
    assert crops(0).shape == (len(channels), 128, 128)
    assert not torch.equal(crops(0), crops(1))
    config = CAMAEConfig(
        channels, model_dim=8, num_heads=1, encoder_blocks=1, decoder_dim=8, decoder_blocks=1
    )
    torch.manual_seed(0)
    save_camae(CAMAE(config), out / "model")
    return out / "model"


def app() -> typer.Typer:
    made = typer.Typer()
    for module in (train_camae, evaluate):
        module.register(made)
    return made


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app(), [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_tokens_are_means_over_the_cells_pixels(folder: Path, trained: Path) -> None:
    model = load_camae(trained)
    tissue = next(iter(LabelledCohort(folder, "cell_type")))
    (found,) = CAMAETokens(model, stride_px=8, batch_size=3).encode([tissue])
    known = statistics_of_datasets([tissue])[tissue.dataset]
    raw = tissue.image.compute([tissue.image.index(name) for name in known.channels])
    pixels = normalise(raw, upper_quantiles(raw, tissue_mask(raw)), known.mean, known.std)
    origins = [(y, x) for y in (0, 8) for x in (0, 8)]
    with torch.inference_mode():
        tiles = [torch.from_numpy(pixels[:, y : y + 128, x : x + 128]) for y, x in origins]
        tokens = torch.cat([model.patch_tokens(tile[None]) for tile in tiles])
    ids, by_hand = cell_tokens(tokens, origins, tissue.cell_mask)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.features, by_hand, atol=1e-4)


def test_trained_by_command(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).poisson(4, (2, 136, 128)).astype(np.uint16)
    write_ome_tiff(tmp_path / "a.ome.tiff", pixels, ("CD3_Er170", "CD20_Dy161"), (1.0, 1.0))
    told = run("train-camae", "--images", tmp_path / "a.ome.tiff", "--out", tmp_path / "out",
               "--steps", 2, "--batch-size", 1, "--size", "demo")  # fmt: skip
    assert "2 markers" in told
    assert load_camae(tmp_path / "out").config.channels == ("P07766", "P11836")


def test_it_stands_in_the_table(folder: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "cells.json"
    told = run("evaluate", "cells", folder, "--label", "cell_type", "--json", out,
               "--stride", 128, "--batch-size", 2, "--camae", trained)  # fmt: skip
    encoders = json.loads(out.read_text())["encoders"]
    assert list(encoders) == ["VirTues", "CA-MAE", "mean intensities"]
    assert 0 < encoders["CA-MAE"]["macro_f1"] <= 1
    assert "CA-MAE" in told


def test_another_panel_is_refused(trained: Path, tmp_path: Path) -> None:
    other = cohort(tmp_path / "mibi", "mibi")
    with pytest.raises(MarkerError, match="besides"):
        CAMAETokens(load_camae(trained)).encode(list(LabelledCohort(other, "cell_type")))


def test_images_of_two_panels_are_refused(tmp_path: Path) -> None:
    two = cohort(tmp_path / "two", "imc-immune", "imc-tumour")
    with pytest.raises(MarkerError, match="one panel"):
        run("train-camae", "--data", two, "--out", tmp_path / "out", "--steps", 2)
    assert not (tmp_path / "out").exists()


def test_wrong_options_are_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    with pytest.raises(InputError, match="--images or --data"):
        run("train-camae", "--out", out)
    with pytest.raises(ConfigError, match="--size"):
        run("train-camae", "--data", folder, "--out", out, "--size", "huge")
    with pytest.raises(ConfigError, match="--markers"):
        run("evaluate", "scaling", "--json", out, "--markers", "ten")
    assert not out.exists()


def test_scaling_writes_costs(tmp_path: Path) -> None:
    out = tmp_path / "scaling.json"
    told = run("evaluate", "scaling", "--json", out, "--markers", "2", "--size", "demo",
               "--batch-size", 1, "--warmup", 0, "--runs", 1, "--device", "cpu")  # fmt: skip
    rows = json.loads(out.read_text())["costs"]
    assert [(row["model"], row["markers"]) for row in rows] == [("VirTues", 2), ("CA-MAE", 2)]
    for row in rows:
        assert row["cost_gib_s"] == pytest.approx(row["seconds"] * row["memory_bytes"] / 2**30)
    assert told.count("GiB s") == 2
