"""An evaluation of a database → the folder of an analysis."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtues_core.cohort.patients.results import LinkedPlot, Results
from virtues_core.cohort.retrieval.comparison import told
from virtues_core.cohort.retrieval.evaluation import Evaluation, LabelScore, RetrievalConfig

if TYPE_CHECKING:
    import pandas as pd

    from virtues_core.cohort.retrieval.database import TissueDatabase

COMPOSITION = "cell type composition (L1)"
PIXELS = "pixels (sliced Wasserstein)"


def results_of(
    found: Evaluation, database: "TissueDatabase", config: RetrievalConfig, command: str = ""
) -> Results:
    """Lay out what was found as tables, with the headline numbers.

    Tables: ``precision`` and ``against_chance`` (a row a label), ``values`` (a row a value of a
    label), ``distances`` (a row a measure), ``matches`` (a row a query and rank).

    Parameters
    ----------
    found
        By `evaluate_retrieval`.
    database
        Of what.
    config
        How.
    command
        What a person types to have it again.
    """
    import pandas as pd

    compared = {COMPOSITION: found.composition, PIXELS: found.pixels}
    distances = [{"measure": name, **told(one)} for name, one in compared.items() if one]
    tables = {
        "precision": pd.DataFrame(
            [{"label": name, **told(one.precision)} for name, one in found.labels.items()]
        ).drop(columns=["difference", "difference_lower", "difference_upper"]),
        "against_chance": pd.DataFrame(
            [_against_chance(name, one) for name, one in found.labels.items()]
        ),
        "values": pd.DataFrame(
            [
                {"label": label, "value": value, "tissues": n, "retrieved": hit, "random": drawn}
                for label, one in found.labels.items()
                for value, (n, hit, drawn) in one.values.items()
            ]
        ),
        "matches": _matches(found, config),
    }
    if distances:
        tables["distances"] = pd.DataFrame(distances)
    plots = [
        LinkedPlot(
            "precision", f"Matches that share the label, of {config.top}", "bars", "precision",
            "label", "retrieved", y_title="mean precision",
        ),
        LinkedPlot(
            "distances", "Distance of each match", "points", "matches", "rank", "distance",
            link="patient_id", x_title="rank", y_title="2-Wasserstein distance",
        ),
    ]  # fmt: skip
    return Results(
        analysis="retrieval",
        summary=_summary(found, database, config, command),
        patients=_patients(found, config),
        tables=tables,
        plots=tuple(plots),
        notes=found.notes,
    )


def _against_chance(name: str, score: LabelScore) -> dict[str, Any]:
    test, row = score.test, told(score.precision)
    kind = "exact binomial" if test.exact else "chi-square"
    return {
        "label": name,
        "expected_random": score.expected,
        **{key: value for key, value in row.items() if key.startswith("difference")},
        "only_retrieved": test.first,
        "only_random": test.second,
        "statistic": test.statistic,
        "p": test.p,
        "test": "–" if test.p is None else kind,
    }


def _matches(found: Evaluation, config: RetrievalConfig) -> "pd.DataFrame":
    """Give a row for each query and rank."""
    import pandas as pd

    rows = []
    for case in found.cases:
        ranked = zip(case.matches, case.distances, case.drawn, strict=True)
        for rank, (match, distance, drawn) in enumerate(ranked, start=1):
            row: dict[str, Any] = {
                "tissue_id": case.query.tissue_id,
                "patient_id": case.query.patient_id,
                "rank": rank,
                "distance": distance,
                "match": match.tissue_id,
                "match_patient": match.patient_id,
                "drawn": drawn.tissue_id,
                "drawn_patient": drawn.patient_id,
            }
            for label in config.labels:
                own = str(case.query.clinical[label])
                row[f"{label}_matched"] = str(match.clinical[label]) == own
                row[f"{label}_drawn"] = str(drawn.clinical[label]) == own
            rows.append(row)
    return pd.DataFrame(rows)


def _patients(found: Evaluation, config: RetrievalConfig) -> "pd.DataFrame":
    """Give a row for each patient: the mean precision of the queries."""
    import pandas as pd

    matches = _matches(found, config)
    named = matches.groupby("patient_id", sort=True)
    rows = pd.DataFrame(
        {"tissues": named["tissue_id"].agg(lambda names: ";".join(dict.fromkeys(names)))}
    )
    for label in config.labels:
        rows[f"{label}_precision"] = named[f"{label}_matched"].mean()
    return rows.reset_index()


def _summary(
    found: Evaluation, database: "TissueDatabase", config: RetrievalConfig, command: str
) -> dict[str, Any]:
    first = [case.query for case in found.cases]
    return {
        "precision": {name: told(one.precision) for name, one in found.labels.items()},
        "mcnemar_p": {name: one.test.p for name, one in found.labels.items()},
        "composition": found.composition and told(found.composition),
        "pixels": found.pixels and told(found.pixels),
        "tissues": len(found.cases),
        "patients": len({one.patient_id for one in first}),
        "solved_share": sum(c.solved for c in found.cases) / sum(c.candidates for c in found.cases),
        "settings": {**dataclasses.asdict(config), "database": database.settings.to_dict()},
        "command": command,
        "folder": str(Path.cwd()),
        "database": str(database.path),
        "images": {one.tissue_id: one.source for one in first if one.source},
    }
