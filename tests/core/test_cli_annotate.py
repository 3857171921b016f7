"""``virtues annotate`` on files."""

import json
from pathlib import Path

import pytest
import typer
from cohort_samples import TYPES, table
from typer.testing import CliRunner

from tiny_model import tiny_checkpoint
from virtues_core.cli import annotate, embed
from virtues_core.cohort import read_table, write_table
from virtues_core.errors import InputError, ReadError, VirtuesError
from virtues_core.read import image_names, read_image
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        write_table(table(seed=seed), tmp_path / f"r{seed}.h5ad")
    return tmp_path


def call(*args: object) -> str:
    app = typer.Typer()
    annotate.register(app)
    embed.register(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("method", ["forest", "logistic"])
def test_fit_predict_evaluate(folder: Path, method: str) -> None:
    model, typed, scores = folder / "model", folder / "y.h5ad", folder / "scores.json"
    said = call("annotate", "fit", folder / "r0.h5ad", folder / "r1.h5ad", "--label", "phenotype",
                "--method", method, "--out", model)  # fmt: skip
    assert "on patients kept out" in said
    assert f"{method} of 3 classes, 480 cells" in said
    said = call("annotate", "predict", folder / "r2.h5ad", "--model", model, "--out", typed)
    assert "240 typed (" in said
    assert set(read_table(typed).obs["cell_type"]) == set(TYPES)
    said = call("annotate", "evaluate", typed, "--label", "phenotype", "--json", scores)
    found = json.loads(scores.read_text())
    assert found["macro_f1"] > 0.9
    assert set(found["classes"]) == set(TYPES)
    assert [found["classes"][name]["support"] for name in TYPES] == [80, 80, 80]
    mean = sum(one["f1"] for one in found["classes"].values()) / 3
    assert found["macro_f1"] == pytest.approx(mean)
    assert {"confusion", "calibration", "calibration_error"} <= set(found)
    assert f"macro F1         {found['macro_f1']:.3f}" in said


def test_patterns_held_out_and_unsure(folder: Path) -> None:
    said = call("annotate", "fit", folder / "r[01].h5ad", "--label", "phenotype", "--held-out", 0,
                "--method", "logistic", "--out", folder / "model")  # fmt: skip
    assert "on patients kept out" not in said
    assert "480 cells" in said
    said = call("annotate", "predict", folder / "r2.h5ad", "--model", folder / "model",
                "--unsure-below", 0.99, "--out", folder / "y.zarr")  # fmt: skip
    assert "unsure" in said
    assert "unsure" in set(read_table(folder / "y.zarr").obs["cell_type"])


def test_refusals_leave_nothing(folder: Path) -> None:
    common = ["fit", folder / "r0.h5ad", "--out", folder / "model", "--label"]
    cases: list[tuple[list[object], type[VirtuesError], str]] = [
        ([*common, "phenotype", "--method", "svm"], InputError, "found 'svm'"),
        ([*common, "kind"], InputError, "column 'kind'"),
        (["predict", folder / "r0.h5ad", "--model", folder / "r0.h5ad", "--out",
          folder / "y.h5ad"], ReadError, "not a whole classifier"),
        (["evaluate", folder / "r0.h5ad", "--label", "phenotype", "--json", folder / "s.json"],
         InputError, "a table with types"),
    ]  # fmt: skip
    for args, error, said in cases:
        with pytest.raises(error, match=said):
            call("annotate", *args)
    assert sorted(p.name for p in folder.iterdir()) == ["r0.h5ad", "r1.h5ad", "r2.h5ad"]


def test_a_share_of_patients_is_from_0_to_1(folder: Path) -> None:
    with pytest.raises(AssertionError, match="less than or equal to 1"):
        call("annotate", "fit", folder / "r0.h5ad", "--label", "phenotype", "--held-out", "7",
             "--out", folder / "model")  # fmt: skip
    assert not (folder / "model").exists()


def test_from_images_to_types(tmp_path: Path) -> None:
    """`virtues embed`, then types from one patient to the next; another checkpoint is refused."""
    config = CohortConfig(
        datasets=("imc-immune",), patients=2, tissues_per_patient=1, size_px=128, seed=4
    )
    cohort = write_spora(simulate_cohort(config), tmp_path / "cohort")
    names = image_names(cohort)
    channels = read_image(cohort, names[0]).channels
    for width in (16, 32):
        tiny_checkpoint(tmp_path / f"model{width}", channels, model_dim=width)
    tables = []
    for name, width in ((names[0], 32), (names[1], 32), (names[1], 16)):
        tables.append(tmp_path / f"{name}-{width}.h5ad")
        call("embed", cohort, "--image", name, "--checkpoint", tmp_path / f"model{width}",
             "--stride", 128, "--device", "cpu", "--out", tables[-1])  # fmt: skip
    call("annotate", "fit", tables[0], "--label", "cell_type", "--method", "logistic",
         "--out", tmp_path / "c")  # fmt: skip
    call("annotate", "predict", tables[1], "--model", tmp_path / "c", "--out", tmp_path / "y.h5ad")
    call("annotate", "evaluate", tmp_path / "y.h5ad", "--label", "cell_type",
         "--json", tmp_path / "s.json")  # fmt: skip
    found = json.loads((tmp_path / "s.json").read_text())
    truth = read_table(tables[1]).obs["cell_type"].astype(str)
    support = {name: one["support"] for name, one in found["classes"].items()}
    assert support == truth.value_counts().to_dict()
    assert read_table(tmp_path / "y.h5ad").obs["cell_type"].astype(str).tolist() == truth.tolist()
    assert found["accuracy"] > truth.value_counts().max() / len(truth) - 0.1
    with pytest.raises(InputError, match="expected the checkpoint"):
        call("annotate", "predict", tables[2], "--model", tmp_path / "c",
             "--out", tmp_path / "z.h5ad")  # fmt: skip
