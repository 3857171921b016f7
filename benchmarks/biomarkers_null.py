"""Discovery of signatures on cohorts in which nothing (or something) is planted.

    python benchmarks/biomarkers_null.py [--cohorts 50] [--ratio 1] [--write]

Each cohort is simulated as cells and places, their tokens made from the truth
(`simulate.neighbourhood_tokens`). Told are, over the cohorts: the nested AUROC, the paper's own
estimate, and how often the permutation p-value is below 0.05. With a ratio above 1 those with the
outcome have as many times more immune hubs, and fewer suppressive niches; then it is also told how
much of these the signatures hold.
"""

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from model import write_section

from virtues_core.cohort.biomarkers.clusters import Clusters, keep_small, partitions
from virtues_core.cohort.biomarkers.nested import (
    PaperSplits,
    nested_aurocs,
    nested_splits,
    paper_estimate,
    permutation_p,
    permuted,
)
from virtues_core.cohort.biomarkers.prediction import score_aurocs, splits
from virtues_core.cohort.biomarkers.ranks import ranks
from virtues_core.simulate import (
    Cohort,
    CohortConfig,
    TissueConfig,
    neighbourhood_tokens,
    simulate_cells,
    simulate_cohort,
)

PLANTED = {"RS": "immune_hub", "NRS": "suppressive_niche"}


@dataclass
class Cells:
    tokens: np.ndarray
    niches: np.ndarray
    codes: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--ratio", type=float, default=1.0)
    parser.add_argument("--step", type=float, default=0.25)
    parser.add_argument("--most-cells", type=int, default=5000)
    parser.add_argument("--permutations", type=int, default=99)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.cohorts):
        start = time.process_time()
        rows.append(one(options, seed))
        took = time.process_time() - start
        told = ", ".join(f"{name} {value:.3f}" for name, value in rows[-1].items())
        print(f"cohort {seed}: {told} ({took:.0f} s)", flush=True)
    text = summed(options, rows)
    print(text)
    if options.write:
        shown = f"python benchmarks/biomarkers_null.py --ratio {options.ratio:g}"
        write_section(f"signatures, {options.ratio:g} times as much planted", shown, text)


def cells_of(cohort: Cohort, ratio: float) -> Cells:
    """All cells of a cohort, one tissue a patient, with the numbers of their patients."""
    side = (cohort.config.size_px, cohort.config.size_px)
    tokens, niches, codes = [], [], []
    for n, (tissue, outcome) in enumerate(
        zip(cohort.tissues["tissue_id"], cohort.patients["response"], strict=True)
    ):
        if ratio == 1:
            cells = cohort.cells(tissue)
        else:
            cells = simulate_cells(
                shape=side,
                seed=(cohort.config.seed, n),
                config=planted(cohort, tissue, n, ratio if outcome else 1 / ratio),
            )
        tokens.append(neighbourhood_tokens(cells, seed=n))
        niches.append(cells.cells["niche"].to_numpy(str))
        codes.append(np.full(len(cells.cells), n))
    return Cells(*(np.concatenate(parts) for parts in (tokens, niches, codes)))


def planted(cohort: Cohort, tissue: str, patient: int, ratio: float) -> TissueConfig:
    """A tissue with more hubs and fewer suppressive niches, or the other way round."""
    drawn = np.random.default_rng([cohort.config.seed, 98, patient]).lognormal(0, 0.5, 2)
    hubs, niches = 0.03 * np.sqrt(ratio) ** np.array([1, -1]) * drawn
    return replace(
        cohort.tissue_config(tissue),
        hub_fraction=min(hubs, 0.3),
        suppressive_fraction=min(niches, 0.3),
    )


def one(options: argparse.Namespace, seed: int) -> dict[str, float]:
    """The estimates of one cohort."""
    cohort = simulate_cohort(
        CohortConfig(
            patients=options.patients,
            tissues_per_patient=1,
            size_px=options.size,
            effect=0.0,
            seed=seed,
        )
    )
    cells = cells_of(cohort, options.ratio)
    outcome = cohort.patients["response"].to_numpy()
    resolutions = np.arange(4.0, 5.0 + 1e-9, options.step)
    labels, sampled = partitions(
        lambda rows: cells.tokens[rows],
        lambda: [(slice(0, len(cells.tokens)), cells.tokens)],
        cells.codes, resolutions, most=options.most_cells, seed=seed,
    )  # fmt: skip
    clusters = keep_small(labels, sampled, resolutions, cells.codes, len(outcome))
    parts = nested_splits(outcome, 4, 5, 10, seed)
    paper = PaperSplits(splits(outcome, 4, 10, seed), splits(outcome, 4, 25, seed + 1))
    nested = nested_aurocs(clusters.proportions, outcome, parts).auroc
    _, chosen, scores = paper_estimate(ranks(clusters.proportions), outcome, paper)
    found = {"nested": nested, "paper": score_aurocs(scores, outcome).mean()}
    if options.permutations:
        few = PaperSplits(paper.univariate, paper.joint[:4])  # the paper's own is not permuted here
        null = permuted(clusters.proportions, outcome, parts, few,
                        permutations=options.permutations, seed=seed)  # fmt: skip
        found["p"] = permutation_p(nested, null.nested)
    if options.ratio != 1:
        found |= recovered(cells, clusters, {"RS": chosen.response, "NRS": chosen.non_response})
    return found


def recovered(
    cells: Cells, clusters: Clusters, chosen: dict[str, tuple[int, ...]]
) -> dict[str, float]:
    """How much of what was planted the signatures of each direction hold together."""
    found = {}
    for way, numbers in chosen.items():
        planted = cells.niches == PLANTED[way]
        members = np.any([clusters.members(k) for k in numbers], axis=0)
        both = (members & planted).sum()
        found[f"{way} precision"] = both / max(1, members.sum())
        found[f"{way} recall"] = both / planted.sum()
        found[f"{way} prevalence"] = planted.mean()
    return found


def summed(options: argparse.Namespace, rows: list[dict[str, float]]) -> str:
    lines = [
        f"{len(rows)} cohorts of {options.patients} patients ({options.size} x {options.size} µm "
        f"each), {options.ratio:g} times as much planted, clusters at resolutions "
        f"4 to 5 by {options.step:g} from {options.most_cells:,} cells, {options.permutations} "
        "permutations.",
        "",
        "| | mean | standard deviation over cohorts | standard error of the mean |",
        "|---|---|---|---|",
    ]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        spread = values.std(ddof=1) if len(values) > 1 else np.nan
        lines.append(
            f"| {name} | {values.mean():.3f} | {spread:.3f} | {spread / len(values) ** 0.5:.3f} |"
        )
    if options.permutations:
        often = np.mean([row["p"] < 0.05 for row in rows])
        lines.append(f"\np below 0.05: {often:.0%} of the cohorts.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
