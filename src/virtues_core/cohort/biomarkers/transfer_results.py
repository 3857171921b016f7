"""A transfer as the folder that an analysis leaves."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from virtues_core.cohort.biomarkers.strata import strata_names
from virtues_core.cohort.biomarkers.transfer import Transfer, TransferConfig
from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.patients.results import LinkedPlot, Results, cells_of, origin
from virtues_core.cohort.survival import survival_curve

if TYPE_CHECKING:
    import pandas as pd

_SURE = 0.05


def transfer_results(
    found: Transfer,
    joined: PatientCells,
    config: TransferConfig,
    *,
    source: str = "",
    command: str = "",
) -> Results:
    """Lay out a transfer: headline numbers, tables, plots.

    Parameters
    ----------
    found
        By `transfer`.
    joined
        The cohort it was made of.
    config
        Its settings.
    source
        Folder that the signatures come from.
    command
        That repeats it.

    Returns
    -------
    Results
        Tables: strata, curves, concordances, forests, hazards, labels where asked for, and those of
        `Interpretation`. Cells: for each signature whether a cell belongs to it (its name) and the
        share of trees that say so (``probability_<name>``), and the stratum of its patient.
    """
    patients = joined.patient_rows().merge(found.patients.reset_index(), on="patient_id")
    tables = {
        "strata": found.strata,
        "curves": _curves(found.patients, config),
        "concordances": found.concordances,
        "forests": _forests(found),
        **({"hazards": found.hazards} if len(found.hazards) else {}),
        **({"labels": found.labels} if len(found.labels) else {}),
        **found.interpretation.tables,
    }
    columns: dict[str, Any] = {}
    members = found.members
    for s, forest in enumerate(found.forests):
        columns[forest.name] = members[s]
        columns[f"probability_{forest.name}"] = found.probability[s]
    return Results(
        analysis="transfer",
        summary=_summary(found) | {"source": source} | origin(joined, config, command),
        patients=patients,
        cells=cells_of(joined, **columns),
        tables=tables,
        plots=_plots(tables),
        notes=(*_verdict(found), *found.notes, *joined.notes),
    )


def _summary(found: Transfer) -> dict[str, Any]:
    scores = found.concordances.set_index("score")
    own = scores.loc["signature score R"]
    kept = found.interpretation.sizes.set_index("signature")[["cells", "share"]]
    sizes = kept.astype(float).to_dict("index")
    return {
        "logrank_p": found.logrank.p,
        "logrank_statistic": found.logrank.statistic,
        "why_no_p": found.logrank.why_not,
        "concordance": own["concordance"],
        "concordance_interval": [own["lower"], own["upper"]],
        "concordance_strata": scores.loc["signature strata", "concordance"],
        "strata": found.strata.to_dict("records"),
        "signatures": [
            {
                "name": forest.name,
                "direction": forest.direction,
                "cells": int(sizes[forest.name]["cells"]),
                "share": sizes[forest.name]["share"],
                "share_where_found": forest.share,
                "held_out": dataclasses.asdict(forest.scores[0]),
            }
            for forest in found.forests
        ],
        "checkpoint": found.forests[0].classifier.checkpoint,
    }


def _verdict(found: Transfer) -> tuple[str, ...]:
    """Say in words what the score tells of survival, first of all where that is nothing."""
    row = found.concordances.set_index("score").loc["signature score R"]
    told = f"concordance {row['concordance']:.3f}, 95 % interval {row['lower']:.3f} to "
    told += f"{row['upper']:.3f}"
    notes = []
    if np.isnan(row["lower"]) or row["lower"] <= 0.5 <= row["upper"]:
        notes.append(f"the score does not order these patients by survival ({told})")
    elif row["upper"] < 0.5:
        notes.append(
            "the score orders patients the other way round: who has more of the response "
            f"signatures fares worse here ({told})"
        )
    if found.logrank.p is None:
        notes.append(f"no p-value of the high against the low stratum: {found.logrank.why_not}")
    elif found.logrank.p >= _SURE:
        notes.append(
            "no difference in survival was shown between the high and the low stratum (log-rank "
            f"p = {found.logrank.p:.2g})"
        )
    return tuple(notes)


def _curves(patients: "pd.DataFrame", config: TransferConfig) -> "pd.DataFrame":
    """Kaplan-Meier estimates of the strata, one below the other."""
    import pandas as pd

    parts = []
    for name in strata_names(config.names):
        own = patients[(patients["stratum"] == name) & patients["time"].notna()]
        if not len(own):
            continue
        curve = survival_curve(own["time"].to_numpy(float), own["event"].to_numpy(bool))
        columns = ("times", "survival", "lower", "upper", "at_risk", "events", "censored")
        part = pd.DataFrame({column: getattr(curve, column) for column in columns})
        parts.append(part.rename(columns={"times": "time"}).assign(stratum=name))
    return pd.concat(parts, ignore_index=True)


def _forests(found: Transfer) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        [
            {"signature": forest.name, "direction": forest.direction} | dataclasses.asdict(score)
            for forest in found.forests
            for score in forest.scores
        ]
    )


def _plots(tables: "dict[str, pd.DataFrame]") -> tuple[LinkedPlot, ...]:
    plots = [
        LinkedPlot(
            "survival", "Survival by stratum", "steps", "curves", "time", "survival",
            by="stratum", link="stratum", x_title="time", y_title="survival",
        ),
        LinkedPlot(
            "concordance", "Concordance with survival", "bars", "concordances", "score",
            "concordance", y_title="concordance (0.5: chance)",
        ),
        LinkedPlot(
            "score", "Score and survival of each patient", "points", "patients", "score", "time",
            by="event", link="patient_id", x_title="score R", y_title="time",
        ),
    ]  # fmt: skip
    return (*plots, *signature_plots(tables))


def signature_plots(tables: "dict[str, pd.DataFrame]") -> tuple[LinkedPlot, ...]:
    """Give plots of the tables of an `Interpretation`, those that are there.

    Parameters
    ----------
    tables
        Of an analysis folder.
    """
    plots = (
        LinkedPlot(
            "composition", "Cell types of the signatures against the cohort", "heat",
            "signature_composition", "cell_type", "signature", by="log2_change",
            link="signature",
        ),
        LinkedPlot(
            "markers", "Markers of the signatures", "heat", "signature_markers", "marker",
            "signature", by="mean", link="signature",
        ),
        LinkedPlot(
            "regions", "Densest regions", "points", "signature_regions", "cells",
            "cells_inside", by="signature", link="tissue_id", x_title="cells of the region",
            y_title="of the signature",
        ),
    )  # fmt: skip
    return tuple(plot for plot in plots if plot.table in tables)
