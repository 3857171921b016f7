"""``virtues stratify``: risk groups of patients from the states of their cells."""

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
)

if TYPE_CHECKING:
    from virtues_core.cohort.survival import Stratification


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
    states: Annotated[
        int, typer.Option("--states", help="States that cells are parted into.")
    ] = 120,
    groups: Annotated[int, typer.Option("--groups", help="Groups of patients.")] = 4,
    structures: Annotated[
        str,
        typer.Option(
            "--structures", help="Columns of cells or patients that tell of structures, A,B."
        ),
    ] = "",
    structure_cells: Annotated[
        int, typer.Option("--structure-cells", help="Cells that make a structure present.")
    ] = 1,
    fit_cells: Annotated[
        int, typer.Option("--fit-cells", help="Cells that states are found among.")
    ] = 100_000,
    folds: Annotated[int, typer.Option("--folds", help="Folds of patients.")] = 5,
    permutations: Annotated[
        int, typer.Option("--permutations", help="For the p-value out of fold.")
    ] = 1000,
    seeds: Annotated[
        int, typer.Option("--seeds", help="With which states are found, for stability.")
    ] = 5,
    horizon: Annotated[
        float | None,
        typer.Option("--horizon", help="Time up to which mean survival is compared."),
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="Of the maps: umap or pca.")] = "umap",
    seed: Seed = 0,
) -> None:
    """Part patients into high and low risk: curves, tests, structures, a report."""
    from virtues_core.cli._clinical import names_in, tell_notes, this_command
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import Columns, join, open_cells, read_clinical
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.cohort.survival import StratifyConfig, results_of
    from virtues_core.cohort.survival import stratify as part
    from virtues_core.report import write_report

    config = StratifyConfig(
        states=states, groups=groups, fit_cells=fit_cells, folds=folds, permutations=permutations,
        seeds=seeds, structures=names_in(structures), structure_cells=structure_cells,
        horizon=horizon, layout=layout, seed=seed,  # type: ignore[arg-type]  # checked there
    )  # fmt: skip
    check_out(out)
    table = read_clinical(
        clinical,
        Columns(patient, tissue, time=time, event=event, covariates=names_in(covariates)),
    )
    table.survival()
    of_cells = [name for name in config.structures if name not in table.table.columns]
    joined = join(open_cells(paths, of_cells), table)
    tell_notes(joined.notes)
    found = part(joined, config, progress=show_progress)
    tell_notes(found.notes[len(joined.notes) :])
    write_results(results_of(found, this_command(context)), out)
    write_report(out)
    for line in _told(found):
        typer.echo(line)
    typer.echo(f"{out}: {len(found.times)} patients, report.html")


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
