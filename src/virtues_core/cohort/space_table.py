"""The space of the rows of a table: clusters and a map, under the names that scanpy gives them.

::

    obs["leiden"]      number of the cluster, as text; "0" is the largest
    obsm["X_umap"]     (N, 2) the map
    uns["leiden"]      params: resolution, random_state, features, neighbours; version
"""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core import __version__
from virtues_core.cohort import space
from virtues_core.cohort.space import Features, Profiles
from virtues_core.cohort.table import provenance, signed_log, tokens
from virtues_core.errors import InputError
from virtues_core.files import replacing

if TYPE_CHECKING:
    from anndata import AnnData

LEIDEN = "leiden"
"""Column of ``obs``, and entry of ``uns``."""
UMAP = "X_umap"
"""Name of the map in ``obsm``."""
LIMIT = 2.0
"""Standard deviations at which the colours of a heat map end."""


def joined(tables: Sequence["AnnData"]) -> "AnnData":
    """Put tables of one checkpoint and level one below the other.

    Channels are those that all have; ``uns`` keeps what is the same in all.

    Raises
    ------
    InputError
        No table; other checkpoints, levels or widths of tokens; a row that is in two of them; no
        channel that all have.
    """
    import anndata

    if not tables:
        message = "expected a table, found none."
        raise InputError(message)
    if len(tables) == 1:
        return tables[0]
    first = provenance(tables[0])
    for number, table in enumerate(tables[1:], start=2):
        other = provenance(table)
        for what, own, its in (
            ("checkpoint", first.signature, other.signature),
            ("level", first.level, other.level),
            ("width", tokens(tables[0]).shape[1], tokens(table).shape[1]),
        ):
            if own != its:
                message = (
                    f"expected tokens of one {what} in all tables, found {its!r} in table {number} "
                    f"and {own!r} in the first. Embed them in the same way."
                )
                raise InputError(message)
    names = np.concatenate([table.obs_names.to_numpy(str) for table in tables])
    known, often = np.unique(names, return_counts=True)
    if (often > 1).any():
        message = (
            f"expected each row once, found {int((often > 1).sum())} that are in two tables, such "
            f"as {str(known[often > 1][0])!r}. Leave one of the tables out, or embed with another "
            "--tissue."
        )
        raise InputError(message)
    found = anndata.concat(tables, join="inner", merge="same", uns_merge="same")
    if not found.n_vars:
        message = "expected a channel that all tables have, found none. Name channels alike."
        raise InputError(message)
    panels = [set(provenance(table).panel) for table in tables]
    found.uns["virtues"]["panel"] = np.array(sorted(set.intersection(*panels)), dtype=object)
    return found


def features(table: "AnnData", of: Features) -> NDArray[np.float32]:
    """Give what rows are compared by, (N, F): tokens, or log(1 + x) of mean intensities.

    Raises
    ------
    InputError
        There are none.
    """
    return tokens(table) if of == "tokens" else signed_log(intensities(table))


def intensities(table: "AnnData") -> NDArray[np.float32]:
    """Give the mean intensities (N, C) of a table.

    Raises
    ------
    InputError
        There are none.
    """
    from scipy.sparse import issparse

    if table.X is None or not table.n_vars:
        message = "expected mean intensities in X, found none. Make the table with `virtues embed`."
        raise InputError(message)
    return np.asarray(table.X.toarray() if issparse(table.X) else table.X, dtype=np.float32)


def write_space(
    table: "AnnData",
    *,
    of: Features = "tokens",
    resolution: float = 1.0,
    umap: bool = False,
    seed: int = 0,
) -> Profiles:
    """Put clusters, and a map where it is asked for, into a table, in place; see the module.

    Parameters
    ----------
    table
        N rows.
    of
        What rows are compared by.
    resolution
        Of the clusters; more gives more of them.
    umap
        Whether to lay the rows out as well.
    seed
        Of all that is drawn.

    Returns
    -------
    Profiles
        Of the clusters, by mean intensities, whatever they were found by.

    Raises
    ------
    InputError
        As `space.neighbour_graph` and `space.leiden`.
    """
    import pandas as pd

    values = features(table, of)
    graph = space.neighbour_graph(values, seed=seed)
    numbers = space.leiden(graph, resolution=resolution, seed=seed)
    names = [str(n) for n in range(int(numbers.max()) + 1)]
    profiles = space.marker_profiles(intensities(table), [str(n) for n in table.var_names], numbers)
    if umap:
        table.obsm[UMAP] = space.project(values, "umap", seed=seed, graph=graph)
    table.obs[LEIDEN] = pd.Categorical(numbers.astype(str), categories=names)
    table.uns[LEIDEN] = {
        "params": {
            "resolution": float(resolution),
            "random_state": int(seed),
            "features": of,
            "neighbours": space.NEIGHBOURS,
        },
        "version": __version__,
    }
    return profiles


def write_profiles(found: Profiles, path: Path) -> None:
    """Write profiles as a table (``.csv``) or as a heat map (``.png``), by the path's ending.

    Raises
    ------
    InputError
        Another ending.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    path = check_profiles_path(path)
    if path.suffix == ".png":
        _draw(found, path)
        return
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["cluster", "rows", *found.markers])
        for name, count, values in zip(found.names, found.counts, found.values, strict=True):
            rows.writerow([name, int(count), *(f"{value:.6g}" for value in values)])


def check_profiles_path(path: Path | str) -> Path:
    """Return a path that `write_profiles` can write.

    Raises
    ------
    InputError
        It ends otherwise.
    """
    if Path(path).suffix not in {".csv", ".png"}:
        message = f"expected a file that ends with .csv or .png, found {str(path)!r}."
        raise InputError(message)
    return Path(path)


def _draw(found: Profiles, path: Path) -> None:
    """Draw a heat map: a row a cluster, a column a marker, side by side where they are alike."""
    from matplotlib.figure import Figure

    found = side_by_side(found)
    figure = Figure(
        figsize=(2.5 + 0.24 * len(found.markers), 1.8 + 0.24 * len(found.names)),
        layout="constrained",
    )
    axes = figure.add_subplot()
    shown: Any = axes.imshow(found.values, cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    axes.set_xticks(range(len(found.markers)), found.markers, rotation=90)
    told = [f"{name} ({n:,})" for name, n in zip(found.names, found.counts, strict=True)]
    axes.set_yticks(range(len(told)), told)
    axes.set_ylabel("cluster (rows)")
    figure.colorbar(shown, ax=axes, label="mean of standardised log intensity", extend="both")
    with replacing(path) as new:
        figure.savefig(new, dpi=150)


def side_by_side(found: Profiles) -> Profiles:
    """Order the markers of profiles so that those that are alike stand together."""
    order = alike(found.values)
    markers = tuple(found.markers[c] for c in order)
    return replace(found, markers=markers, values=found.values[:, order])


def alike(values: NDArray[np.float32]) -> list[int]:
    """Order columns (K, C) so that those that are bright in the same rows stand together."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if values.shape[1] < 3:
        return list(range(values.shape[1]))
    return [int(c) for c in leaves_list(linkage(values.T, "average", optimal_ordering=True))]
