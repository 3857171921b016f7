"""``virtues inpaint``: hide markers or a region of an image, and write what the model paints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import (
    CheckpointName,
    DeviceName,
    FitCommand,
    ImageName,
    ImagePath,
    PanelFile,
    TilesAtOnce,
    tile_progress,
)

if TYPE_CHECKING:
    import dask.array as da

    from virtues_core.image import MultiplexImage
    from virtues_core.infer import InpaintResult, TileDone

LOWER = "{} lower 10%"
UPPER = "{} upper 90%"
"""Names of the channels that hold the ends of a marker's 80 % interval."""
REPEATS = 4
STRIDE_PX = 96
"""Defaults of `InpaintRequest`, which takes PyTorch to import; a test holds them to it."""


def register(app: typer.Typer) -> None:
    """Add ``inpaint`` to the command line."""
    app.command("inpaint", cls=FitCommand)(inpaint)


def inpaint(
    path: ImagePath,
    out: Annotated[Path, typer.Option("--out", help="The OME-TIFF to write.")],
    markers: Annotated[
        str, typer.Option("--markers", help="Channel names to hide, A,B; or to report.")
    ] = "",
    region: Annotated[
        Path | None, typer.Option("--region", help="Mask file: hide where it is not 0.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="marker: hide the markers (in the region); niche: hide all channels in the "
            "region, or in random patches; independent: random patches of each channel. "
            "Default: niche with --region, else marker.",
        ),
    ] = None,
    checkpoint: CheckpointName = "demo",
    fit: Annotated[
        list[str] | None,
        typer.Option("--fit", help="Other images of the cohort: paths, or a pattern in quotes."),
    ] = None,
    image: ImageName = None,
    panel: PanelFile = None,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
    repeats: Annotated[
        int,
        typer.Option("--repeats", help="Visible subsets for the interval; 0 is quickest."),
    ] = REPEATS,
    stride: Annotated[
        int, typer.Option("--stride", help="Step from tile to tile, px: 128 without overlap.")
    ] = STRIDE_PX,
    seed: Annotated[int, typer.Option("--seed", help="Draws patches and subsets.")] = 0,
) -> None:
    """Paint hidden markers or regions back, with an 80 % interval, in counts."""
    from virtues_core.cli._options import expand, open_checkpoint
    from virtues_core.infer import InpaintRequest
    from virtues_core.infer import inpaint as paint
    from virtues_core.infer.request import check_strategy
    from virtues_core.markers import Panel
    from virtues_core.read import read_image, read_labels, write_ome_tiff

    opened = read_image(path, image)
    hidden = None
    if region is not None:
        hidden = read_labels(region, shape=opened.shape[1:]) != 0
    chosen = strategy or ("marker" if region is None else "niche")
    request = InpaintRequest(
        strategy=check_strategy(chosen),
        markers=tuple(name.strip() for name in markers.split(",") if name.strip()),
        region=hidden,
        repeats=repeats,
        stride_px=stride,
        batch_size=batch_size,
        seed=seed,
    )
    others: list[MultiplexImage] = [read_image(other) for other in expand(fit or [])]
    result = paint(
        opened,
        None if panel is None else Panel.from_csv(panel),
        open_checkpoint(checkpoint, device),
        request,
        fit_images=others,
        on_tile=_progress,
    )
    pixels, names = _channels(result)
    write_ome_tiff(out, pixels, names, opened.pixel_size_um)
    typer.echo(told(result))
    typer.echo(f"{out}: {len(names)} channels, counts")


def _progress(tile: "TileDone") -> None:
    tile_progress(tile.index + 1, tile.total)


def _channels(result: "InpaintResult") -> "tuple[da.Array, list[str]]":
    """Give the planes of the file and their names: value, lower and upper of each marker."""
    import dask.array as da

    parts = (result.prediction_counts, result.lower_counts, result.upper_counts)
    lazy = [
        da.from_array(part, chunks=(1, *part.shape[1:]), name=False)  # type: ignore[no-untyped-call]
        for part in parts
    ]
    forms = ("{}", LOWER, UPPER)
    planes = [part[k] for k in range(len(result.channels)) for part in lazy]
    stacked = da.stack(planes)  # type: ignore[no-untyped-call]
    return stacked, [form.format(name) for name in result.channels for form in forms]


def told(result: "InpaintResult") -> str:
    """Say in a table how good each marker is, then what a person should know."""
    simple = list(dict.fromkeys(name for score in result.scores for name in score.baselines))
    rows = [["marker", "pearson", "f1", "in 80 %", "method", *simple]]
    for score in result.scores:
        rows.append(
            [
                score.channel,
                f"{score.pearson:.3f}",
                f"{score.f1:.3f}",
                f"{100 * score.coverage:.0f} %",
                score.method,
                *(f"{score.baselines[n]:.3f}" if n in score.baselines else "-" for n in simple),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [f"{score.channel}: {score.note}" for score in result.scores if score.note]
    lines += [f"note: {text}" for text in result.warnings]
    return "\n".join(lines)
