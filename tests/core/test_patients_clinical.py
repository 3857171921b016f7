"""Clinical tables: what they say, and all that can be wrong with them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from virtues_core.cohort.patients import Clinical, Columns, read_clinical
from virtues_core.cohort.patients.clinical_checks import told_by
from virtues_core.errors import ConfigError, InputError, ReadError

GOOD = """id,response,months,died,age,stage,comment
P2,yes,12.5,1,61,I,fine
P1,no,3,0,70,II,
P3,,20,1,,I,Fine
P4,no,NA,1,55,II,poor
"""
ALL = Columns("id", outcome="response", time="months", event="died", covariates=("age", "stage"))


def read(folder: Path, text: str, columns: Columns = ALL, name: str = "c.csv") -> Clinical:
    (folder / name).write_text(text, "utf-8")
    return read_clinical(folder / name, columns)


def test_outcome_survival_and_covariates_by_patient(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.table.index.tolist() == ["P1", "P2", "P3", "P4"]
    assert found.outcome().to_dict() == {"P1": 0, "P2": 1, "P4": 0}
    survival = found.survival()
    assert survival["time"].to_dict() == {"P1": 3.0, "P2": 12.5, "P3": 20.0}
    assert survival["event"].tolist() == [False, True, True]
    covariates = found.covariates()
    assert covariates["age"].isna().tolist() == [False, False, True, False]
    assert covariates["stage"].cat.categories.tolist() == ["I", "II"]
    assert found.tissues is None
    assert found.notes == (
        "'comment' (not used) has a category spelt in two ways: 'Fine' and 'fine'.",
        "'response' is missing for 1 patient of 4.",
        "'months' is missing for 1 patient of 4.",
        "'age' is missing for 1 patient of 4.",
    )


@pytest.mark.parametrize("kind", ["csv", "semicolons", "tsv", "bom", "parquet", "indexed"])
def test_the_ways_tables_are_exported(tmp_path: Path, kind: str) -> None:
    table = pd.DataFrame({"id": [2, 1, 3], "y": ["true", "false", "false"], "age": [1.5, None, 2]})
    path = tmp_path / f"c.{'tsv' if kind == 'tsv' else 'csv'}"
    if kind == "semicolons":
        table.to_csv(path, sep=";", decimal=",", index=False)
    elif kind in {"parquet", "indexed"}:
        path = tmp_path / "c.parquet"
        (table.set_index("id") if kind == "indexed" else table).to_parquet(path)
    else:
        encoding = "utf-8-sig" if kind == "bom" else "utf-8"
        table.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False, encoding=encoding)
    found = read_clinical(path, Columns("id", outcome="y", covariates=("age",)))
    assert found.outcome().to_dict() == {"1": 0, "2": 1, "3": 0}
    assert found.covariates()["age"].dropna().tolist() == [1.5, 2.0]


def test_names_of_patients_are_text(tmp_path: Path) -> None:
    found = read(tmp_path, "id,y\n007,0\n08,1\n", Columns("id", outcome="y"))
    assert found.outcome().to_dict() == {"007": 0, "08": 1}
    pd.DataFrame({"id": [7.0, None], "y": [1, 0]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"1 row without a patient in 'id' \(line 3\)"):
        read_clinical(tmp_path / "c.parquet", Columns("id", outcome="y"))


def test_a_row_a_tissue(tmp_path: Path) -> None:
    text = "slide,patient_id,when,y,mm\nb,P1,after,1,3\na,P1,before,1,5\nc,P2,before,0,1\n"
    columns = Columns("patient_id", tissue="slide", timepoint="when", outcome="y")
    found = read(tmp_path, text, columns)
    assert found.tissues is not None
    assert found.tissues.to_dict() == {"a": "P1", "b": "P1", "c": "P2"}
    assert found.outcome().to_dict() == {"P1": 1, "P2": 0}
    assert found.timepoints().to_dict() == {"a": "before", "b": "after", "c": "before"}
    assert found.by_tissue is not None
    assert found.by_tissue["mm"].to_dict() == {"a": 5, "b": 3, "c": 1}


def test_an_outcome_of_other_words_is_named(tmp_path: Path) -> None:
    text = "id,y\nA,pCR\nB,RD\nC,lost\n"
    with pytest.raises(InputError, match=r"found RD, lost, pCR. Say which value counts as 1"):
        read(tmp_path, text, Columns("id", outcome="y"))
    found = read(tmp_path, text, Columns("id", outcome="y", positive="pCR"))
    assert found.outcome().to_dict() == {"A": 1, "B": 0, "C": 0}
    with pytest.raises(InputError, match="expected 'cr' among the values"):
        read(tmp_path, text, Columns("id", outcome="y", positive="cr"))
    found = read(tmp_path, "id,y\nA,2\nB,1\nC,\n", Columns("id", outcome="y", positive="2"))
    assert found.outcome().to_dict() == {"A": 1, "B": 0}


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = (
        "id,response,months,died,age,stage\n"
        "P1,yes,-3,1,61,I\nP1,no,4,1,61,I\nP2,no,soon,2,70,Stage II\nP3,no,1,0,70,stage-II\n"
        ",no,1,0,1,I\np4,no,1,0,1,I\nP4,no,1,0,1,I\n"
    )
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    said = str(caught.value).splitlines()
    assert said[0] == "c.csv: 7 problems"
    for expected, line in zip(
        (
            "1 row without a patient in 'id' (line 6)",
            "a patient written in two ways: 'P4' and 'p4'",
            "1 patient in several rows that differ (P1)",
            "'stage' has a category spelt in two ways: 'Stage II' and 'stage-II'",
            "found text for 1 patient (P2: soon)",
            "found negative for 1 patient (P1: -3)",
            "expected 1 (seen) or 0 (censored) in 'died', found 2 for 1 patient",
        ),
        said[1:],
        strict=True,
    ):
        assert expected in line


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("id,y\nA,1\nB,1\n", Columns("id", outcome="y"), "two classes of outcome in 'y', found 1"),
        ("id,y\nA,\nB,\n", Columns("id", outcome="y"), "found no value at all"),
        ("id,t,e\nA,1,0\nB,2,no\n", Columns("id", time="t", event="e"), "2 patients with a time, "
         "all of them censored"),
        ("id,t,e\nA,,1\nB,,0\n", Columns("id", time="t", event="e"), "found no patient with both"),
        ("id,t,e\nA,0,1\nB,0,0\n", Columns("id", time="t", event="e"), "found 0 for all patients"),
        ("id,t,e\nA,inf,1\nB,2,0\n", Columns("id", time="t", event="e"), "found infinite for 1"),
        ("id,y\nA,1\nA,0\n", Columns("id", outcome="y"), r"1 patient in several rows.*--tissue"),
        ("id,s,y\nA,1,1\nA,2,0\nB,3,0\n", Columns("id", tissue="s", outcome="y"),
         r"'y' differs between tissues of 1 patient \(A\)"),
        ("id,s,y\nA,1,1\nA,1,0\nB,3,0\n", Columns("id", tissue="s", outcome="y"),
         r"1 tissue in several rows that differ \(1\)"),
        ("id,y\nA,1\nB,0\n", Columns("patient", outcome="response"), ": 2 problems"),
        ("pat,Died\nA,1\nB,0\n", Columns("pat", outcome="died"), "did you mean 'Died'"),
        ("id,y,y\nA,1,0\n", Columns("id", outcome="y"), "found 'y' twice"),
        ("id,y\n", Columns("id", outcome="y"), "found no rows"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, text: str, columns: Columns, expected: str) -> None:
    with pytest.raises(InputError, match=f"(?s){expected}"):
        read(tmp_path, text, columns)


@pytest.mark.parametrize(
    "roles",
    [
        {"outcome": "id"},
        {"covariates": ("age", "id")},
        {"tissue": "s", "timepoint": "s"},
        {"time": "t", "event": "t"},
        {"time": "t", "event": "e", "covariates": ("age", "t")},
        {"outcome": "s", "covariates": ("s",)},
    ],
)
def test_one_column_for_two_things(roles: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"found '(id|s|t)'"):
        Columns("id", **roles)


def test_covariates_named_twice_count_once(tmp_path: Path) -> None:
    columns = Columns("id", covariates=("age", "age"))
    assert list(read(tmp_path, "id,age\nA,1\nB,2\n", columns).covariates()) == ["age"]


def test_files_that_are_none(tmp_path: Path) -> None:
    columns = Columns("id")
    with pytest.raises(ReadError, match="found no file"):
        read_clinical(tmp_path / "c.csv", columns)
    with pytest.raises(InputError, match="as CSV"):
        read(tmp_path, "x", columns, "c.xlsx")
    with pytest.raises(ReadError, match="rows of one length"):
        read(tmp_path, "id,y\nA,1,2,3\n", columns)
    (tmp_path / "l.csv").write_bytes("id,y\nMüller,1\n".encode("latin-1"))
    with pytest.raises(ReadError, match="not UTF-8"):
        read_clinical(tmp_path / "l.csv", columns)
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(ReadError, match="could not read"):
        read_clinical(tmp_path / "e.csv", columns)
    (tmp_path / "p.parquet").write_text("PAR1")
    with pytest.raises(ReadError, match="Parquet"):
        read_clinical(tmp_path / "p.parquet", columns)


def test_rows_that_say_the_same_count_once(tmp_path: Path) -> None:
    found = read(tmp_path, "id,y\nA,1\nB,0\nA,1\n", Columns("id", outcome="y"))
    assert len(found.table) == 2
    assert found.notes == ("1 row said the same twice: A.",)


def test_a_column_that_goes_with_the_outcome_is_told(tmp_path: Path) -> None:
    rows = [f"P{i},{i % 2},{'ab'[i % 2]},{i % 4},{i % 3},{i}" for i in range(12)]
    text = "\n".join(["id,y,batch,plate,site,age", *rows])
    (told,) = read(tmp_path, text, Columns("id", outcome="y")).outcome_twins()
    assert told.startswith("'batch', 'plate' of the clinical table tells 'y' of every patient")
    mixed = text.replace("P3,1,b,3", "P3,1,a,2")
    assert not read(tmp_path, mixed, Columns("id", outcome="y")).outcome_twins()
    table = pd.DataFrame({"site": list("aaabbbccc"), "sex": list("fmfmfmfmf")})
    assert told_by(table, pd.Series(list("uuuvvvwww"), name="grade"))[0].startswith("'site' of")


def test_signs_and_numbers_are_no_spellings(tmp_path: Path) -> None:
    text = "id,er,t,n\nA,ER+,T1-2,1.0\nB,ER-,T12,1\nC,er-x,T1,10\n"
    found = read(tmp_path, text, Columns("id", covariates=("er", "t", "n")))
    assert found.covariates()["er"].nunique() == 3
    with pytest.raises(InputError, match="'ER -' and 'er-'"):
        read(tmp_path, "id,er\nA,ER -\nB,er-\n", Columns("id", covariates=("er",)))


def test_a_part_of_the_patients_is_checked_anew(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.of(["P2", "P1"]).outcome().to_dict() == {"P1": 0, "P2": 1}
    with pytest.raises(InputError, match="two classes of outcome"):
        found.of(["P1", "P4"])


def test_columns_that_were_not_named(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD, Columns("id"))
    for ask in (found.outcome, found.survival, found.timepoints):
        with pytest.raises(InputError, match="found none named"):
            ask()
    when = read(tmp_path, GOOD, Columns("id", timepoint="stage"))
    with pytest.raises(InputError, match="--tissue"):
        when.timepoints()
    for wrong in ({"time": "t"}, {"positive": "x"}, {"tissue": "id"}):
        with pytest.raises(ConfigError):
            Columns("id", **wrong)
    with pytest.raises(ConfigError):
        Columns("")
