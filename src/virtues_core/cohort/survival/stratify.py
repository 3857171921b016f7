"""Patients parted into risk groups by what their tissue is made of.

Paper: Methods, "Tissue structure-based risk stratification". Beyond the paper: which groups are of
high risk is also told out of fold, by the survival of other patients alone, and that comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients import PatientCells, counts
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.cohort.survival.compare import Comparison, compare, signed_logrank
from virtues_core.cohort.survival.concordance import concordance
from virtues_core.cohort.survival.curves import expected_events
from virtues_core.cohort.survival.merge import (
    OutOfFold,
    merge_on_data,
    merge_out_of_fold,
    p_of,
    permuted,
)
from virtues_core.cohort.survival.states import (
    Progress,
    assign_states,
    fit_states,
    patient_groups,
)
from virtues_core.cohort.survival.stratify_config import StratifyConfig
from virtues_core.cohort.survival.structures import Structure, structures_of
from virtues_core.errors import InputError

SPLITS = 5
"""Further splits into folds, to see how much hangs on the one that is used."""


@dataclass(frozen=True)
class Run:
    """The analysis made another way, for what hangs on a choice."""

    varied: str
    """``seed``, ``groups`` or ``folds``."""
    seed: int
    """Of states and groups; of the split into folds where that is varied."""
    groups: int
    adjusted_rand: float
    """Of its groups with those reported: 1 the same, 0 as by chance."""
    concordance: float
    """Out of fold."""
    smallest: int
    """Patients of its smallest group."""


@dataclass(frozen=True, eq=False)
class Stratification:
    """P patients with cells and survival, parted."""

    joined: PatientCells
    """Of the P patients alone."""
    times: NDArray[np.float64]
    """(P,) follow-up."""
    events: NDArray[np.bool_]
    """(P,) whether the event was seen."""
    states: NDArray[np.int16]
    """(N,) of all cells, from 0."""
    composition: NDArray[np.float64]
    """(P, K) share of each state."""
    groups: NDArray[np.int64]
    """(P,) from 0, the largest first; found without survival."""
    out_of_fold: OutOfFold
    """Risk told by other patients."""
    high_on_data: NDArray[np.bool_]
    """(P,) risk chosen on the data, as in the paper."""
    comparisons: tuple[Comparison, ...]
    """Of high and low risk: out of fold, then on the data."""
    logrank_p: float | None
    """Of the log-rank test out of fold, by permutation; None where there are too few events."""
    signed_root: float
    """Of the log-rank statistic out of fold; below 0 where high risk fared better."""
    permutations: NDArray[np.float64]
    """(draws,) the same of groups dealt anew."""
    runs: tuple[Run, ...]
    structures: tuple[Structure, ...]
    layout_rows: NDArray[np.int64]
    """(L,) cells that were laid out."""
    cell_places: NDArray[np.float32]
    """(L, 2)."""
    patient_places: NDArray[np.float32]
    """(P, 2)."""
    config: StratifyConfig
    notes: tuple[str, ...]

    @property
    def high_by_survival(self) -> NDArray[np.bool_]:
        """(P,) the paper's comparison without tissue: died, or censored early.

        Early is before the median follow-up of all who were censored.
        """
        if self.events.all():
            return self.events
        return self.events | (self.times < np.median(self.times[~self.events]))


def stratify(
    joined: PatientCells, config: StratifyConfig | None = None, *, progress: Progress | None = None
) -> Stratification:
    """Part patients into high and low risk by the states of their cells.

    States, composition and groups never see survival. Which groups are of high risk is told twice:
    out of fold, from the survival of other patients, and on the data, as in the paper.

    Parameters
    ----------
    joined
        Cells and a clinical table with time and event. Patients without either are left out.
    config
        Settings; the paper's if None.
    progress
        Called with what is done, of how much, and a word.

    Returns
    -------
    Stratification

    Raises
    ------
    InputError
        Too few patients, or cells, for the groups, folds or states; no time and event; a column of
        structures that is not there.
    """
    config = config or StratifyConfig()
    joined, notes = _with_survival(joined, config)
    survival = joined.clinical.survival().loc[list(joined.patients)]
    times, events = survival["time"].to_numpy(float), survival["event"].to_numpy(bool)
    columns = joined.clinical.columns
    circular = [name for name in config.structures if name in (columns.time, columns.event)]
    if circular:
        message = (
            f"structures: expected what a tissue shows, found {circular[0]!r}, by which risk is "
            "told. Name other columns."
        )
        raise InputError(message)
    structures = structures_of(
        config.structures, joined.cells.cells, joined.codes, joined.clinical.table,
        least_cells=config.structure_cells,
    )  # fmt: skip
    states, compositions = _compositions(joined, config, notes, progress)
    groups = patient_groups(compositions[0], config.groups, config.seed)
    told = merge_out_of_fold(times, events, groups, folds=config.folds, seed=config.seed)
    on_data = merge_on_data(times, events, groups)[groups]
    compared = _comparisons(joined, times, events, (told.high, on_data), config, notes)
    root, chance = _by_chance(times, events, groups, told, config, progress)
    honest = compared[0].logrank.p is not None
    if honest and root <= 0:
        notes.append(
            "out of fold: patients of high risk fared no worse than the others, so that the groups "
            "tell nothing of risk."
        )
    runs = _other_runs(compositions, times, events, groups, config, progress)
    _note_groups(joined.patients, groups, notes)
    rows, cell_places, patient_places = _layout(joined, compositions[0], config, notes)
    return Stratification(
        joined, times, events, states, compositions[0], groups, told, on_data, compared,
        p_of(root, chance) if honest else None, root, chance, runs, tuple(structures), rows,
        cell_places, patient_places, config, tuple(notes),
    )  # fmt: skip


def _with_survival(joined: PatientCells, config: StratifyConfig) -> tuple[PatientCells, list[str]]:
    """Leave out patients whose survival is not known, and tell of them."""
    import dataclasses

    known = joined.clinical.survival().index
    kept = tuple(p for p in joined.patients if p in set(known))
    least = max(config.folds, config.groups, 3)
    if len(kept) < least:
        message = (
            f"expected {least} patients or more with cells and survival for {config.groups} "
            f"groups and {config.folds} folds, found {len(kept)}. Choose fewer groups and folds, "
            "or give more patients."
        )
        raise InputError(message)
    gone = [p for p in joined.patients if p not in set(kept)]
    notes = [*joined.notes, *joined.several_tissues()]
    if gone:
        notes.append(f"{counted(len(gone), 'patient')} without time or event: {some(gone)}.")
    place = np.full(len(joined.patients) + 1, -1, np.int32)  # the last is that of code -1
    place[[i for i, p in enumerate(joined.patients) if p in set(kept)]] = np.arange(len(kept))
    part = dataclasses.replace(
        joined, patients=kept, codes=place[joined.codes], clinical=joined.clinical.of(kept)
    )
    return part, notes


def _compositions(
    joined: PatientCells, config: StratifyConfig, notes: list[str], progress: Progress | None
) -> tuple[NDArray[np.int16], list[NDArray[np.float64]]]:
    """States of all cells by the first seed, and composition (P, K) of patients by each."""
    own = np.flatnonzero(joined.codes >= 0)
    rows = own
    if len(own) > config.fit_cells:
        rng = np.random.default_rng(config.seed)
        rows = np.sort(rng.choice(own, config.fit_cells, replace=False))
        notes.append(
            f"states were found among {config.fit_cells:,} of {len(own):,} cells, drawn at random; "
            "all were then given the nearest."
        )
    seeds = range(config.seed, config.seed + config.seeds)
    models = fit_states(joined.cells.take(rows), config.states, seeds, progress)
    states = assign_states(joined.cells, models, progress)
    patients = len(joined.patients)
    found = [counts(each, joined.codes, config.states, patients) for each in states]
    totals = found[0].sum(axis=1, keepdims=True)
    notes += joined.uneven_cells()
    return states[0], [each / totals for each in found]


def _comparisons(
    joined: PatientCells,
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    high: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    config: StratifyConfig,
    notes: list[str],
) -> tuple[Comparison, ...]:
    covariates = joined.clinical.covariates().loc[list(joined.patients)]
    horizon = min(
        float(times[side].max()) for h in high for side in (h, ~h) if side.any()
    )  # all curves are still told of up to there
    if config.horizon is not None:
        if config.horizon > horizon:
            notes.append(
                f"mean survival is compared up to {horizon:g}, the last follow-up of one of the "
                f"risk groups, where {config.horizon:g} was asked for."
            )
        horizon = min(horizon, config.horizon)
    found = tuple(
        compare(
            name, times, events, h, covariates, horizon=horizon, bootstrap=config.bootstrap,
            seed=config.seed,
        )
        for name, h in zip(("out of fold", "on the data"), high, strict=True)
    )  # fmt: skip
    notes += [f"out of fold: {text}." for text in found[0].notes]
    notes += [f"on the data: {text}." for text in found[1].notes if text not in found[0].notes]
    return found


def _by_chance(
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    groups: NDArray[np.int64],
    told: OutOfFold,
    config: StratifyConfig,
    progress: Progress | None,
) -> tuple[float, NDArray[np.float64]]:
    """Signed root of the log-rank statistic out of fold, and what chance makes of it."""
    expected = expected_events(times, events)

    def statistic(high: NDArray[np.bool_]) -> float:
        return signed_logrank(times, events, high, expected)

    def tell(done: int) -> None:
        if progress is not None and (done % 50 == 0 or done == config.permutations):
            progress(done, config.permutations, "permutation")

    chance = permuted(
        times, events, groups, statistic, folds=config.folds, draws=config.permutations,
        seed=config.seed, progress=tell,
    )  # fmt: skip
    return statistic(told.high), chance


def _other_runs(
    compositions: Sequence[NDArray[np.float64]],
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    groups: NDArray[np.int64],
    config: StratifyConfig,
    progress: Progress | None,
) -> tuple[Run, ...]:
    """Make the analysis with other seeds, numbers of groups and splits into folds."""
    from sklearn.metrics import adjusted_rand_score

    def run(varied: str, seed: int, found: NDArray[np.int64], split: int) -> Run:
        high = merge_out_of_fold(times, events, found, folds=config.folds, seed=split).high
        sizes = np.bincount(found)
        return Run(
            varied, split if varied == "folds" else seed, len(sizes),
            float(adjusted_rand_score(groups, found)), concordance(times, events, high).value,
            int(sizes.min()),
        )  # fmt: skip

    first = config.seed
    runs = [run("seed", first, groups, first)]
    for seed, composition in enumerate(compositions[1:], first + 1):
        runs.append(run("seed", seed, patient_groups(composition, config.groups, seed), first))
    most = len(np.unique(compositions[0].round(9), axis=0))
    for count in sorted({*config.other_groups} - {config.groups}):
        if count <= most:
            runs.append(run("groups", first, patient_groups(compositions[0], count, first), first))
    for split in range(first + 1, first + 1 + SPLITS):
        runs.append(run("folds", first, groups, split))
    if progress is not None:
        progress(len(runs), len(runs), "stability run")
    return tuple(runs)


def _note_groups(
    patients: Sequence[str],
    groups: NDArray[np.int64],
    notes: list[str],
) -> None:
    """Tell of groups of which survival says nothing."""
    for number in range(int(groups.max()) + 1):
        own = groups == number
        if own.sum() == 1:
            name = patients[int(np.flatnonzero(own)[0])]
            notes.append(f"group {number + 1} has one patient, {name}: it says nothing of risk.")


def _layout(
    joined: PatientCells,
    composition: NDArray[np.float64],
    config: StratifyConfig,
    notes: list[str],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Lay out some cells by their tokens, and all patients by their composition."""
    from virtues_core.cohort.space import project

    own = np.flatnonzero(joined.codes >= 0)
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.permutation(own)[: config.layout_cells])
    if len(rows) < len(own):
        notes.append(f"the map shows {len(rows):,} of {len(own):,} cells, drawn at random.")
    cells = project(joined.cells.take(rows), config.layout, seed=config.seed)
    patients = project(composition.astype(np.float32), config.layout, seed=config.seed)
    return rows, cells, patients
