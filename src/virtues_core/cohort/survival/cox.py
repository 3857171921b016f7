"""Cox's proportional hazards, adjusted for covariates, with a check of that assumption."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from virtues_core.cohort.survival.curves import LEVEL
from virtues_core.cohort.survival.times import LEAST_EVENTS, checked
from virtues_core.errors import InputError

EVENTS_A_TERM = 10
"""Fewer events for each term make intervals too narrow (Peduzzi et al. 1995); it is noted."""
ALPHA_PROPORTIONAL = 0.05
"""Below it, a term's hazard ratio is noted to change with time."""
WIDEST_ERROR = 20.0
"""Standard error of a coefficient, times the standard deviation of its column, above which the
likelihood has no maximum: the column separates those with events from those without."""

_TIGHT = {"precision": 1e-10, "r_precision": 1e-12}
"""Newton's steps go on until another one changes nothing in six digits."""


@dataclass(frozen=True)
class CoxTerm:
    """One column of the model."""

    name: str
    hazard_ratio: float
    """Of one unit more, or of this category against the most frequent one."""
    lower: float
    """Of the 95 % interval."""
    upper: float
    p: float
    """Wald; NaN of a column of two values with fewer than five events at one of them."""
    proportional_p: float
    """Of the check that the ratio is the same at all times (scaled Schoenfeld residuals against
    the rank of time; Grambsch and Therneau 1994). Small: it is not."""


@dataclass(frozen=True)
class CoxModel:
    """A fitted model, or the reason why there is none."""

    terms: tuple[CoxTerm, ...]
    """None where the model could not be fitted."""
    patients: int
    """With all covariates known."""
    events: int
    """Among them."""
    notes: tuple[str, ...] = ()
    why_not: str = ""
    """Why there is no model."""


def cox(times: NDArray[Any], events: NDArray[Any], covariates: pd.DataFrame) -> CoxModel:
    """Fit Cox's model (lifelines, ties by Efron) and check that hazards are proportional.

    Text columns become one term for each category but the most frequent. Patients who lack a
    covariate are left out, columns that never change as well; both are noted.

    Parameters
    ----------
    times
        (P,) follow-up.
    events
        (P,) whether the event was seen.
    covariates
        P rows in the same order; numbers, bool or text.

    Returns
    -------
    CoxModel
        Without terms where there are fewer than five events, where a term separates patients with
        events from those without, or where the fit does not converge; `CoxModel.why_not` says so.

    Raises
    ------
    InputError
        As `checked`; no covariate, or another number of rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> age = rng.normal(60, 10, 500)
    >>> times = rng.exponential(1 / np.exp((age - 60) / 20))
    >>> (term,) = cox(times, np.ones(500), pd.DataFrame({"age": age})).terms
    >>> bool(term.lower < np.exp(1 / 20) < term.upper)
    True
    """
    times, events = checked(times, events)
    if len(covariates) != len(times) or not covariates.shape[1]:
        message = (
            f"expected covariates of {len(times)} patients, found a table of {covariates.shape}. "
            "Name a column or more."
        )
        raise InputError(message)
    known = covariates.notna().all(axis=1).to_numpy()
    notes = _note_missing(covariates, known)
    times, events, covariates = times[known], events[known], covariates[known]
    counts = len(times), int(events.sum())
    if counts[1] < LEAST_EVENTS:
        why = f"a Cox model needs {LEAST_EVENTS} events, found {counts[1]}"
        return CoxModel((), *counts, tuple(notes), why)
    design, still = _design(covariates)
    notes += [f"{name} is the same in all patients and was left out" for name in still]
    if why := "no covariate varies" if design.empty else _separating(design, events):
        return CoxModel((), *counts, tuple(notes), why)
    if counts[1] < EVENTS_A_TERM * design.shape[1]:
        notes.append(
            f"{counts[1]} events for {design.shape[1]} terms: below {EVENTS_A_TERM} for each, "
            "intervals are narrower than they should be"
        )
    terms, why = _fit(design, times, events)
    few = list(
        dict.fromkeys(_few_events(design, events) + _compared_with_few(covariates, design, events))
    )
    terms = tuple(replace(term, p=np.nan) if term.name in few else term for term in terms)
    if terms and few:
        notes.append(
            f"no p-value of {', '.join(few)}: fewer than {LEAST_EVENTS} events with it, without it "
            "or in the category that it is compared with"
        )
    notes += [
        f"the hazard ratio of {term.name} changes with time (p = {term.proportional_p:.2g}): the "
        "one given is an average over the follow-up"
        for term in terms
        if term.proportional_p < ALPHA_PROPORTIONAL
    ]
    return CoxModel(terms, *counts, tuple(notes), why)


def _note_missing(covariates: pd.DataFrame, known: NDArray[np.bool_]) -> list[str]:
    if known.all():
        return []
    each = covariates.isna().sum()
    named = ", ".join(f"{name} ({count})" for name, count in each.items() if count)
    return [f"{int((~known).sum())} patients were left out for want of a covariate: {named}"]


def _design(covariates: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Make columns of numbers, and name those that never change."""
    columns: dict[str, NDArray[np.float64]] = {}
    still = []
    for name, values in covariates.items():
        if values.nunique() < 2:
            still.append(str(name))
        elif pd.api.types.is_numeric_dtype(values):  # bool counts as one
            columns[str(name)] = values.to_numpy(dtype=np.float64)
        else:
            text = values.astype(str)
            for category in list(text.value_counts().sort_index(kind="stable").sort_values(
                ascending=False, kind="stable"
            ).index)[1:]:  # fmt: skip
                columns[f"{name}: {category}"] = (text == category).to_numpy(dtype=np.float64)
    return pd.DataFrame(columns), still


def _separating(design: pd.DataFrame, events: NDArray[np.bool_]) -> str:
    """Say which column of two values has no event at one of them: its ratio is infinite."""
    for name, values in design.items():
        levels = np.unique(values)
        if len(levels) == 2:
            seen = [int(events[(values == level).to_numpy()].sum()) for level in levels]
            if 0 in seen:
                level = levels[seen.index(0)]
                side = f"{name} = {level:g}" if ": " not in str(name) or level else f"not {name}"
                return (
                    f"{name} separates patients with events from those without: there is no "
                    f"event where {side}, so that its hazard ratio has no estimate; leave it out "
                    "or merge categories"
                )
    return ""


def _few_events(design: pd.DataFrame, events: NDArray[np.bool_]) -> list[str]:
    """Name the columns of two values that have too few events at one of them."""
    found = []
    for name, values in design.items():
        levels = np.unique(values)
        if len(levels) == 2:
            seen = int(events[(values == levels[0]).to_numpy()].sum())
            if min(seen, int(events.sum()) - seen) < LEAST_EVENTS:
                found.append(str(name))
    return found


def _compared_with_few(
    covariates: pd.DataFrame, design: pd.DataFrame, events: NDArray[np.bool_]
) -> list[str]:
    """Name categories, of more than two, that are compared with one of too few events."""
    found: list[str] = []
    for name in covariates:
        own = [column for column in design if str(column).startswith(f"{name}: ")]
        reference = ~design[own].any(axis=1).to_numpy()
        if len(own) > 1 and events[reference].sum() < LEAST_EVENTS:
            found += map(str, own)
    return found


def _fit(
    design: pd.DataFrame, times: NDArray[np.float64], events: NDArray[np.bool_]
) -> tuple[tuple[CoxTerm, ...], str]:
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning
    from lifelines.statistics import proportional_hazard_test

    names = list(design.columns)
    plain = [f"x{i}" for i in range(len(names))]  # whatever the user's columns are called
    table = design.set_axis(plain, axis=1).assign(time=times, event=events)
    failed = (
        "the Cox model did not converge: covariates that say the same, or one that separates "
        "patients with events from those without; leave some out"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted = CoxPHFitter(alpha=1 - LEVEL).fit(table, "time", "event", fit_options=_TIGHT)
        except (ConvergenceError, np.linalg.LinAlgError):
            return (), failed
    told = [str(one.message) for one in caught if issubclass(one.category, ConvergenceWarning)]
    error = fitted.standard_errors_.to_numpy()
    wide = error * design.std().to_numpy() > WIDEST_ERROR
    if wide.sum() == 1:
        return (), (
            f"{names[int(wide.argmax())]} separates patients with early events from the others, "
            "so that its hazard ratio has no estimate; leave it out or merge categories"
        )
    if wide.any():
        return (), failed
    if any("Newton" in text for text in told) or not np.isfinite(error).all():
        return (), failed
    ratios = np.exp(fitted.params_.to_numpy())
    bounds = np.exp(fitted.confidence_intervals_.to_numpy())
    proportional = proportional_hazard_test(fitted, table, time_transform="rank")
    by_name = dict(zip(proportional.name, np.atleast_1d(proportional.p_value), strict=True))
    p = fitted.summary["p"].to_numpy()
    return tuple(
        CoxTerm(
            str(name), float(ratios[i]), float(bounds[i, 0]), float(bounds[i, 1]), float(p[i]),
            float(by_name[plain[i]]),
        )
        for i, name in enumerate(names)
    ), ""  # fmt: skip
