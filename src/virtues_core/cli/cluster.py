"""``virtues cluster``: groups of cells that are alike, a map of all cells, marker profiles."""

from pathlib import Path
from typing import Annotated

import typer

BRIGHTEST = 4
"""Markers of a cluster that are printed."""


def register(app: typer.Typer) -> None:
    """Add ``cluster`` to the command line."""
    app.command("cluster")(cluster)


def cluster(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="TABLE...", help="Tables by `virtues embed`, .h5ad or .zarr."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The .h5ad or .zarr to write.")],
    of: Annotated[
        str, typer.Option("--of", help="tokens, or intensities: what cells are compared by.")
    ] = "tokens",
    resolution: Annotated[
        float, typer.Option("--resolution", help="More gives more and smaller clusters.")
    ] = 1.0,
    umap: Annotated[
        bool, typer.Option("--umap", help="Lay the cells out in a plane as well.")
    ] = False,
    profiles: Annotated[
        Path | None,
        typer.Option("--profiles", help="Marker profiles: .csv a table, .png a heat map."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search, the map, the clusters.")] = 0,
) -> None:
    """Find clusters (Leiden) of cells, niches or tissues: obs leiden, and obsm X_umap.

    Several tables are clustered together.
    """
    from virtues_core.cli._options import expand
    from virtues_core.cohort import read_table, write_table
    from virtues_core.cohort.space import check_features
    from virtues_core.cohort.space_table import (
        check_profiles_path,
        joined,
        write_profiles,
        write_space,
    )
    from virtues_core.infer.token_table import check_suffix

    chosen = check_features(of)
    check_suffix(out)
    if profiles is not None:
        check_profiles_path(profiles)
    table = joined([read_table(path) for path in expand(paths)])
    found = write_space(table, of=chosen, resolution=resolution, umap=umap, seed=seed)
    write_table(table, out)
    if profiles is not None:
        write_profiles(found, profiles)
    for name, count, values in zip(found.names, found.counts, found.values, strict=True):
        best = ", ".join(found.markers[c] for c in values.argsort()[::-1][:BRIGHTEST])
        typer.echo(f"cluster {name} ({count:,}): brightest {best}")
    typer.echo(f"{out}: {len(table):,} rows in {len(found.names)} clusters")
