"""What a measured response leaves in its folder: summary, tables and plots."""

from typing import TYPE_CHECKING, Any

from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.patients.results import LinkedPlot, Results, origin
from virtues_core.cohort.patients.token_file import NUMBER
from virtues_core.cohort.response.response import Response

if TYPE_CHECKING:
    import pandas as pd

ANALYSIS = "response"


def results_of(found: Response, joined: PatientCells, command: str = "") -> Results:
    """Give what `write_results` writes of a response.

    ``patients.csv``: group, timepoints, and of each pair of times the distance and its excess.
    ``cells.parquet``: the cells that were laid out, with timepoint, group, map_x and map_y.
    Tables: ``distances`` (a row a patient and pair of times), ``comparisons`` (with an outcome),
    ``barycentres``, ``displacements``.

    Parameters
    ----------
    found
        Of `response`.
    joined
        What it was found in.
    command
        What a person types to have it again.
    """
    distances = found.distances.assign(
        times=found.distances["from"] + " → " + found.distances["to"]
    )
    tables = {
        "distances": distances,
        "comparisons": found.comparisons,
        "barycentres": found.barycentres,
        "displacements": found.displacements,
    }
    plots = (
        LinkedPlot(
            "distances", "Distance of each patient's cells between times", "points", "distances",
            x="shuffled", y="distance", by="group", link="patient_id",
            x_title="distance when times are shuffled", y_title="distance",
        ),
        LinkedPlot(
            "barycentres", "Barycentres of the groups", "points", "barycentres", x="x", y="y",
            by="place", link="group", x_title="map, first axis", y_title="map, second axis",
        ),
    )  # fmt: skip
    tables["barycentres"] = found.barycentres.assign(
        place=found.barycentres["group"] + ", " + found.barycentres["timepoint"]
    )
    return Results(
        analysis=ANALYSIS,
        summary=_summary(found) | origin(joined, found.config, command),
        patients=_patients(found, joined),
        cells=_cells(found, joined),
        tables={name: table for name, table in tables.items() if len(table)},
        plots=plots,
        notes=found.notes,
    )


def _summary(found: Response) -> dict[str, Any]:
    pairs = []
    for (start, end), own in found.distances.groupby(["from", "to"], sort=False):
        pair: dict[str, Any] = {
            "from": start,
            "to": end,
            "patients": len(own),
            "median_distance": float(own["distance"].median()),
            "median_excess": float(own["excess"].median()),
        }
        told = found.comparisons
        if len(told):
            same = told[(told["from"] == start) & (told["to"] == end)].set_index("measure")
            pair |= {f"p_{name}": float(same["p"][name]) for name in ("excess", "distance")}
            pair |= {
                f"p_{name}_holm": float(same["p_holm"][name]) for name in ("excess", "distance")
            }
            pair |= {f"auc_{name}": float(same["auc"][name]) for name in ("excess", "distance")}
        pairs.append(pair)
    groups = found.patients["group"]
    counts = {name: int((groups == name).sum()) for name in found.groups}
    return {"timepoints": list(found.times), "groups": counts, "pairs": pairs}


def _patients(found: Response, joined: PatientCells) -> "pd.DataFrame":
    table = joined.patient_rows().merge(found.patients, on="patient_id", how="left")
    for (start, end), own in found.distances.groupby(["from", "to"], sort=False):
        for name in ("distance", "excess"):
            values = own.set_index("patient_id")[name]
            table[f"{name} {start} → {end}"] = table["patient_id"].map(values)
    return table


def _cells(found: Response, joined: PatientCells) -> "pd.DataFrame":
    own = joined.cells.cells
    number = NUMBER[joined.cells.level]
    rows = own.loc[found.mapped["row"], ["tissue_id", number]].reset_index(drop=True)
    return rows.join(found.mapped.drop(columns="row").reset_index(drop=True))
