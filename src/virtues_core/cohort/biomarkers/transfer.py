"""Signatures of one cohort found in another, and whether they order its patients by survival.

Source: the paper, Methods, "Transferring predictive virtual spatial biomarkers across datasets";
Fig. 5h-k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.forest import SignatureForest
from virtues_core.cohort.biomarkers.hazards import score_hazards
from virtues_core.cohort.biomarkers.interpret import Interpretation, cell_types, interpret
from virtues_core.cohort.biomarkers.interpret_config import InterpretConfig
from virtues_core.cohort.biomarkers.membership import (
    check_tokens,
    member_probability,
    others_alike,
    prevalence_notes,
)
from virtues_core.cohort.biomarkers.ranks import ranks as rank_proportions
from virtues_core.cohort.biomarkers.ratios import RatioTypes, cell_ratios, tertiles
from virtues_core.cohort.biomarkers.strata import (
    HIGH_ABOVE,
    LOW_BELOW,
    Naming,
    signature_score,
    strata,
    strata_names,
)
from virtues_core.cohort.biomarkers.walk import Progress
from virtues_core.cohort.patients import PatientCells, counts
from virtues_core.cohort.survival import LogRank, concordance, logrank
from virtues_core.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pandas as pd

LOW, MIDDLE, HIGH = 0, 1, 2


@dataclass(frozen=True)
class TransferConfig:
    """How signatures are carried to another cohort."""

    high_above: float = HIGH_ABOVE
    """Patients with a score R above this are the high stratum."""
    low_below: float = LOW_BELOW
    """Patients with a score R below this are the low stratum; on a border is in the middle."""
    names: Naming = "score"
    """score: strata are called by their score; paper: low-, medium- and high-risk, as there."""
    by: str = ""
    """Column of the clinical table among whose values the cells of signatures are dealt out."""
    tumour: tuple[str, ...] = ()
    """Cell types that count as tumour cells in the ratios; usual names if empty."""
    cd4: tuple[str, ...] = ()
    """Those that count as CD4 T cells."""
    cd8: tuple[str, ...] = ()
    """Those that count as CD8 T cells."""
    b: tuple[str, ...] = ()
    """Those that count as B cells."""
    draws: int = 1000
    """Of patients with replacement, for the intervals of concordance."""
    radius_um: float = 20.0
    """Cells no farther apart than this are neighbours, µm."""
    nearest: int = 0
    """If above 0, neighbours are instead so many nearest cells."""
    seed: int = 0
    """Draws trees, where forests are fitted, and patients."""

    def __post_init__(self) -> None:
        try:
            strata(np.zeros(0), high_above=self.high_above, low_below=self.low_below)
            strata_names(self.names)
        except InputError as error:
            message = f"high_above, low_below, names: {error}"
            raise ConfigError(message) from error
        if not np.isfinite([self.high_above, self.low_below]).all():
            message = (
                "high_above, low_below: expected numbers, found "
                f"{self.high_above!r} and {self.low_below!r}."
            )
            raise ConfigError(message)
        if self.draws < 100:
            message = f"draws: expected 100 or more for an interval, found {self.draws!r}."
            raise ConfigError(message)
        self.interpretation  # noqa: B018 - checks itself

    @property
    def interpretation(self) -> InterpretConfig:
        """How the signatures are looked at."""
        return InterpretConfig(radius_um=self.radius_um, nearest=self.nearest, seed=self.seed)

    @property
    def ratio_types(self) -> RatioTypes:
        """What the ratios are made of."""
        return RatioTypes(self.tumour, self.cd4, self.cd8, self.b)


@dataclass(frozen=True, eq=False)
class Transfer:
    """S signatures in a cohort of N cells and P patients."""

    forests: tuple[SignatureForest, ...]
    probability: NDArray[np.float32]
    """(S, N) share of trees that call a cell a member; a member has more than a half."""
    patients: "pd.DataFrame"
    """P rows, index patient_id: score, stratum, of each signature its share (``share_<name>``) and
    rank (``rank_<name>``), ratios by tertile, time and event where known."""
    strata: "pd.DataFrame"
    """Three rows, from low to high: stratum, patients, followed (of known survival), events."""
    logrank: LogRank
    """High against low stratum."""
    concordances: "pd.DataFrame"
    """One row a score: score, patients, concordance (that a patient with more of it lives longer;
    for ratios, less of it) with lower and upper (95 %, patients drawn)."""
    hazards: "pd.DataFrame"
    """Cox models of the score, alone and beside covariates; see `score_hazards`."""
    labels: "pd.DataFrame"
    """Where `TransferConfig.by` is given, one row a signature and value of that column: signature,
    value, cells, share (of the signature's cells), cohort_share (of all cells)."""
    interpretation: Interpretation
    notes: tuple[str, ...] = ()

    @property
    def members(self) -> NDArray[np.bool_]:
        """(S, N) whether a cell belongs to a signature."""
        return self.probability > 0.5


def transfer(
    joined: PatientCells,
    forests: Sequence[SignatureForest],
    config: TransferConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Transfer:
    """Find signatures in another cohort and set its patients' survival against them.

    Tertiles that ranks are made of are those of this cohort's patients, as in the paper. Nothing
    is fitted to survival: score, borders and direction are fixed before it is looked at. Patients
    whom the signatures were chosen by are refused: what is seen in them is no test.

    Parameters
    ----------
    joined
        The other cohort; its clinical table names time and event, and covariates if any.
    forests
        Of `train_forest`, or from a file.
    config
        Borders, names, comparisons.
    progress
        Called with what is done of how much, and what.

    Raises
    ------
    InputError
        Tokens of another checkpoint than the forests were fitted on; patients whom the signatures
        were chosen by; no time and event; no column of the name in ``by``.
    """
    config = config or TransferConfig()
    survival = joined.clinical.survival()
    labels = _label_of_patients(joined, config.by)
    check_tokens(joined.cells, forests)
    notes = [*others_alike(joined, forests), *joined.several_tissues()]
    probability = member_probability(joined.cells, forests, progress=progress)
    members = probability > 0.5
    notes += prevalence_notes(forests, members[:, joined.codes >= 0])
    shares = _shares(joined, members)
    ranks = rank_proportions(shares)
    score = signature_score(ranks, [forest.direction for forest in forests])
    stratum = strata(score, high_above=config.high_above, low_below=config.low_below)
    patients = _patient_table(joined, forests, shares, ranks, score)
    names = strata_names(config.names)
    patients.insert(1, "stratum", np.array(names)[stratum])
    ratios = _ratios(joined, config.ratio_types, notes)
    patients = patients.join(ratios).join(survival)
    known = patients["time"].notna().to_numpy()
    if not known.any():
        message = "expected patients with cells, time and event, found none. Check their names."
        raise InputError(message)
    if not known.all():
        notes.append(f"{int((~known).sum())} of {len(known)} patients have no time or no event")
    hazards, said = score_hazards(patients[known], joined.clinical.covariates())
    found = dict(zip((f.name for f in forests), members, strict=True))
    told = interpret(joined, found, config.interpretation, progress=progress)
    return Transfer(
        forests=tuple(forests),
        probability=probability,
        patients=patients,
        strata=_strata_table(patients, names),
        logrank=_extremes(patients[known], names),
        concordances=_concordances(
            patients[known], stratum[known], [str(name) for name in ratios], config
        ),
        hazards=hazards,
        labels=_label_table(joined, found, labels),
        interpretation=told,
        notes=(*notes, *said, *told.notes),
    )


def _shares(joined: PatientCells, members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each patient's cells that is of each signature: (P, S)."""
    number = len(joined.patients)
    whole = np.bincount(joined.codes[joined.codes >= 0], minlength=number)
    own = [counts(np.where(row, 0, -1), joined.codes, 1, number)[:, 0] for row in members]
    return np.stack(own, axis=1) / whole[:, None]


def _patient_table(
    joined: PatientCells,
    forests: Sequence[SignatureForest],
    shares: NDArray[np.float64],
    ranks: NDArray[Any],
    score: NDArray[np.int64],
) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame({"score": score}, index=pd.Index(joined.patients, name="patient_id"))
    for s, forest in enumerate(forests):
        table[f"share_{forest.name}"] = shares[:, s]
        table[f"rank_{forest.name}"] = ranks[:, s].astype(int)
    return table


def _ratios(joined: PatientCells, chosen: RatioTypes, notes: list[str]) -> "pd.DataFrame":
    """Give tertiles of the ratios of each patient, those that cell types allow."""
    import pandas as pd

    types, names = cell_types(joined)
    index = pd.Index(joined.patients, name="patient_id")
    by_type = counts(types, joined.codes, len(names), len(index)) if names else np.zeros((0, 0))
    ratios = cell_ratios(by_type, names, chosen) if names else pd.DataFrame(index=range(len(index)))
    if not len(ratios.columns):
        notes.append("no ratios of tumour cells to lymphocytes: cell types do not tell them")
    return pd.DataFrame(
        {f"{name}, tertile": tertiles(ratios[name].to_numpy()) for name in ratios}, index=index
    )


def _strata_table(patients: "pd.DataFrame", names: tuple[str, str, str]) -> "pd.DataFrame":
    import pandas as pd

    groups = [patients[patients["stratum"] == name] for name in names]
    return pd.DataFrame(
        {
            "stratum": list(names),
            "patients": [len(group) for group in groups],
            "followed": [int(group["time"].notna().sum()) for group in groups],
            "events": [int(group["event"].eq(True).sum()) for group in groups],  # noqa: FBT003
        }
    )


def _extremes(patients: "pd.DataFrame", names: tuple[str, str, str]) -> LogRank:
    """Compare the high stratum with the low one."""
    ends = patients[patients["stratum"].isin([names[LOW], names[HIGH]])]
    if not len(ends):
        return LogRank(float("nan"), 0, None, "no patient is in the high or the low stratum")
    return logrank(
        ends["time"].to_numpy(float), ends["event"].to_numpy(bool), ends["stratum"].to_numpy(str)
    )


def _concordances(
    patients: "pd.DataFrame",
    stratum: NDArray[np.int64],
    ratios: Sequence[str],
    config: TransferConfig,
) -> "pd.DataFrame":
    """Score each way of ordering patients; more is expected to live longer, of ratios less."""
    import pandas as pd

    risks = {
        "signature strata": -stratum.astype(float),
        "signature score R": -patients["score"].to_numpy(float),
    } | {name: patients[name].to_numpy(float) for name in ratios}
    rows = []
    for name, risk in risks.items():
        known = np.isfinite(risk)
        if not known.any():
            continue
        found = concordance(
            patients["time"].to_numpy(float)[known],
            patients["event"].to_numpy(bool)[known],
            risk[known],
            draws=config.draws,
            seed=config.seed,
        )
        rows.append(
            {
                "score": name,
                "patients": int(known.sum()),
                "concordance": found.value,
                "lower": found.lower,
                "upper": found.upper,
            }
        )
    return pd.DataFrame(rows)


def _label_of_patients(joined: PatientCells, column: str) -> "pd.Series | None":
    """Value of a clinical column for each patient, or None where none is asked for."""
    if not column:
        return None
    table = joined.clinical.table
    if column not in table:
        message = (
            f"by: expected a column of the clinical table, found no {column!r}; it has "
            f"{', '.join(map(str, table.columns))}. Name one of those."
        )
        raise InputError(message)
    values = table[column].reindex(list(joined.patients))
    return values.where(values.notna(), "unknown").astype(str)


def _label_table(
    joined: PatientCells, members: dict[str, NDArray[np.bool_]], labels: "pd.Series | None"
) -> "pd.DataFrame":
    """Deal the cells of each signature out to the values of a column, as in Fig. 5i."""
    import pandas as pd

    if labels is None:
        return pd.DataFrame()
    values, place = np.unique(labels.to_numpy(str), return_inverse=True)
    kept = joined.codes >= 0
    of_cell = place[joined.codes[kept]]
    cohort = np.bincount(of_cell, minlength=len(values))
    rows = []
    for name, row in members.items():
        own = np.bincount(of_cell[row[kept]], minlength=len(values))
        rows += [
            {
                "signature": name,
                "value": value,
                "cells": int(own[i]),
                "share": own[i] / own.sum() if own.sum() else np.nan,
                "cohort_share": cohort[i] / cohort.sum(),
            }
            for i, value in enumerate(values)
        ]
    return pd.DataFrame(rows)
