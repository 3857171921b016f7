"""``virtues biomarkers discover``: signatures of cells that foretell an outcome."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from virtues_core.cli._clinical import (
    CellPaths,
    ClinicalFile,
    OutcomeColumn,
    OutFolder,
    PatientColumn,
    PositiveValue,
    Seed,
    TissueColumn,
)


def discover(
    context: typer.Context,
    paths: CellPaths,
    clinical: ClinicalFile,
    patient: PatientColumn,
    outcome: OutcomeColumn,
    out: OutFolder,
    tissue: TissueColumn = "",
    positive: PositiveValue = "",
    resolution_from: Annotated[
        float, typer.Option("--resolution-from", help="Lowest resolution of the clusters.")
    ] = 4.0,
    resolution_to: Annotated[float, typer.Option("--resolution-to", help="Highest.")] = 5.0,
    resolution_step: Annotated[
        float, typer.Option("--resolution-step", help="From one to the next.")
    ] = 0.05,
    cells_below: Annotated[
        int, typer.Option("--cells-below", help="Clusters of fewer cells are looked at.")
    ] = 2000,
    most_cells: Annotated[
        int, typer.Option("--most-cells", help="Cells that are clustered; the others join them.")
    ] = 100_000,
    each: Annotated[
        int, typer.Option("--each", help="Signatures of response, and of non-response.")
    ] = 2,
    folds: Annotated[int, typer.Option("--folds", help="Folds of patients.")] = 4,
    nested_repeats: Annotated[
        int, typer.Option("--nested-repeats", help="Partitions of the nested estimate.")
    ] = 5,
    permutations: Annotated[
        int, typer.Option("--permutations", help="Of outcomes, for the p-value; 0: none.")
    ] = 200,
    tumour: Annotated[
        str, typer.Option("--tumour", help="Cell types that are tumour cells, A,B.")
    ] = "",
    cd4: Annotated[str, typer.Option("--cd4", help="Those that are CD4 T cells.")] = "",
    cd8: Annotated[str, typer.Option("--cd8", help="Those that are CD8 T cells.")] = "",
    b: Annotated[str, typer.Option("--b", help="Those that are B cells.")] = "",
    radius_um: Annotated[
        float, typer.Option("--radius-um", help="Cells nearer than this are neighbours.")
    ] = 20.0,
    nearest: Annotated[
        int, typer.Option("--nearest", help="If above 0, so many nearest cells are neighbours.")
    ] = 0,
    forests: Annotated[
        bool, typer.Option("--forests", help="Keep a forest a signature, to carry it over.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Find clusters of cells that foretell an outcome: nested and paper's estimate, a report."""
    from virtues_core.cli._clinical import joined_cells, names_in, tell_notes, this_command
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.biomarkers import DiscoverConfig, results_of
    from virtues_core.cohort.biomarkers import discover as find
    from virtues_core.cohort.biomarkers.forest_file import FOLDER, save_forests
    from virtues_core.cohort.patients import Columns
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.report import write_report

    config = DiscoverConfig(
        resolution_from=resolution_from, resolution_to=resolution_to,
        resolution_step=resolution_step, cells_below=cells_below, most_cells=most_cells,
        each=each, folds=folds, nested_repeats=nested_repeats, permutations=permutations,
        tumour=names_in(tumour), cd4=names_in(cd4), cd8=names_in(cd8), b=names_in(b),
        radius_um=radius_um, nearest=nearest, seed=seed,
    )  # fmt: skip
    check_out(out)
    columns = Columns(patient, tissue=tissue, outcome=outcome, positive=positive)
    joined = joined_cells(paths, clinical, columns)
    found = find(joined, config, progress=show_progress)
    results = results_of(found, this_command(context))
    write_results(results, out)
    page = write_report(out)
    tell_notes([note for note in results.notes if note not in joined.notes])
    _tell(results.summary)
    typer.echo(f"{page}: {results.summary['patients']} patients, {len(found.names)} signatures")
    if forests and found.names:  # last: what was found stays where one cannot be fitted
        save_forests(_forests(found, show_progress), out / FOLDER)


def _forests(found: Any, progress: Any) -> tuple[Any, ...]:
    """Fit a forest a signature."""
    from virtues_core.cohort.biomarkers.forest_source import train_forests
    from virtues_core.cohort.biomarkers.strata import DIRECTIONS
    from virtues_core.cohort.patients import Seen

    joined = found.joined
    members = {name: found.clusters.members(k) for name, k in found.names.items()}
    ways = {name: DIRECTIONS[k not in found.chosen.response] for name, k in found.names.items()}
    return train_forests(
        joined.cells, members, joined.codes, ways,
        seen=Seen.of(joined.cells, joined.owners), seed=found.config.seed, progress=progress,
    )  # fmt: skip


def _tell(summary: Mapping[str, Any]) -> None:
    """Print the headline, the honest figure first."""
    from virtues_core.report.numbers import number, p_value, with_interval

    low, high = summary["auroc_nested_interval"]
    typer.echo(
        f"nested: AUROC {with_interval(summary['auroc_nested'], low, high)}, "
        f"{p_value(summary['permutation_p'])} by permutation"
    )
    typer.echo(
        f"paper's, chosen on the patients judged: AUROC {number(summary['auroc_paper'])}; by "
        f"chance alone {number(summary['auroc_paper_by_chance'])}"
    )
    for one in summary["signatures"]:
        low, high = one["ci"]
        typer.echo(
            f"{one['name']} ({one['direction']}): {one['cells']:,} cells, AUROC alone "
            f"{number(one['auroc'])}, risk ratio {with_interval(one['risk_ratio'], low, high)}, "
            f"q = {number(one['q'])}"
        )
