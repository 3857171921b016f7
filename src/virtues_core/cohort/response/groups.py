"""Distances of responders set against those of others."""

from typing import TYPE_CHECKING

from scipy.stats import mannwhitneyu
from statsmodels.stats.multitest import multipletests

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("non-responders", "responders")
"""Patients with the outcome 0 and 1."""
LEAST_PATIENTS = 5
"""Of either group; fewer have no p-value."""


def compared(distances: "pd.DataFrame") -> "pd.DataFrame":
    """Compare the two groups at each pair of times, by Mann and Whitney's test, two-sided.

    Parameters
    ----------
    distances
        A row a patient and pair of times: group, from, to, distance, excess.

    Returns
    -------
    pandas.DataFrame
        A row a pair of times and measure: from, to, measure, ``responders`` and ``non_responders``
        (patients), their medians, ``auc`` (probability that a responder's is the larger), ``p``,
        and ``p_holm``, adjusted for the pairs of times of a measure (Holm 1979). NaN where a group
        has fewer than five patients. No rows where patients are in no such groups.
    """
    import pandas as pd

    rows = []
    for measure in ("distance", "excess"):
        for (start, end), own in distances.groupby(["from", "to"], sort=False):
            other, mine = (own.loc[own["group"] == name, measure].to_numpy() for name in GROUPS)
            if not len(mine) and not len(other):
                continue
            row = {
                "from": start,
                "to": end,
                "measure": measure,
                "responders": len(mine),
                "non_responders": len(other),
                "median_responders": float(pd.Series(mine, dtype=float).median()),
                "median_non_responders": float(pd.Series(other, dtype=float).median()),
                "auc": float("nan"),
                "p": float("nan"),
            }
            if min(len(mine), len(other)) >= LEAST_PATIENTS:
                found = mannwhitneyu(mine, other, alternative="two-sided")
                row["auc"] = float(found.statistic) / (len(mine) * len(other))
                row["p"] = float(found.pvalue)
            rows.append(row)
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = float("nan")
        for _, own in table.dropna(subset=["p"]).groupby("measure"):
            table.loc[own.index, "p_holm"] = multipletests(own["p"], method="holm")[1]
    return table
