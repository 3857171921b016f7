"""From images to reports, by commands, on simulated cohorts (docs/cohort.md, but small).

Ten patients with a tissue of 128 px at each of two times, eight others of another instrument, and a
model with random weights. What analyses find is of no matter here, what they leave is.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from report_browser import browser, measured, problems
from tiny_model import tiny_checkpoint
from virtues_core.cli.main import app
from virtues_core.simulate import panel_preset

DOCS = Path(__file__).parents[2] / "docs" / "cohort.md"
DATASETS = ("imc-immune", "imc-tumour")
HERE, THERE = 10, 8
"""Patients of the two cohorts."""
BOTH_TIMES = 4
"""Patients of the first whose tissue on treatment is embedded too."""
SURVIVAL = ("--time", "survival_months", "--event", "event")


def call(*words: object) -> str:
    ran = CliRunner().invoke(app, [str(word) for word in words])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return ran.output


def told_commands() -> list[list[str]]:
    """Words of all commands that the document tells."""
    text = DOCS.read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("virtues ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("words", told_commands(), ids=lambda words: " ".join(words[:2]))
def test_the_document_tells_commands_that_are_there(words: list[str]) -> None:
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    needed = {p.opts[0] for p in command.params if p.required and p.param_type_name == "option"}
    assert needed <= set(words)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two cohorts, clinical tables, a checkpoint."""
    root = tmp_path_factory.mktemp("walk")
    common = ("--tissues", 1, "--size", 128, "--effect", 3)
    for name, dataset, patients, times in zip(
        ("cohort", "other"), DATASETS, (HERE, THERE), (2, 1), strict=True
    ):
        call("simulate", "--out", root / name, "--patients", patients, "--timepoints", times,
             "--datasets", dataset, "--seed", 4, *common)  # fmt: skip
    names = [name for dataset in DATASETS for name in panel_preset(dataset).names]
    tiny_checkpoint(root / "tiny", tuple(dict.fromkeys(names)))
    return root


def tissues(root: Path, cohort: str, timepoint: str) -> list[str]:
    table = pd.read_parquet(root / cohort / "metadata/tissues.parquet")
    return table.loc[table["timepoint"] == timepoint, "tissue_id"].tolist()


@pytest.fixture(scope="module")
def tokens(root: Path) -> Path:
    """``here/*.h5ad`` of the first cohort, ``later`` of some on treatment, ``there`` of others."""
    folders = {
        "here": ("cohort", tissues(root, "cohort", "baseline")),
        "later": ("cohort", tissues(root, "cohort", "on_treatment")[:BOTH_TIMES]),
        "there": ("other", tissues(root, "other", "baseline")),
    }
    for folder, (cohort, names) in folders.items():
        for name in names:
            call("embed", root / cohort, "--image", name, "--checkpoint", root / "tiny",
                 "--stride", 128, "--out", root / folder / f"{name}.h5ad")  # fmt: skip
    return root


def clinic(root: Path, cohort: str = "cohort") -> tuple[object, ...]:
    return ("--clinical", root / cohort / "metadata/clinical.csv", "--patient", "patient_id")


def by_tissue(root: Path) -> tuple[object, ...]:
    table = root / "cohort/metadata/tissues.parquet"
    return ("--clinical", table, "--patient", "patient_id", "--tissue", "tissue_id")


def summary_of(out: Path) -> dict[str, Any]:
    """What the folder of an analysis says, once it is seen that all belongs to it."""
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["format"] == 1
    assert summary["command"].startswith("virtues ")
    assert summary["versions"]["napari-virtues"]
    for name in summary["files"]:
        assert (out / name).stat().st_size > 0
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<svg") == len(list((out / "figures").glob("*.svg"))) > 0
    assert "http://" not in page.replace("http://www.w3.org", "")
    if browser() is not None:
        assert problems(measured(out / "report.html")) == []
    assert set(pd.read_csv(out / "patients.csv")) >= {"patient_id", "tissues"}
    return summary


def test_a_database_and_its_nearest_tissues(root: Path) -> None:
    call("db", "build", root / "other", "--out", root / "tissues.db", "--checkpoint", root / "tiny",
         "--small", "whole", *clinic(root, "other"))  # fmt: skip
    call("db", "query", root / "tissues.db", "imc-tumour_P001-A1", "--top", 3, "--json",
         root / "near.json")  # fmt: skip
    found = json.loads((root / "near.json").read_text())["matches"]
    assert [match["rank"] for match in found] == [1, 2, 3]
    distances = [match["distance"] for match in found]
    assert distances == sorted(distances)
    assert all(match["patient_id"] != "P001" for match in found)
    assert all(match["clinical"]["survival_months"] > 0 for match in found)


def test_stratification(tokens: Path) -> None:
    out = tokens / "risk"
    said = call("stratify", tokens / "here", *clinic(tokens), *SURVIVAL, "--states", 6, "--groups",
                3, "--folds", 3, "--permutations", 20, "--seeds", 2, "--layout", "pca",
                "--out", out)  # fmt: skip
    assert said.index("told by other patients") < said.index("chosen on the data")
    summary = summary_of(out)
    assert {"logrank_p", "groups", "concordance"} <= set(summary)
    patients = pd.read_csv(out / "patients.csv")
    assert len(patients) == HERE
    cells = pd.read_parquet(out / "cells.parquet")
    assert cells["state"].nunique() == 6
    assert call("report", out, "--out", tokens / "risk.html")
    assert (tokens / "risk.html").read_text() == (out / "report.html").read_text()


def test_response(tokens: Path) -> None:
    out = tokens / "response"
    call("response", tokens / "here", tokens / "later", *by_tissue(tokens), "--timepoint",
         "timepoint", "--timepoints", "baseline,on_treatment", "--outcome", "response", "--cells",
         60, "--draws", 2, "--points", 30, "--method", "pca", "--bootstrap", 20, "--thin", 2,
         "--epsilon", 0.1, "--out", out)  # fmt: skip
    summary = summary_of(out)
    assert summary["pairs"][0]["patients"] == BOTH_TIMES


@pytest.fixture(scope="module")
def signatures(tokens: Path) -> Path:
    out = tokens / "signatures"
    said = call("biomarkers", "discover", tokens / "here", *clinic(tokens), "--outcome", "response",
                "--resolution-from", 1, "--resolution-to", 2, "--resolution-step", 0.5, "--folds",
                2, "--nested-repeats", 2, "--permutations", 19, "--out", out)  # fmt: skip
    assert said.index("nested: AUROC") < said.index("paper's")
    return out


def test_signatures_of_response(signatures: Path) -> None:
    summary = summary_of(signatures)
    assert {"auroc_paper", "auroc_nested", "permutation_p", "signatures"} <= set(summary)
    named = [one["name"] for one in summary["signatures"]]
    cells = pd.read_parquet(signatures / "cells.parquet")
    assert [int(cells[name].sum()) for name in named] == [
        one["cells"] for one in summary["signatures"]
    ]
    assert set(cells["patient_id"]) == set(pd.read_csv(signatures / "patients.csv")["patient_id"])


def test_signatures_in_another_cohort(signatures: Path, tokens: Path) -> None:
    out = tokens / "carried"
    call("biomarkers", "transfer", signatures, tokens / "there", *clinic(tokens, "other"),
         *SURVIVAL, "--draws", 100, "--out", out)  # fmt: skip
    notes = summary_of(out)["notes"]
    assert any("called as patients of the discovery" in note for note in notes)
    assert len(pd.read_csv(out / "patients.csv")) == THERE
    assert set(pd.read_parquet(out / "cells.parquet")["tissue_id"]) == set(
        tissues(tokens, "other", "baseline")
    )


def test_an_outcome_told_of_tissues(tokens: Path) -> None:
    out = tokens / "tissue-level"
    call("classify", "fit", tokens / "here", tokens / "later", *clinic(tokens), "--outcome",
         "response", "--epochs", 3, "--runs", 2, "--folds", 2, "--hidden", 8, "--instances", 50,
         "--out", out)  # fmt: skip
    summary_of(out)
    tested = pd.read_csv(out / "tables/tissues.csv").groupby("patient_id")
    assert (tested["tissue_id"].count() == 2).sum() == BOTH_TIMES
    assert (tested["fold"].nunique() == 1).all()  # no patient is on two sides of a split
    call("classify", "predict", out, tokens / "there", "--out", tokens / "told.csv")
    told = pd.read_csv(tokens / "told.csv")
    assert len(told) == THERE
