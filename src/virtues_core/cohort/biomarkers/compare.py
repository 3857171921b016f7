"""Whether one predictor's AUROC is above another's, over the splits of one cross-validation."""

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.prediction import Array

LEAST_SPREAD = 1e-9
"""Below it AUROCs differ by rounding alone."""


def independent_p(first: Array, second: Array) -> float:
    """Test as the paper does: a one-sided t-test of two independent samples of AUROCs.

    Splits share patients, so that their AUROCs are not independent: with more repeats this p-value
    becomes as small as one likes. `corrected_p` allows for that.

    Parameters
    ----------
    first, second
        (F,) AUROC in each split.

    Returns
    -------
    float
        Small where the first is above the second; nan where neither varies.

    Examples
    --------
    >>> independent_p(np.array([0.7, 0.8, 0.9]), np.array([0.7, 0.8, 0.9]))
    0.5
    """
    from scipy.stats import ttest_ind_from_stats

    told = [(own.mean(), own.std(ddof=1), len(own)) for own in (first, second)]
    if len(first) < 2 or max(spread for _, spread, _ in told) < LEAST_SPREAD:
        return float("nan")
    return float(ttest_ind_from_stats(*told[0], *told[1], alternative="greater").pvalue)


def corrected_p(first: Array, second: Array, held_out: NDArray[np.bool_]) -> float:
    r"""Test differences in the same splits, with the variance that shared patients ask for.

    t = mean(d) / √((1/F + n_held_out / n_trained) var(d)), F − 1 degrees of freedom.

    Source: Nadeau and Bengio 2003, "Inference for the Generalization Error".

    Parameters
    ----------
    first, second
        (F,) AUROC in each split.
    held_out
        (F, P) the splits.

    Returns
    -------
    float
        One-sided, small where the first is above the second; nan where the difference is always
        the same.

    Examples
    --------
    >>> held_out = np.eye(4, dtype=bool)
    >>> d = np.array([0.1, 0.2, 0.3, 0.2])
    >>> round(corrected_p(d, np.zeros(4), held_out), 4)
    0.0245
    """
    from scipy.stats import t

    differences = first - second
    variance = differences.var(ddof=1)
    if variance < LEAST_SPREAD**2:
        return float("nan")
    share = held_out.mean()
    scale = 1 / len(differences) + share / (1 - share)
    statistic = differences.mean() / np.sqrt(scale * variance)
    return float(t.sf(statistic, len(differences) - 1))
