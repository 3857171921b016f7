"""What the analyses of a cohort have in common at the command line."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from virtues_core.cohort.patients import Clinical, Columns, PatientCells

CellPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="CELLS...",
        help="Tables of tokens by `virtues embed` (.h5ad, .zarr), or folders of them.",
    ),
]
ClinicalFile = Annotated[
    Path,
    typer.Option(
        "--clinical", help="Clinical table: CSV, TSV or Parquet, a row a patient or a tissue."
    ),
]
PatientColumn = Annotated[str, typer.Option("--patient", help="Its column that names the patient.")]
TissueColumn = Annotated[
    str,
    typer.Option(
        "--tissue",
        help="Its column that names the tissue, if it has a row a tissue; else tissue_id.",
    ),
]
OutcomeColumn = Annotated[
    str, typer.Option("--outcome", help="Its column with the outcome: 0 or 1, yes or no.")
]
PositiveValue = Annotated[
    str, typer.Option("--positive", help="Value of the outcome that counts as 1.")
]
TimeColumn = Annotated[str, typer.Option("--time", help="Its column with the follow-up time.")]
EventColumn = Annotated[
    str, typer.Option("--event", help="Its column that is 1 where the event was seen.")
]
TimepointColumn = Annotated[
    str, typer.Option("--timepoint", help="Its column that says when a tissue was taken.")
]
Covariates = Annotated[str, typer.Option("--covariates", help="Its columns to adjust for, A,B.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31, help="Of all that is drawn.")]
OutFolder = Annotated[
    Path, typer.Option("--out", help="Folder to write; one of an earlier analysis is replaced.")
]


def names_in(text: str) -> tuple[str, ...]:
    """Part names at commas.

    Examples
    --------
    >>> names_in("age, stage,")
    ('age', 'stage')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def joined_cells(
    paths: Sequence[str],
    clinical: Path,
    columns: "Columns",
    *,
    level: str = "cell",
    obs: Sequence[str] = (),
    intensities: bool = True,
) -> "PatientCells":
    """Open tables, read the clinical table, find whose cells they are, and tell the notes.

    Parameters
    ----------
    paths, level, obs
        As `open_cells`.
    clinical, columns
        As `read_clinical`.
    intensities
        Whether mean intensities will be used, so that they are looked through first.

    Raises
    ------
    VirtuesError
        As `read_clinical`, `open_cells`, `join` and `check_values`.
    """
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import check_values, join, open_cells, read_clinical

    table: Clinical = read_clinical(clinical, columns)
    joined = join(open_cells(paths, obs, level=level, progress=show_progress), table)
    if intensities:
        odd = check_values(joined.cells, "intensities", show_progress)
        joined = replace(joined, notes=(*joined.notes, *odd))
    tell_notes(joined.notes)
    return joined


def tell_notes(notes: Sequence[str]) -> None:
    """Print what a reader should know."""
    for text in notes:
        typer.echo(f"note: {text}", err=True)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, and a dash where there is no honest one.

    Examples
    --------
    >>> number(0.04231), number(None)
    ('0.0423', '–')
    """
    return "–" if value is None or value != value else f"{value:.{digits}g}"  # noqa: PLR0124


def this_command(context: typer.Context) -> str:
    """Write the command that is being run as a person types it; defaults are left out.

    Parameters
    ----------
    context
        What a command gets that has a parameter of this type.
    """
    words = ["virtues", *context.command_path.split()[1:]]
    options: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name.startswith("DEFAULT"):
            continue
        value = context.params[name]
        values = [str(v) for v in value] if isinstance(value, (list, tuple)) else [str(value)]
        if parameter.param_type_name == "argument":
            words += values
        elif isinstance(value, bool):
            options.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            options += [word for one in values for word in (parameter.opts[0], one)]
    return shlex.join([*words, *options])
