"""``virtues stratify``: risk groups of patients from the states of their cells."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._clinical import (
    CellPaths,
    ClinicalFile,
    Covariates,
    EventColumn,
    OutFolder,
    PatientColumn,
    Seed,
    TimeColumn,
    TissueColumn,
    names_in,
)

if TYPE_CHECKING:
    from virtues_core.cohort.patients import Columns
    from virtues_core.cohort.survival import Stratification, StratifyConfig

States = Annotated[int, typer.Option("--states", help="States that cells are parted into.")]
Groups = Annotated[int, typer.Option("--groups", help="Groups that patients are parted into.")]
FitCells = Annotated[int, typer.Option("--fit-cells", help="Cells that states are found among.")]
Folds = Annotated[int, typer.Option("--folds", help="Folds of patients.")]
Permutations = Annotated[
    int, typer.Option("--permutations", help="Dealings of the groups, for the p-value.")
]
Bootstrap = Annotated[
    int, typer.Option("--bootstrap", help="Draws of patients, for the concordance's interval.")
]
Seeds = Annotated[int, typer.Option("--seeds", help="Seeds of the states, for stability.")]
OtherGroups = Annotated[
    str, typer.Option("--other-groups", help="Other numbers of groups, for stability, A,B.")
]
Structures = Annotated[
    str,
    typer.Option("--structures", help="Columns of cells or patients that tell of structures, A,B."),
]
StructureCells = Annotated[
    int, typer.Option("--structure-cells", help="Cells that make a structure present.")
]
Horizon = Annotated[
    float | None, typer.Option("--horizon", help="Time up to which mean survival is compared.")
]
Layout = Annotated[str, typer.Option("--layout", help="Of the maps: umap or pca.")]
LayoutCells = Annotated[int, typer.Option("--layout-cells", help="Cells on the map.")]


def register(app: typer.Typer) -> None:
    """Add ``stratify`` to the command line."""
    app.command("stratify")(stratify)


def stratify(
    context: typer.Context,
    paths: CellPaths,
    clinical: ClinicalFile,
    patient: PatientColumn,
    time: TimeColumn,
    event: EventColumn,
    out: OutFolder,
    tissue: TissueColumn = "",
    covariates: Covariates = "",
    states: States = 120,
    groups: Groups = 4,
    fit_cells: FitCells = 100_000,
    folds: Folds = 5,
    permutations: Permutations = 1000,
    bootstrap: Bootstrap = 500,
    seeds: Seeds = 5,
    other_groups: OtherGroups = "2,3,5,6",
    structures: Structures = "",
    structure_cells: StructureCells = 1,
    horizon: Horizon = None,
    layout: Layout = "umap",
    layout_cells: LayoutCells = 5000,
    seed: Seed = 0,
) -> None:
    """Part patients into high and low risk: curves, tests, structures, a report."""
    from virtues_core.cli._clinical import this_command
    from virtues_core.cohort.patients import Columns
    from virtues_core.cohort.survival import StratifyConfig

    config = StratifyConfig(
        states=states, groups=groups, fit_cells=fit_cells, folds=folds, permutations=permutations,
        bootstrap=bootstrap, seeds=seeds, other_groups=_numbers(other_groups),
        structures=names_in(structures), structure_cells=structure_cells, horizon=horizon,
        layout=layout, layout_cells=layout_cells, seed=seed,  # type: ignore[arg-type]  # checked
    )  # fmt: skip
    columns = Columns(patient, tissue, time=time, event=event, covariates=names_in(covariates))
    _run(paths, clinical, columns, config, out, this_command(context))


def _run(
    paths: list[str],
    clinical: Path,
    columns: "Columns",
    config: "StratifyConfig",
    out: Path,
    command: str,
) -> None:
    from virtues_core.cli._clinical import tell_notes
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import join, open_cells, read_clinical
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.cohort.survival import results_of
    from virtues_core.cohort.survival import stratify as part
    from virtues_core.report import write_report

    check_out(out)
    table = read_clinical(clinical, columns)
    of_cells = [name for name in config.structures if name not in table.table.columns]
    joined = join(open_cells(paths, of_cells, progress=show_progress), table)
    tell_notes(joined.notes)
    found = part(joined, config, progress=show_progress)
    tell_notes(found.notes[len(joined.notes) :])
    write_results(results_of(found, command), out)
    write_report(out)
    for line in _told(found):
        typer.echo(line)
    typer.echo(f"{out}: {len(found.times)} patients, report.html")


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers parted by commas."""
    from virtues_core.errors import ConfigError

    try:
        return tuple(int(name) for name in names_in(text))
    except ValueError:
        message = f"--other-groups: expected whole numbers such as 2,3,5,6; found {text!r}."
        raise ConfigError(message) from None


def _told(found: "Stratification") -> list[str]:
    """Headline, the honest figure first."""
    from virtues_core.cli._clinical import number

    honest, on_data = found.comparisons
    scored = honest.concordance
    return [
        f"risk told by other patients: log-rank p = {number(found.logrank_p)} "
        f"({found.config.permutations} permutations), concordance {number(scored.value)} "
        f"({number(scored.lower)} to {number(scored.upper)})",
        f"risk chosen on the data, as in the paper: log-rank p = {number(on_data.logrank.p)}, "
        f"concordance {number(on_data.concordance.value)}; chosen to differ",
    ]
