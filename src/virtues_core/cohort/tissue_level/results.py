"""What tissue-level prediction leaves in its folder: summary, tables, attention, plots."""

from typing import TYPE_CHECKING, Any

import numpy as np

from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.patients.results import LinkedPlot, Results, cells_of, origin
from virtues_core.cohort.tissue_level.mil import Encoder, TissueLevel
from virtues_core.cohort.tissue_level.predict import by_class

if TYPE_CHECKING:
    import pandas as pd

ANALYSIS = "tissue-level"


def results_of(found: TissueLevel, joined: PatientCells, command: str = "") -> Results:
    """Give what `write_results` writes of a tissue-level prediction.

    ``patients.csv``: outcome, predicted and probabilities (means over a patient's tissues).
    ``cells.parquet``: of each cell, niche or patch x_um, y_um and ``attention``, its weight in its
    tissue by trainings that had not seen the patient, 1 on average. Tables: ``encoders``,
    ``runs``, ``classes``, ``tissues``.

    Parameters
    ----------
    found
        Of `tissue_level`.
    joined
        What it was found in.
    command
        What a person types to have it again.
    """
    tissues = _tissues(found)
    tables = {
        "encoders": _encoders(found),
        "runs": _runs(found),
        "classes": _classes(found),
        "tissues": tissues,
    }
    first = f"p_{found.tissues.classes[-1]}"
    plots = (
        LinkedPlot(
            "tissues", f"Probability of {found.tissues.classes[-1]}", "points", "tissues",
            x="label", y=first, by="predicted", link="patient_id", x_title=found.outcome,
            y_title="probability, patient kept out",
        ),
        LinkedPlot(
            "runs", "Macro F1 of each run", "points", "runs", x="encoder", y="macro_f1",
            by="encoder", y_title="macro F1",
        ),
    )  # fmt: skip
    return Results(
        analysis=ANALYSIS,
        summary=summary_of(found) | origin(joined, found.config, command),
        patients=_patients(found, joined, tissues),
        cells=_attention(found, joined),
        tables=tables,
        plots=plots,
        notes=found.notes,
    )


def summary_of(found: TissueLevel) -> dict[str, Any]:
    """Give the headline numbers; None where no honest one can be given."""
    tokens = found.encoders[0]
    interval = None if found.few else [tokens.scores.low, tokens.scores.high]
    return {
        "outcome": found.outcome,
        "classes": list(found.tissues.classes),
        "level": found.tissues.cells.level,
        "tested_patients": tokens.scores.patients,
        "tested_tissues": int((found.fold >= 0).sum()),
        "macro_f1": float(tokens.macro_f1.mean()),
        "macro_f1_runs": tokens.macro_f1.tolist(),
        "macro_f1_together": tokens.scores.macro_f1,
        "macro_f1_together_90": interval,
        "macro_f1_by_chance": tokens.scores.chance,
        "comparators": {
            other.name: {"macro_f1": float(other.macro_f1.mean()), "p": other.p}
            for other in found.encoders[1:]
        },
    }


def told(summary: dict[str, Any]) -> str:
    """Say in a line how far a model can be relied on."""
    text = (
        f"on {summary['tested_patients']} patients kept out: macro F1 {summary['macro_f1']:.2f} "
        f"(mean of {len(summary['macro_f1_runs'])} runs), by chance "
        f"{summary['macro_f1_by_chance']:.2f}"
    )
    interval = summary["macro_f1_together_90"]
    if interval is None:
        return f"{text}; too few patients for an interval"
    return (
        f"{text}; runs together {summary['macro_f1_together']:.2f} (90 % over patients: "
        f"{interval[0]:.2f} to {interval[1]:.2f})"
    )


def _encoders(found: TissueLevel) -> "pd.DataFrame":
    import pandas as pd

    def row(one: Encoder) -> dict[str, Any]:
        return {
            "encoder": one.name,
            "macro_f1": one.macro_f1.mean(),
            "least": one.macro_f1.min(),
            "most": one.macro_f1.max(),
            "together": one.scores.macro_f1,
            "together_low": np.nan if found.few else one.scores.low,
            "together_high": np.nan if found.few else one.scores.high,
            "chance": one.scores.chance,
            "p": np.nan if one.p is None else one.p,
        }

    return pd.DataFrame([row(one) for one in found.encoders])


def _runs(found: TissueLevel) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        [
            {"encoder": one.name, "run": run + 1, "macro_f1": value}
            for one in found.encoders
            for run, value in enumerate(one.macro_f1.tolist())
        ]
    )


def _classes(found: TissueLevel) -> "pd.DataFrame":
    """Give of each class how well the tokens' runs together told it, and what for they took it."""
    import pandas as pd

    scores = found.encoders[0].scores.scores
    rows = []
    for k, name in enumerate(scores.names):
        own = scores.classes[name]
        taken = {f"told_{other}": n for other, n in zip(scores.names, scores.confusion[k].tolist(),
                                                        strict=True)}  # fmt: skip
        rows.append(
            {"class": name, "count": own.support, "f1": own.f1, "precision": own.precision,
             "recall": own.recall} | taken
        )  # fmt: skip
    return pd.DataFrame(rows)


def _tissues(found: TissueLevel) -> "pd.DataFrame":
    """Give a row a tissue that was tested."""
    import pandas as pd

    own = found.tissues
    rows = []
    for i in np.flatnonzero(found.fold >= 0).tolist():
        said = by_class(found.encoders[0].probabilities[:, i], own.classes)
        rows.append(
            {"tissue_id": own.names[i], "patient_id": own.patients[i], "fold": int(found.fold[i]),
             "instances": len(own.rows[i]), "label": own.classes[own.labels[i]]} | said
        )  # fmt: skip
    return pd.DataFrame(rows)


def _patients(found: TissueLevel, joined: PatientCells, tissues: "pd.DataFrame") -> "pd.DataFrame":
    columns = [f"p_{name}" for name in found.tissues.classes]
    own = tissues.groupby("patient_id").agg(
        {"label": "first", "fold": "first"} | dict.fromkeys(columns, "mean")
    )
    own["predicted"] = [found.tissues.classes[k] for k in own[columns].to_numpy().argmax(axis=1)]
    return joined.patient_rows().merge(own.reset_index(), on="patient_id", how="inner")


def _attention(found: TissueLevel, joined: PatientCells) -> "pd.DataFrame":
    """Give the instances of the tested tissues, and how they were looked at."""
    weight = np.full(len(joined.cells), np.nan, np.float32)
    for rows, own in zip(found.tissues.rows, found.attention, strict=True):
        if len(own):
            weight[rows] = own
    cells = joined.cells.cells
    table = cells_of(joined, x_um=cells["x_um"], y_um=cells["y_um"], attention=weight)
    return table.dropna(subset=["attention"]).reset_index(drop=True)
