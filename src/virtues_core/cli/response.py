"""``virtues response``: how far the cells of patients move between two times, and where to."""

from typing import Annotated

import typer

from virtues_core.cli._clinical import (
    CellPaths,
    ClinicalFile,
    OutcomeColumn,
    OutFolder,
    PatientColumn,
    PositiveValue,
    Seed,
    TimepointColumn,
    TissueColumn,
)


def register(app: typer.Typer) -> None:
    """Add ``response`` to the command line."""
    app.command("response")(response)


def response(
    context: typer.Context,
    paths: CellPaths,
    clinical: ClinicalFile,
    patient: PatientColumn,
    timepoint: TimepointColumn,
    out: OutFolder,
    outcome: OutcomeColumn = "",
    positive: PositiveValue = "",
    tissue: TissueColumn = "",
    timepoints: Annotated[
        str,
        typer.Option(
            "--timepoints",
            help="Time points in their order, A,B,C; by default numbers by value, and words from "
            "baseline, pre, before to post, after.",
        ),
    ] = "",
    epsilon: Annotated[
        float,
        typer.Option("--epsilon", help="Weight of the entropy, in squared distances of tokens."),
    ] = 1e-3,
    cells: Annotated[
        int, typer.Option("--cells", help="Cells of a patient and time that are carried at once.")
    ] = 1000,
    draws: Annotated[
        int, typer.Option("--draws", help="How often so many are drawn, where there are more.")
    ] = 5,
    method: Annotated[
        str, typer.Option("--method", help="umap or pca: how cells are laid out in a plane.")
    ] = "umap",
    thin: Annotated[int, typer.Option("--thin", help="One of so many cells is laid out.")] = 10,
    map_cells: Annotated[
        int, typer.Option("--map-cells", help="At most so many cells are laid out.")
    ] = 20000,
    points: Annotated[int, typer.Option("--points", help="Of a barycentre.")] = 500,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", help="Draws of patients for intervals of displacements.")
    ] = 1000,
    seed: Seed = 0,
) -> None:
    """Measure response to treatment: distances of cells between times, and barycentres.

    The time point is a column of the clinical table, which then has a row a tissue (named by
    tissue_id or --tissue), or one of the tables of tokens.
    """
    from dataclasses import replace

    from virtues_core.cli._clinical import joined_cells, tell_notes, this_command
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import Columns
    from virtues_core.cohort.patients.clinical import names_tissues
    from virtues_core.cohort.patients.clinical_file import read_text
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.cohort.response import ResponseConfig, results_of
    from virtues_core.cohort.response import response as measure
    from virtues_core.report import write_report

    config = ResponseConfig(
        timepoints=timepoints,
        epsilon=epsilon,
        cells=cells,
        draws=draws,
        method=method,  # type: ignore[arg-type]  # it checks itself
        thin=thin,
        map_cells=map_cells,
        points=points,
        bootstrap=bootstrap,
        seed=seed,
    )
    check_out(out)
    columns = Columns(patient, tissue=tissue, outcome=outcome, positive=positive)
    raw = read_text(clinical)
    by_clinic = bool(tissue) or (timepoint in raw.columns and names_tissues(raw, columns))
    columns = replace(columns, timepoint=timepoint if by_clinic else "")
    own = "" if by_clinic else timepoint
    joined = joined_cells(paths, clinical, columns, obs=[own] if own else [], intensities=False)
    found = measure(joined, config, timepoint=own, progress=show_progress)
    results = results_of(found, joined, this_command(context))
    write_results(results, out)
    page = write_report(out)
    tell_notes([note for note in found.notes if note not in joined.notes])
    _tell(results.summary["pairs"])
    typer.echo(f"{page}: {len(found.patients)} patients, {', '.join(found.times)}")


def _tell(pairs: "list[dict[str, object]]") -> None:
    """Print one line a pair of times."""
    from virtues_core.report.numbers import number, p_value
    from virtues_core.report.response import adjusted

    for pair in pairs:
        told = (
            f"{pair['from']} → {pair['to']}: {pair['patients']} patients, distance "
            f"{number(pair['median_distance'])}, {number(pair['median_excess'])} beyond that of "
            "shuffled cells (medians)"
        )
        if "p_excess" in pair:
            told += (
                f"; responders against others: {p_value(pair['p_excess'])}{adjusted(pair, pairs)}"
            )
        typer.echo(told)
