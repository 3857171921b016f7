"""``virtues biomarkers transfer``: signatures of one cohort in another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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
from virtues_core.errors import InputError


def transfer(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder of `virtues biomarkers discover`, or of the forests that one kept.",
        ),
    ],
    paths: CellPaths,
    clinical: ClinicalFile,
    patient: PatientColumn,
    time: TimeColumn,
    event: EventColumn,
    out: OutFolder,
    tissue: TissueColumn = "",
    covariates: Covariates = "",
    high_above: Annotated[
        float, typer.Option("--high-above", help="Scores above are the high stratum.")
    ] = 2.0,
    low_below: Annotated[
        float, typer.Option("--low-below", help="Scores below are the low stratum.")
    ] = -1.0,
    names: Annotated[
        str,
        typer.Option("--names", help="score: strata by their score; paper: low- to high-risk."),
    ] = "score",
    by: Annotated[
        str,
        typer.Option("--by", help="Clinical column: cells of signatures by its values."),
    ] = "",
    tumour: Annotated[
        str, typer.Option("--tumour", help="Cell types that are tumour cells, A,B.")
    ] = "",
    cd4: Annotated[str, typer.Option("--cd4", help="Those that are CD4 T cells.")] = "",
    cd8: Annotated[str, typer.Option("--cd8", help="Those that are CD8 T cells.")] = "",
    b: Annotated[str, typer.Option("--b", help="Those that are B cells.")] = "",
    draws: Annotated[
        int, typer.Option("--draws", help="Of patients, for intervals of concordance.")
    ] = 1000,
    radius_um: Annotated[
        float, typer.Option("--radius-um", help="Cells nearer than this are neighbours.")
    ] = 20.0,
    nearest: Annotated[
        int, typer.Option("--nearest", help="If above 0, so many nearest cells are neighbours.")
    ] = 0,
    seed: Seed = 0,
) -> None:
    """Find signatures in another cohort and set its patients' survival against them."""
    from virtues_core.cli._clinical import joined_cells, names_in, tell_notes, this_command
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.biomarkers.forest_file import FOLDER, save_forests
    from virtues_core.cohort.biomarkers.forest_source import forests_of
    from virtues_core.cohort.biomarkers.transfer import TransferConfig
    from virtues_core.cohort.biomarkers.transfer import transfer as carry_over
    from virtues_core.cohort.biomarkers.transfer_results import transfer_results
    from virtues_core.cohort.patients import Columns
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.report import write_report

    config = TransferConfig(
        high_above=high_above,
        low_below=low_below,
        names=names,  # type: ignore[arg-type]  # it checks itself
        by=by,
        tumour=names_in(tumour),
        cd4=names_in(cd4),
        cd8=names_in(cd8),
        b=names_in(b),
        draws=draws,
        radius_um=radius_um,
        nearest=nearest,
        seed=seed,
    )
    _check_apart(folder, check_out(out))
    columns = Columns(
        patient, tissue=tissue, time=time, event=event, covariates=names_in(covariates)
    )
    joined = joined_cells(paths, clinical, columns)
    forests = forests_of(folder, seed=seed, progress=show_progress)
    found = carry_over(joined, forests, config, progress=show_progress)
    command = this_command(context)
    results = transfer_results(found, joined, config, source=str(folder), command=command)
    write_results(results, out)
    size = save_forests(forests, out / FOLDER)
    page = write_report(out)
    tell_notes([note for note in results.notes if note not in joined.notes])
    _tell(results.summary)
    typer.echo(
        f"{page}: {len(found.patients)} patients, {len(forests)} signatures "
        f"(forests: {size / 1e6:.1f} MB, in {out / FOLDER})"
    )


def _check_apart(folder: Path, out: Path) -> None:
    """See that the discovery is not replaced by what comes of it."""
    source = folder.resolve()
    if out.resolve() in {source, *source.parents}:
        message = (
            f"expected another folder to write than that of the discovery, found {str(out)!r} for "
            "both. Choose another --out."
        )
        raise InputError(message)


def _tell(summary: Mapping[str, Any]) -> None:
    """Print the headline."""
    from virtues_core.report.numbers import number, p_value, with_interval

    low, high = summary["concordance_interval"]
    typer.echo(f"concordance of the score: {with_interval(summary['concordance'], low, high)}")
    for one in summary["strata"]:
        typer.echo(
            f"{one['stratum']}: {number(one['patients'])} patients, {number(one['events'])} events"
        )
    typer.echo(f"high against low: {p_value(summary['logrank_p'])}")
