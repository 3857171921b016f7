"""What a stratification leaves in its folder: tables, linked plots, headline numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.results import LinkedPlot, Results, cells_of, origin
from virtues_core.cohort.survival.compare import Comparison
from virtues_core.cohort.survival.curves import curve_table, expected_events, logrank
from virtues_core.cohort.survival.restricted import RestrictedMean
from virtues_core.cohort.survival.stratify import Stratification

if TYPE_CHECKING:
    import pandas as pd

HIGH, LOW = "high", "low"
PLOTS = (
    LinkedPlot(
        "survival", "Survival by risk, told by other patients", "steps", "survival",
        "time", "survival", "risk", "risk", "time", "probability of survival",
    ),
    LinkedPlot(
        "survival_on_data", "Survival by risk, chosen on the data (paper)", "steps",
        "survival_on_data", "time", "survival", "risk_on_data", "risk_on_data", "time",
        "probability of survival",
    ),
    LinkedPlot(
        "survival_by_group", "Survival by group", "steps", "survival_by_group", "time",
        "survival", "group", "group", "time", "probability of survival",
    ),
    LinkedPlot(
        "patients", "Patients by composition", "points", "map_patients", "x", "y", "group",
        "patient_id",
    ),
    LinkedPlot(
        "cells", "Cells by token, coloured by the patient's risk", "points", "map_cells", "x", "y",
        "risk", "state",
    ),
    LinkedPlot(
        "states", "States in patients of high against low risk", "bars", "states", "state",
        "log2_ratio", "", "state", "state", "log2 of the ratio of mean shares",
    ),
    LinkedPlot(
        "stability", "Concordance with other seeds, groups and folds", "points", "stability",
        "adjusted_rand", "concordance", "varied", "", "adjusted Rand index of the groups",
        "concordance out of fold",
    ),
)  # fmt: skip


def results_of(found: Stratification, command: str = "") -> Results:
    """Put a stratification into tables.

    Parameters
    ----------
    found
        By `stratify`.
    command
        What a person types to have it again.
    """
    risk, on_data = _named(found.out_of_fold.high), _named(found.high_on_data)
    group = found.groups + 1
    patients = found.joined.patient_rows().assign(
        time=found.times, event=found.events.astype(int), group=group, risk=risk,
        risk_on_data=on_data, fold=found.out_of_fold.fold + 1,
    )  # fmt: skip
    tables = {
        "comparisons": _comparisons(found),
        "mean_survival": _mean_survival(found),
        "groups": _groups(found),
        "cox": _cox(found),
        "stability": _stability(found),
        "survival": curve_table(found.times, found.events, risk, "risk"),
        "survival_on_data": curve_table(found.times, found.events, on_data, "risk_on_data"),
        "survival_by_group": curve_table(found.times, found.events, group),
        "states": _states(found),
        "composition": _composition(found),
        "map_patients": patients[["patient_id", "group", "risk"]].assign(
            x=found.patient_places[:, 0], y=found.patient_places[:, 1]
        ),
        "map_cells": _cell_map(found, risk),
        "permutations": _frame([{"statistic": value} for value in found.permutations]),
    }
    if found.structures:
        tables["structures"] = _structures(found)
    return Results(
        "stratify",
        _summary(found, tables["groups"]) | origin(found.joined, found.config, command),
        patients,
        cells_of(found.joined, state=found.states),
        tables,
        PLOTS,
        found.notes,
    )


def _summary(found: Stratification, groups: "pd.DataFrame") -> dict[str, Any]:
    honest, on_data = found.comparisons
    scored = honest.concordance
    return {
        "logrank_p": found.logrank_p,
        "concordance": scored.value,
        "concordance_interval": [scored.lower, scored.upper],
        "groups": groups.to_dict("records"),
        "logrank_statistic": honest.logrank.statistic,
        "logrank_signed_root": found.signed_root,
        "groups_logrank_p": logrank(found.times, found.events, found.groups).p,
        "chosen_on_data": {
            "logrank_p": on_data.logrank.p,
            "logrank_statistic": on_data.logrank.statistic,
            "concordance": on_data.concordance.value,
        },
        "patients": len(found.times),
        "events": int(found.events.sum()),
        "cells_analysed": int((found.joined.codes >= 0).sum()),
    }


def _named(high: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(high, HIGH, LOW)


def _frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows)


def _comparisons(found: Stratification) -> "pd.DataFrame":
    honest, on_data = found.comparisons
    of_groups = logrank(found.times, found.events, found.groups)
    return _frame(
        [
            _compared(honest, "out of fold", found.logrank_p, "permutation"),
            {
                "told": "groups, not merged",
                "statistic": of_groups.statistic,
                "degrees": of_groups.degrees,
                "p": of_groups.p,
                "p_by": "chi-squared",
            },
            _compared(on_data, "chosen on the data", on_data.logrank.p, "chi-squared"),
        ]
    )


def _compared(one: Comparison, told: str, p: float | None, by: str) -> dict[str, Any]:
    scored = one.concordance
    return {
        "told": told,
        "statistic": one.logrank.statistic,
        "degrees": one.logrank.degrees,
        "p": p,
        "p_by": by,
        "concordance": scored.value,
        "lower": scored.lower,
        "upper": scored.upper,
    }


def _mean_survival(found: Stratification) -> "pd.DataFrame":
    def row(told: str, of: str, mean: RestrictedMean | None) -> dict[str, Any]:
        names = ("mean", "lower", "upper", "horizon")
        values = (mean.value, mean.lower, mean.upper, mean.horizon) if mean else (None,) * 4
        return {"told": told, "of": of} | dict(zip(names, values, strict=True))

    return _frame(
        [
            row(one.name, of, mean)
            for one in found.comparisons
            for of, mean in (
                ("high risk", one.high_mean),
                ("low risk", one.low_mean),
                ("low less high", one.mean_difference),
            )
        ]
    )


def _groups(found: Stratification) -> "pd.DataFrame":
    from virtues_core.cohort.survival.curves import survival_curve

    expected = expected_events(found.times, found.events)
    rows = []
    for number in range(int(found.groups.max()) + 1):
        own = found.groups == number
        median = survival_curve(found.times[own], found.events[own]).median
        rows.append(
            {
                "group": number + 1,
                "patients": int(own.sum()),
                "events": int(found.events[own].sum()),
                "expected_events": float(expected[own].sum()),
                "median_survival": median if np.isfinite(median) else None,
                "risk_on_data": HIGH if found.high_on_data[own].any() else LOW,
                "folds_of_high_risk": int(found.out_of_fold.merges[:, number].sum()),
            }
        )
    return _frame(rows)


def _cox(found: Stratification) -> "pd.DataFrame":
    names = ("term", "hazard_ratio", "lower", "upper", "p", "proportional_p")
    rows = [
        {"told": one.name}
        | dict(
            zip(
                names,
                (t.name, t.hazard_ratio, t.lower, t.upper, t.p, t.proportional_p),
                strict=True,
            )
        )
        for one in found.comparisons
        for t in one.cox.terms
    ]
    return _frame(rows or [dict.fromkeys(("told", *names))])


def _stability(found: Stratification) -> "pd.DataFrame":
    return _frame(
        [
            {
                "varied": run.varied,
                "seed": run.seed,
                "groups": run.groups,
                "adjusted_rand": run.adjusted_rand,
                "concordance": run.concordance,
                "smallest_group": run.smallest,
            }
            for run in found.runs
        ]
    )


def _structures(found: Stratification) -> "pd.DataFrame":
    rows = []
    ways = {
        "out of fold": found.out_of_fold.high,
        "on the data": found.high_on_data,
        "survival alone": found.high_by_survival,
    }
    for structure in found.structures:
        for told, high in ways.items():
            one = structure.risk_ratio(high)
            rows.append(
                {
                    "structure": structure.name,
                    "told": told,
                    "ratio": one.ratio,
                    "lower": one.lower,
                    "upper": one.upper,
                    "present_high": one.present,
                    "patients_high": one.patients,
                    "present_low": one.present_others,
                    "patients_low": one.patients_others,
                    "note": one.why_not or ("half added to each count" if one.corrected else ""),
                }
            )
    return _frame(rows)


def _states(found: Stratification) -> "pd.DataFrame":
    """Share of each state in patients of high and low risk, and its commonest cell type."""
    high = found.out_of_fold.high
    own = found.joined.codes >= 0
    count = found.composition.shape[1]
    nothing = np.full(count, np.nan)
    shares = [found.composition[s].mean(0) if s.any() else nothing for s in (high, ~high)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log2(shares[0] / shares[1])
    table = _frame([{"state": state} for state in range(count)]).assign(
        cells=np.bincount(found.states[own], minlength=count),
        patients=(found.composition > 0).sum(0),
        share_high=shares[0],
        share_low=shares[1],
        log2_ratio=np.where(np.isfinite(ratio), ratio, np.nan),
    )
    cells = found.joined.cells.cells
    if "cell_type" in cells:
        codes = cells["cell_type"].cat.codes.to_numpy()[own].astype(np.int64)
        types = len(cells["cell_type"].cat.categories)
        places = found.states[own].astype(np.int64) * types + codes
        counted = np.bincount(places, minlength=count * types).reshape(count, types)
        names = np.asarray(cells["cell_type"].cat.categories.astype(str))
        table["cell_type"] = names[counted.argmax(1)]
        table["cell_type_share"] = counted.max(1) / np.maximum(counted.sum(1), 1)
    return table.sort_values("log2_ratio", ascending=False, ignore_index=True)


def _composition(found: Stratification) -> "pd.DataFrame":
    import pandas as pd

    names = [f"state_{state}" for state in range(found.composition.shape[1])]
    table = pd.DataFrame(found.composition, columns=names)
    table.insert(0, "patient_id", found.joined.patients)
    return table


def _cell_map(found: Stratification, risk: NDArray[Any]) -> "pd.DataFrame":
    rows = found.layout_rows
    columns = [c for c in found.config.structures if c in found.joined.cells.cells]
    table = found.joined.cells.cells.iloc[rows][["tissue_id", *columns]].reset_index(drop=True)
    codes = found.joined.codes[rows]
    return table.assign(
        patient_id=np.asarray(found.joined.patients, dtype=object)[codes],
        x=found.cell_places[:, 0],
        y=found.cell_places[:, 1],
        state=found.states[rows],
        group=found.groups[codes] + 1,
        risk=risk[codes],
    )
