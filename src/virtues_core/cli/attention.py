"""``virtues attention``: what the model looked at, in regions of an image or at a point."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import (
    CheckpointName,
    DeviceName,
    ImageName,
    ImagePath,
    PanelFile,
    TilesAtOnce,
)
from virtues_core.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from virtues_core.image import MultiplexImage
    from virtues_core.infer import MarkerImportance
    from virtues_core.infer.ablation import Probabilities
    from virtues_core.infer.spatial import SpatialAttention
    from virtues_core.markers import Panel
    from virtues_core.model import Checkpoint

SHOWN = 5
"""Markers of a region that are printed."""


def register(app: typer.Typer) -> None:
    """Add ``attention`` to the command line."""
    app.command("attention")(attention)


def attention(
    path: ImagePath,
    out: Annotated[Path, typer.Option("--out", help="Folder to write into.")],
    region: Annotated[
        Path | None,
        typer.Option("--region", help="Mask file: each label is a region, 0 is none."),
    ] = None,
    point: Annotated[
        str | None, typer.Option("--point", help="Y,X in px: what the model looked at for it.")
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option("--classifier", help="Of virtues annotate fit: types at the point."),
    ] = None,
    label_model: Annotated[
        Path | None,
        typer.Option("--label-model", help="Of virtues train-label: where it looks for the label."),
    ] = None,
    marker: Annotated[
        str | None,
        typer.Option("--marker", help="With --label-model: the attention within this channel."),
    ] = None,
    checkpoint: CheckpointName = "demo",
    image: ImageName = None,
    panel: PanelFile = None,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
) -> None:
    """Score each marker in regions, or tell what counts at a point, or for a label.

    For regions: markers.csv, and markers.png with bars. For a point: rollout.tif is where in the
    tissue attention came from, point.csv says of each marker its share in that, how far the token
    moves when the marker is hidden, and what each type's probability loses. For a label:
    spatial.ome.tiff is the attention of each pixel, as a multiple of what it would be were all of
    its tile attended to alike; label.csv has the probabilities.
    """
    from virtues_core.cli._options import open_checkpoint, tile_progress
    from virtues_core.infer import marker_importance
    from virtues_core.infer.importance_figure import draw_importance
    from virtues_core.markers import Panel
    from virtues_core.read import read_image, read_labels

    if marker is not None and label_model is None:
        message = "expected --marker only with --label-model; name the folder, or leave it out."
        raise InputError(message)
    place = _place(region, point, classifier, label_model)
    opened = read_image(path, image)
    given = None if panel is None else Panel.from_csv(panel)
    labels = None if region is None else read_labels(region, shape=opened.shape[1:])
    if label_model is not None:
        _explain_label(opened, given, label_model, marker, device, batch_size, out)
    if place is None and labels is None:
        return
    model = open_checkpoint(checkpoint, device)
    if place is not None:
        _explain_point(opened, given, model, place, classifier, out)
    if labels is None:
        return
    found = marker_importance(
        opened, given, model, labels, batch_size=batch_size, on_tile=tile_progress
    )
    write_csv(found, out / "markers.csv")
    draw_importance(found, out / "markers.png")
    for label, pixels in zip(found.regions, found.area_px, strict=True):
        best = ", ".join(f"{name} {score:.2f}" for name, score in found.ranked(label)[:SHOWN])
        typer.echo(f"region {label} ({pixels} px): {best}")
    for text in found.warnings:
        typer.echo(f"note: {text}")
    typer.echo(f"{out / 'markers.csv'}, {out / 'markers.png'}: {len(found.channels)} markers")


def _place(
    region: Path | None, point: str | None, classifier: Path | None, label_model: Path | None
) -> tuple[int, int] | None:
    """Read Y,X; refuse options that leave nothing to do."""
    if point is None:
        if (region is None and label_model is None) or classifier is not None:
            message = (
                "expected --region with a mask, --point with Y,X, or --label-model with a folder "
                "(and --classifier only with a point); name what to look at."
            )
            raise InputError(message)
        return None
    try:
        y, x = (int(part) for part in point.split(","))
    except ValueError as error:
        message = f"expected a point as Y,X in whole px, found {point!r}; for example 120,64."
        raise InputError(message) from error
    return y, x


def _explain_point(
    image: "MultiplexImage",
    panel: "Panel | None",
    model: "Checkpoint",
    place: tuple[int, int],
    classifier: Path | None,
    out: Path,
) -> None:
    """Write rollout.tif and point.csv."""
    import csv

    import numpy as np

    from virtues_core.files import replacing
    from virtues_core.infer import ablate_markers, prepare_image, rollout_from
    from virtues_core.read import write_ome_tiff

    classes, probabilities = _types(classifier, model)
    prepared = prepare_image(image, panel, model)
    seen = rollout_from(prepared, model, place)
    hidden = ablate_markers(prepared, model, place, probabilities)
    (y, x), patch = seen.origin, seen.patch_px
    plane = np.zeros(prepared.shape, np.float32)
    tile = seen.map.repeat(patch, 0).repeat(patch, 1) / patch**2  # of a pixel; the sum stays 1
    height, width = plane[y : y + len(tile), x : x + len(tile)].shape
    plane[y : y + height, x : x + width] = tile[:height, :width]
    write_ome_tiff(out / "rollout.tif", plane[None], ["attention"], image.pixel_size_um)
    losses = hidden.probability_change
    with replacing(out / "point.csv") as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["marker", "rollout", "token_change", *(f"loses {c}" for c in classes)])
        for c, name in enumerate(prepared.channels):
            row = [seen.markers[c], hidden.token_change[c], *([] if losses is None else losses[c])]
            rows.writerow([name, *(f"{value:.6g}" for value in row)])
    best = np.argsort(-hidden.token_change, kind="stable")[:SHOWN]
    told = ", ".join(f"{prepared.channels[c]} {hidden.token_change[c]:.3f}" for c in best)
    typer.echo(f"hidden, the token at {place} moves most without: {told}")
    typer.echo(f"{out / 'rollout.tif'}, {out / 'point.csv'}")


def _explain_label(
    image: "MultiplexImage",
    panel: "Panel | None",
    folder: Path,
    marker: str | None,
    device: str,
    batch_size: int,
    out: Path,
) -> None:
    """Write spatial.ome.tiff and label.csv."""
    from virtues_core.cli._options import open_checkpoint, tile_progress
    from virtues_core.infer.spatial import spatial_attention
    from virtues_core.model.label_file import load_label_model
    from virtues_core.read import write_ome_tiff

    model = load_label_model(open_checkpoint(str(folder), device))
    found = spatial_attention(
        image, panel, model, marker=marker, batch_size=batch_size, on_tile=tile_progress
    )
    write_ome_tiff(
        out / "spatial.ome.tiff", found.pixels()[None], ["attention"], image.pixel_size_um
    )
    write_label_csv(found, out / "label.csv")
    for name, probability, low, high in found.rows():
        typer.echo(f"{found.label} {name}: {probability:.2f} (most tiles: {low:.2f} to {high:.2f})")
    typer.echo(f"this model, {model.told()}")
    for text in found.warnings:
        typer.echo(f"note: {text}")
    typer.echo(f"{out / 'spatial.ome.tiff'}, {out / 'label.csv'}: {len(found.tiles)} tiles")


def _types(
    path: Path | None, model: "Checkpoint"
) -> "tuple[tuple[str, ...], Probabilities | None]":
    """Open a classifier of this checkpoint's tokens: its classes, and tokens → probabilities.

    Raises
    ------
    CheckpointError
        It was made with another checkpoint.
    InputError
        It reads mean intensities beside tokens.
    """
    if path is None:
        return (), None
    from functools import partial

    from virtues_core.cohort import load_classifier
    from virtues_core.cohort.classify import probabilities
    from virtues_core.infer import checkpoint_signature

    found = load_classifier(path)
    if found.signature != checkpoint_signature(model):
        message = (
            f"expected a classifier made with this checkpoint, found one of {found.checkpoint!r} "
            f"in {str(path)!r}. Use that checkpoint, or fit a classifier on tokens of this one."
        )
        raise CheckpointError(message)
    if found.markers:
        message = (
            f"expected a classifier of tokens alone, found one of tokens and mean intensities in "
            f"{str(path)!r}. Fit one with `virtues annotate fit`, on 'cell_type_clicked' of the "
            "cells saved from the window."
        )
        raise InputError(message)
    return found.classes, partial(probabilities, found.estimator)


def write_csv(found: "MarkerImportance", path: Path) -> None:
    """Write the columns marker and importance; of several regions, importance_LABEL each.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    import csv

    from virtues_core.files import replacing

    one = len(found.regions) == 1
    columns = ["importance"] if one else [f"importance_{label}" for label in found.regions]
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["marker", *columns])
        for name, scores in zip(found.channels, found.importance, strict=True):
            rows.writerow([name, *(f"{score:.6g}" for score in scores)])


def write_label_csv(found: "SpatialAttention", path: Path) -> None:
    """Write the columns class, probability, low and high (of the middle 80 % of the tiles).

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    import csv

    from virtues_core.files import replacing

    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["class", "probability", "low", "high"])
        for name, *numbers in found.rows():
            rows.writerow([name, *(f"{value:.6g}" for value in numbers)])
