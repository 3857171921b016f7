"""Whether a score goes with survival beyond what else is known of patients: Cox models."""

from typing import TYPE_CHECKING

from virtues_core.cohort.survival import cox

if TYPE_CHECKING:
    import pandas as pd

ALONE, ADJUSTED = "score alone", "adjusted"


def score_hazards(
    patients: "pd.DataFrame", covariates: "pd.DataFrame"
) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """Fit the hazard of the score, alone and beside covariates.

    Parameters
    ----------
    patients
        P rows with ``score``, ``time`` and ``event``; index patient_id.
    covariates
        Of at least these patients, by the same index; no columns for none.

    Returns
    -------
    terms
        One row a term: model (score alone, adjusted), term, hazard_ratio (of the score: of one unit
        of R more), lower, upper (95 %), p, proportional_p (small: the ratio changes with time).
    notes
        Why a model could not be fitted, and what a reader should know of it.
    """
    import pandas as pd

    score = patients[["score"]].astype(float)
    beside = covariates.reindex(patients.index)
    models = {ALONE: score} | ({ADJUSTED: score.join(beside)} if len(beside.columns) else {})
    rows, notes = [], []
    for name, table in models.items():
        found = cox(patients["time"].to_numpy(float), patients["event"].to_numpy(bool), table)
        notes += [f"Cox model, {name}: {note}" for note in found.notes]
        if found.why_not:
            notes.append(f"no Cox model, {name}: {found.why_not}")
        rows += [
            {
                "model": name,
                "term": term.name,
                "hazard_ratio": term.hazard_ratio,
                "lower": term.lower,
                "upper": term.upper,
                "p": term.p,
                "proportional_p": term.proportional_p,
                "patients": found.patients,
                "events": found.events,
            }
            for term in found.terms
        ]
    return pd.DataFrame(rows), tuple(notes)
