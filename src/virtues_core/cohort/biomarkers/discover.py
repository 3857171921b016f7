"""Signatures: clusters of cells whose share in a patient foretells an outcome.

Source: the paper, Methods, "Identification of FM-based biomarkers predictive of therapy response";
Fig. 5c, e. Its estimate is made as it says, on the patients that clusters were chosen by; beside it
stand a nested estimate and a permutation test of the whole procedure (`nested`), which are the ones
to believe.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.clusters import Clusters, keep_small, overlap, partitions
from virtues_core.cohort.biomarkers.discover_config import DiscoverConfig
from virtues_core.cohort.biomarkers.interpret import Interpretation, cell_types, interpret
from virtues_core.cohort.biomarkers.neighbours import false_discovery
from virtues_core.cohort.biomarkers.nested import (
    Nested,
    Null,
    PaperSplits,
    Progress,
    least_patients,
    nested_aurocs,
    nested_splits,
    paper_estimate,
    permuted,
)
from virtues_core.cohort.biomarkers.prediction import (
    Array,
    Outcome,
    check_outcome,
    splits,
    value_scores,
)
from virtues_core.cohort.biomarkers.ranks import ranks
from virtues_core.cohort.biomarkers.ratios import cell_ratios
from virtues_core.cohort.biomarkers.selection import Chosen
from virtues_core.cohort.patients import PatientCells, counts
from virtues_core.cohort.patients.wording import counted, some

LEAST_EVENTS = 5
"""Patients of either outcome below which nothing is tested."""
FEW = 0.1
"""Share of the clusters below which few are small enough."""
ALIKE = 0.9
"""Jaccard index from which two clusters are nearly the same cells."""


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found of P patients, K clusters and S signatures."""

    config: DiscoverConfig
    joined: PatientCells
    """The patients whose outcome is known."""
    outcome: Outcome
    """(P,) 0 or 1."""
    clusters: Clusters
    ranks: NDArray[np.int8]
    """(P, K) by the tertiles of all patients."""
    aurocs: Array
    """(K,) of each cluster alone."""
    p: Array
    """(K,) Mann-Whitney, two-sided, of ranks by outcome; nan where nothing is tested."""
    q: Array
    """(K,) the same, adjusted for K clusters (Benjamini-Hochberg)."""
    chosen: Chosen
    paper_splits: PaperSplits
    paper: Array
    """(G, P) log-odds of patients held out, clusters chosen by all patients."""
    nested: Nested | None
    """None where there are too few patients."""
    null: Null | None
    """None where nothing is tested."""
    baselines: dict[str, tuple[Array, Array | None]]
    """Of each ratio of cells, scores of patients held out in the splits of the paper's estimate
    (G, P) and in those of the nested one (F, P)."""
    interpretation: Interpretation | None
    notes: tuple[str, ...]

    @property
    def names(self) -> dict[str, int]:
        """Name → number of the cluster: RS1, RS2 of response, NRS1, NRS2 of non-response."""
        ways = (("RS", self.chosen.response), ("NRS", self.chosen.non_response))
        return {f"{way}{n}": k for way, of in ways for n, k in enumerate(of, start=1)}


def discover(
    joined: PatientCells,
    config: DiscoverConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Discovery:
    """Find the signatures of an outcome and say how well they foretell it.

    Parameters
    ----------
    joined
        N cells and their patients; its clinical table names the outcome.
    config
        Clusters, folds, permutations.
    progress
        Told how many are done, of how many, of what.

    Raises
    ------
    InputError
        No outcome, or fewer patients of one outcome than folds; no cluster small enough; tokens
        that are not finite; cell types that are not there.
    """
    config = config or DiscoverConfig()
    config.ratio_types.of(cell_types(joined)[1])
    joined, outcome, notes = _known(joined, config.folds)
    found, sampled = partitions(
        joined.cells.take, joined.cells.batches, joined.codes, config.resolutions,
        most=config.most_cells, below=config.cells_below, neighbours=config.neighbours,
        seed=config.seed, progress=progress,
    )  # fmt: skip
    clusters = keep_small(
        found, sampled, config.resolutions, joined.codes, len(outcome), below=config.cells_below
    )
    all_ranks = ranks(clusters.proportions)
    paper_splits = PaperSplits(
        splits(outcome, config.folds, config.repeats, config.seed),
        splits(outcome, config.folds, config.joint_repeats, config.seed + 1),
    )
    aurocs, chosen, paper = paper_estimate(all_ranks, outcome, paper_splits, config.each)
    nested, null, held_out = _honest(clusters, outcome, paper_splits, config, notes, progress)
    p = _tested(all_ranks, outcome)
    baselines = _baselines(joined, outcome, config, paper_splits, held_out, notes)
    discovery = Discovery(
        config, joined, outcome, clusters, all_ranks, aurocs, p, false_discovery(p), chosen,
        paper_splits, paper, nested, null, baselines, None, (),
    )  # fmt: skip
    notes += _told(discovery)
    told = None
    if discovery.names:
        members = {name: clusters.members(k) for name, k in discovery.names.items()}
        told = interpret(joined, members, config.interpretation, progress=progress)
        notes += told.notes
    return replace(discovery, interpretation=told, notes=tuple(notes))


def _known(joined: PatientCells, folds: int) -> tuple[PatientCells, Outcome, list[str]]:
    """Leave patients out whose outcome is not known; one row a patient from here on."""
    series = joined.clinical.outcome()
    known = tuple(name for name in joined.patients if name in series.index)
    place = np.array([known.index(n) if n in series.index else -1 for n in joined.patients])
    codes = np.where(joined.codes >= 0, place[joined.codes], -1).astype(np.int32)
    notes = [*joined.notes, *joined.several_tissues()]
    left = set(joined.patients) - set(known)
    if left:
        told = counted(len(left), "patient")
        notes.append(f"{told} without a known outcome left out: {some(left)}.")
    outcome = check_outcome(series.loc[list(known)].to_numpy(), folds)
    clinical = joined.clinical.of(known)
    notes += clinical.outcome_twins()
    return replace(joined, clinical=clinical, patients=known, codes=codes), outcome, notes


def _honest(
    clusters: Clusters,
    outcome: Outcome,
    paper: PaperSplits,
    config: DiscoverConfig,
    notes: list[str],
    progress: Progress | None,
) -> tuple[Nested | None, Null | None, NDArray[np.bool_] | None]:
    """Make the nested estimate and the permutation test, where patients are enough."""
    least = max(least_patients(config.folds), LEAST_EVENTS)
    events = int(outcome.sum())
    if min(events, len(outcome) - events) < least:
        notes.append(
            f"{events} patients with and {len(outcome) - events} without the outcome: fewer than "
            f"{least} of each allow no nested estimate and no p-value. Do not believe the others."
        )
        return None, None, None
    parts = nested_splits(
        outcome, config.folds, config.nested_repeats, config.repeats, config.seed + 2
    )
    nested = nested_aurocs(clusters.proportions, outcome, parts, config.each)
    null = None
    if config.permutations:
        null = permuted(
            clusters.proportions, outcome, parts, paper, each=config.each,
            permutations=config.permutations, seed=config.seed, progress=progress,
        )  # fmt: skip
    return nested, null, parts.outer


def _tested(all_ranks: NDArray[np.int8], outcome: Outcome) -> Array:
    """Test each cluster alone; (K,), nan where either outcome is rare or all ranks are equal."""
    from scipy.stats import mannwhitneyu

    found = np.full(all_ranks.shape[1], np.nan)
    if min(outcome.sum(), len(outcome) - outcome.sum()) >= LEAST_EVENTS:
        varied = np.ptp(all_ranks, axis=0) > 0
        cases, controls = all_ranks[outcome == 1][:, varied], all_ranks[outcome == 0][:, varied]
        found[varied] = mannwhitneyu(cases, controls, axis=0, method="asymptotic").pvalue
    return found


def _baselines(
    joined: PatientCells,
    outcome: Outcome,
    config: DiscoverConfig,
    paper: PaperSplits,
    held_out: NDArray[np.bool_] | None,
    notes: list[str],
) -> dict[str, tuple[Array, Array | None]]:
    """Foretell the outcome by ratios of tumour cells to lymphocytes.

    A ratio t / l is taken as t / (t + l): the same order, and a patient without lymphocytes has a
    number; one with neither cell has the middle, 0.5.
    """
    numbers, types = cell_types(joined)
    of_type = counts(numbers, joined.codes, len(types), len(outcome))
    ratios = cell_ratios(of_type, types, config.ratio_types)
    if ratios.empty:
        notes.append(
            "no types of tumour cells and lymphocytes in the tables: no ratios to compare with."
        )
    found = {}
    for name in ratios:
        ratio: Any = ratios[name].to_numpy(float)
        with np.errstate(invalid="ignore"):
            share = np.where(np.isinf(ratio), 1.0, ratio / (1 + ratio))
        share = np.where(np.isnan(ratio), 0.5, share)
        nested = None if held_out is None else value_scores(share, outcome, held_out)
        found[str(name)] = (value_scores(share, outcome, paper.joint), nested)
    return found


def _told(found: Discovery) -> list[str]:
    """Say what a reader must know of clusters and choice."""
    clusters, config = found.clusters, found.config
    own = int((found.joined.codes >= 0).sum())
    notes = [
        *found.joined.uneven_cells(),
        f"{counted(clusters.found, 'cluster')} over {len(clusters.resolutions)} resolutions, "
        f"{len(clusters.cells):,} of fewer than {config.cells_below:,} cells.",
    ]
    if len(clusters.cells) < FEW * clusters.found:
        notes.append(
            f"few clusters are that small: half of all have {clusters.median_cells:,.0f} cells or "
            "fewer. --cells-below looks at larger ones."
        )
    if clusters.sampled < own:
        notes.append(
            f"{clusters.sampled:,} of {own:,} cells were clustered, as many of each patient; the "
            "others joined the cluster of most of the 5 nearest."
        )
    for way, chosen in (("response", found.chosen.response),
                        ("non-response", found.chosen.non_response)):  # fmt: skip
        if len(chosen) < config.each:
            notes.append(f"{len(chosen)} of {config.each} signatures of {way}: no other cluster.")
    members = {name: clusters.members(k) for name, k in found.names.items()}
    names = list(members)
    for n, first in enumerate(names):
        for second in names[n + 1 :]:
            alike = overlap(members[first], members[second])
            if alike >= ALIKE:
                notes.append(
                    f"{first} and {second} are nearly the same cells (Jaccard index {alike:.2f}), "
                    "of two resolutions: clusters are taken as they come, as in the paper."
                )
    return notes
