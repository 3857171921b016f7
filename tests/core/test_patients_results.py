"""The folder that an analysis leaves; commands that name a cohort."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from cohort_samples import table
from typer.testing import CliRunner

from virtues_core.cli import _clinical
from virtues_core.cohort import write_table
from virtues_core.cohort.patients import (
    Columns,
    LinkedPlot,
    PatientCells,
    Results,
    cells_of,
    check_out,
    join,
    open_cells,
    origin,
    read_clinical,
    read_results,
    write_results,
)
from virtues_core.cohort.patients import results_files as module
from virtues_core.errors import InputError, ReadError, VirtuesError


@dataclass(frozen=True)
class Config:
    states: int = 3
    seeds: tuple[int, ...] = (0, 1)


@pytest.fixture
def joined(tmp_path: Path) -> PatientCells:
    own = table(60, 0, patients=3)
    own.uns["virtues"]["image"] = "r1.tiff"
    write_table(own, tmp_path / "cells.h5ad")
    (tmp_path / "c.csv").write_text("id,y\nP0-0,1\nP0-1,0\n")
    clinical = read_clinical(tmp_path / "c.csv", Columns("id", outcome="y"))
    return join(open_cells([tmp_path / "cells.h5ad"]), clinical)


def found(joined: PatientCells) -> Results:
    state = np.arange(len(joined.cells)) % 3
    patients = joined.patient_rows().assign(group=[1, 0], risk=[0.25, np.nan])
    curve = pd.DataFrame({"group": [0, 1], "time": [0.0, 3.5], "survival": [1.0, 0.5]})
    plot = LinkedPlot("survival", "Survival", "steps", "curves", "time", "survival", "group",
                      "group", "months", "alive")  # fmt: skip
    summary = {"logrank_p": float("nan"), "groups": np.int64(2), "auroc": np.float32(0.5)}
    return Results(
        "stratify",
        summary | origin(joined, Config(), "virtues stratify x"),
        patients,
        cells_of(joined, state=state.astype(np.int16)),
        {"curves": curve},
        (plot,),
        ("Three events in group 1: no p-value.",),
    )


def test_what_was_written_is_read(joined: PatientCells, tmp_path: Path) -> None:
    made = found(joined)
    out = write_results(made, tmp_path / "out")
    names = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert names == {
        "summary.json", "patients.csv", "cells.parquet", "plots.json", "tables/curves.csv",
    }  # fmt: skip
    again = read_results(out)
    assert (again.analysis, again.notes, again.plots) == ("stratify", made.notes, made.plots)
    pd.testing.assert_frame_equal(again.patients, made.patients)
    pd.testing.assert_frame_equal(again.tables["curves"], made.tables["curves"])
    summary = again.summary
    assert summary["logrank_p"] is None
    assert (summary["groups"], summary["auroc"]) == (2, 0.5)
    assert summary["settings"] == {"states": 3, "seeds": [0, 1]}
    assert summary["columns"]["outcome"] == "y"
    assert summary["images"] == {"P0-0-A": "r1.tiff", "P0-1-A": "r1.tiff"}
    assert summary["versions"]["lifelines"]
    assert summary["clinical"].endswith("c.csv")


def test_cells_are_read_by_column_and_value(
    joined: PatientCells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROW_GROUP", 7)
    made = found(joined)
    again = read_results(write_results(made, tmp_path / "out"))
    for results in (made, again):
        rows = results.read_cells(("tissue_id", "cell_id"), state=1)
        assert len(rows) == (np.arange(60) % 3 == 1)[joined.codes >= 0].sum()
        assert rows.columns.tolist() == ["tissue_id", "cell_id"]
        assert set(results.read_cells()["patient_id"]) == set(joined.patients)
        with pytest.raises(InputError, match="colour"):
            results.read_cells(("colour",))
    with pytest.raises(InputError, match="found none"):
        replace(made, cells=None).read_cells()


def test_cells_of_a_file_are_taken_over(joined: PatientCells, tmp_path: Path) -> None:
    made = found(joined)
    made.read_cells().to_parquet(tmp_path / "big.parquet")
    again = read_results(
        write_results(replace(made, cells=tmp_path / "big.parquet"), tmp_path / "out")
    )
    assert len(again.read_cells()) == len(made.read_cells())


def test_only_an_analysis_is_replaced(joined: PatientCells, tmp_path: Path) -> None:
    made = found(joined)
    out = write_results(made, tmp_path / "out")
    (out / "report.html").write_text("old")
    write_results(replace(made, notes=("new",)), out)
    assert read_results(out).notes == ("new",)
    assert not (out / "report.html").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="something else in it"):
        write_results(made, precious)
    assert (precious / "thesis.txt").read_text() == "years"
    (out / ".DS_Store").touch()
    write_results(made, out)
    (out / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match=r"something else in it \(thesis.txt\)"):
        write_results(made, out)
    assert (out / "thesis.txt").read_text() == "years"


def test_what_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="a file"):
        check_out(tmp_path / "file")
    with pytest.raises(VirtuesError, match="could not write"):
        check_out(tmp_path / "file" / "out")
    with pytest.raises(VirtuesError, match="could not write"):
        check_out(tmp_path / ("x" * 300))


def _edit(out: Path, kind: str) -> None:
    if kind == "summary":
        (out / "summary.json").write_text('{"format": 1, "analy')
    elif kind in {"newer", "other"}:
        values = json.loads((out / "summary.json").read_text())
        values |= {"format": 2} if kind == "newer" else {"analysis": None}
        (out / "summary.json").write_text(json.dumps(values))
    elif kind == "table":
        (out / "tables/curves.csv").unlink()
    elif kind == "column":
        (out / "tables/curves.csv").write_text("group,survival\n0,1\n")
    elif kind == "plot":
        (out / "plots.json").write_text('[{"name": "x"}]')
    elif kind == "patient":
        lines = (out / "patients.csv").read_text().splitlines()
        (out / "patients.csv").write_text("\n".join(lines[:-1]))
    elif kind == "row":
        (out / "tables/curves.csv").write_text("group,time,survival\n0,1,1\n")
    elif kind == "cells":
        cells = pd.read_parquet(out / "cells.parquet")
        cells.iloc[: len(cells) // 2].to_parquet(out / "cells.parquet", index=False)
    elif kind == "cut":
        whole = (out / "cells.parquet").read_bytes()
        (out / "cells.parquet").write_bytes(whole[: len(whole) // 2])
    elif kind == "rows":
        values = json.loads((out / "summary.json").read_text())
        (out / "summary.json").write_text(json.dumps(values | {"rows": 3}))
    elif kind == "files":
        values = json.loads((out / "summary.json").read_text())
        (out / "summary.json").write_text(json.dumps(values | {"files": [3]}))
    elif kind == "gone":
        shutil.rmtree(out)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("summary", "could not read"),
        ("newer", "found 2, of a newer version"),
        ("other", "no format and analysis"),
        ("table", r"tables/curves.csv is missing"),
        ("column", "expected a column time in table 'curves'"),
        ("plot", "plots.json"),
        ("patient", r"the 2 rows that the analysis wrote in '.*patients.csv', found 1"),
        ("row", r"the 2 rows .*curves.csv', found 1"),
        ("cells", r"the 37 rows .*cells.parquet', found 18: .*[Rr]un the analysis again"),
        ("cut", "could not read '.*cells.parquet'"),
        ("rows", "rows 3"),
        ("files", r"files \[3\]"),
        ("gone", "expected the folder of an analysis"),
    ],
)
def test_a_folder_that_is_broken(
    joined: PatientCells, tmp_path: Path, kind: str, said: str
) -> None:
    out = write_results(found(joined), tmp_path / "out")
    _edit(out, kind)
    with pytest.raises(ReadError, match=said):
        read_results(out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": "none"}, "table out of patients, curves; found 'none'"),
        ({"x": "weeks"}, "column weeks in table 'curves'"),
        ({"link": "patient_id"}, "column patient_id"),
    ],
)
def test_plots_of_what_is_not_there(
    joined: PatientCells, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    made = found(joined)
    with pytest.raises(InputError, match=said):
        write_results(replace(made, plots=(replace(made.plots[0], **change),)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_are_none(joined: PatientCells, tmp_path: Path) -> None:
    made = found(joined)
    with pytest.raises(InputError, match=r"found \.\./x"):
        write_results(replace(made, tables={"../x": made.patients}), tmp_path / "out")
    with pytest.raises(InputError, match="kind"):
        replace(made.plots[0], kind="pie")  # type: ignore[arg-type]


def _stratify(
    context: typer.Context,
    cells: _clinical.CellPaths,
    clinical: _clinical.ClinicalFile,
    patient: _clinical.PatientColumn,
    outcome: _clinical.OutcomeColumn = "",
    covariates: _clinical.Covariates = "",
    seed: _clinical.Seed = 0,
) -> None:
    columns = Columns(patient, outcome=outcome, covariates=_clinical.names_in(covariates))
    joined = _clinical.joined_cells(cells, clinical, columns)
    typer.echo(f"{len(joined.patients)} {_clinical.this_command(context)}")


def test_a_command_names_a_cohort_and_says_how_to_repeat_it(
    joined: PatientCells, tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command("stratify")(_stratify)
    app.command("other")(lambda: None)
    args = ["stratify", f"{tmp_path}/c*.h5ad", "--patient", "id", "--clinical",
            str(tmp_path / "c.csv"), "--outcome", "y"]  # fmt: skip
    ran = CliRunner().invoke(app, args)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout == (
        f"2 virtues stratify '{tmp_path}/c*.h5ad' --clinical {tmp_path}/c.csv --patient id "
        "--outcome y\n"
    )
    assert "note: 1 patient with images and without clinical data: P0-2." in ran.stderr
    ran = CliRunner().invoke(app, [*args, "--covariates", "age,sex"])
    assert isinstance(ran.exception, InputError)
    assert ": 2 problems" in str(ran.exception)
