"""``virtues stratify`` on files, and the report that it writes."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import typer
from stratify_samples import cohort
from typer.testing import CliRunner

from virtues_core.cli import stratify
from virtues_core.cohort.patients.results import read_results, write_results
from virtues_core.cohort.survival import StratifyConfig
from virtues_core.errors import ConfigError, InputError, ReadError
from virtues_core.report import stratify as told
from virtues_core.report import write_report

SMALL = ["--states", 6, "--groups", 3, "--permutations", 19, "--seeds", 1, "--layout", "pca"]
COLUMNS = ["--patient", "patient", "--time", "months", "--event", "died"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort(tmp_path_factory.mktemp("cohort"), patients=40, cells=30)


def call(*args: object) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)  # so that the command keeps its name
    stratify.register(app)
    result = CliRunner().invoke(app, ["stratify", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def run(folder: Path) -> tuple[Path, str]:
    out = folder / "out"
    said = call(
        folder / "cells*.h5ad", "--clinical", folder / "clinical.csv", *COLUMNS, *SMALL,
        "--covariates", "age,grade", "--structures", "niche,necrosis", "--structure-cells", 8,
        "--other-groups", "2,5", "--bootstrap", 25, "--layout-cells", 300,
        "--out", out,
    )  # fmt: skip
    return out, said


def test_what_is_said_and_what_is_written(run: tuple[Path, str]) -> None:
    out, said = run
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["analysis"] == "stratify"
    assert summary["logrank_p"] == 0.05
    assert len(summary["groups"]) == 3
    assert 0.5 < summary["concordance"] < 1
    lines = said.splitlines()
    honest = next(
        i for i, line in enumerate(lines) if "told by other patients: log-rank p =" in line
    )
    assert "chosen to differ" in lines[honest + 1]
    assert "note: 40 patients with images and clinical data." in said
    assert shlex.split(summary["command"])[:2] == ["virtues", "stratify"]
    assert summary["settings"]["structures"] == ["niche", "necrosis"]
    assert summary["settings"]["other_groups"] == [2, 5]
    assert summary["settings"] | {"bootstrap": 25, "layout_cells": 300} == summary["settings"]
    assert len(pd.read_csv(out / "patients.csv")) == 40
    assert (out / "report.html").is_file()


def test_the_report_tells_the_honest_figure_first(run: tuple[Path, str]) -> None:
    out, _ = run
    content = told.content(read_results(out))
    assert content.headline[0].startswith("Risk told by other patients: log-rank p = 0.050")
    assert "this p-value is no evidence" in content.headline[2]
    names = [figure.name for figure in content.figures]
    assert names[:3] == ["survival-risk", "chance", "survival-risk-on-data"]
    assert {"cox", "structures", "stability", "states", "structures-1", "patients"} <= set(names)
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<svg") == len(names)
    assert sorted(p.stem for p in (out / "figures").glob("*.svg")) == sorted(names)
    for text in (
        "6 states by k-means",
        "adjusted for age, grade",
        "time (months)",
        "niche: hypoxic",
    ):
        assert text in page


def test_a_report_of_what_could_not_be_said(run: tuple[Path, str], tmp_path: Path) -> None:
    made = read_results(run[0])
    empty = made.tables["cox"].iloc[:0]
    tables = {k: v for k, v in made.tables.items() if k != "structures"} | {"cox": empty}
    object.__setattr__(made, "tables", tables)
    object.__setattr__(made, "summary", dict(made.summary) | {"logrank_p": None})
    write_results(made, tmp_path / "out")
    page = write_report(tmp_path / "out").read_text("utf-8")
    assert "no p-value, for a risk group has too few events" in page
    assert 'id="cox"' not in page
    assert 'id="structures"' not in page


def test_options_and_settings_have_the_same_defaults() -> None:
    """Each setting is an option, by its name, and nothing is written twice differently."""
    app = typer.Typer()
    stratify.register(app)
    by_name = {option.name: option for option in typer.main.get_command(app).params}
    for name, value in asdict(StratifyConfig()).items():
        own = ",".join(map(str, value)) if isinstance(value, tuple) else value
        assert by_name[name].default == own, name


def test_refusals_leave_nothing(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "clinical.csv")
    table.assign(died=0).to_csv(tmp_path / "censored.csv", index=False)
    table.assign(months=-table["months"]).to_csv(tmp_path / "negative.csv", index=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    good, out = folder / "clinical.csv", tmp_path / "out"

    def refused(error: type[Exception], said: str, clinical: Path, *more: object) -> None:
        args = [folder, "--clinical", clinical, *COLUMNS, *SMALL, "--out", out, *more]
        with pytest.raises(error, match=said):
            call(*args)

    refused(InputError, "event", tmp_path / "censored.csv")
    refused(InputError, "40", tmp_path / "negative.csv")
    refused(ReadError, "nothing.csv", tmp_path / "nothing.csv")
    refused(InputError, "deid", good, "--event", "deid")
    refused(InputError, "vessels", good, "--structures", "vessels")
    refused(ConfigError, "layout: expected umap or pca", good, "--layout", "tsne")
    refused(ConfigError, "whole numbers such as 2,3,5,6", good, "--other-groups", "2,x")
    refused(InputError, "something else in it", good, "--out", tmp_path / "full")
    refused(InputError, "cells for 5000 states", good, "--states", 5000)
    assert sorted(tmp_path.rglob("*")) == before
