"""``virtues evaluate``: measure a checkpoint on images with known truth."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import CheckpointName, DeviceName, FitCommand, TilesAtOnce

if TYPE_CHECKING:
    from virtues_core.evaluate import Encoder, ProbeReport, ReconstructionReport

_Label = Annotated[str, typer.Option("--label", help="Column of metadata/cells.parquet.")]
_Out = Annotated[Path, typer.Option("--json", help="The JSON file to write.")]
_Stride = Annotated[int, typer.Option("--stride", help="Step from tile to tile, px.")]


def register(app: typer.Typer) -> None:
    """Add ``evaluate`` to the command line."""
    group = typer.Typer(help="Measure a checkpoint on images with known truth.")
    group.callback()(_evaluate)
    group.command("reconstruction", cls=FitCommand)(reconstruction)
    group.command("cells")(cells)
    group.command("transfer")(transfer)
    group.command("scaling")(scaling)
    app.add_typer(group, name="evaluate")


def _evaluate() -> None:
    """Measure a checkpoint on images with known truth."""


def reconstruction(
    paths: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Images to test on.")],
    checkpoint: CheckpointName,
    out: Annotated[Path, typer.Option("--json", help="The JSON file to write.")],
    fit: Annotated[
        list[str] | None,
        typer.Option("--fit", help="Other images of the cohort, for ridge: paths or a pattern."),
    ] = None,
    strategies: Annotated[
        str, typer.Option("--strategies", help="Which maskings, separated by commas.")
    ] = "independent,marker,niche",
    repeats: Annotated[
        int, typer.Option("--repeats", help="Visible subsets for the interval's coverage; 4, or 0.")
    ] = 0,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 16,
    seed: Annotated[int, typer.Option("--seed", help="Draws what is hidden.")] = 0,
) -> None:
    """Hide and paint back: Pearson and F1 per marker over masked pixels, with the simple ways."""
    from virtues_core.cli._options import expand, open_checkpoint
    from virtues_core.evaluate import evaluate_reconstruction
    from virtues_core.files import replacing
    from virtues_core.infer.request import check_strategy
    from virtues_core.read import read_image

    chosen = [check_strategy(name.strip()) for name in strategies.split(",") if name.strip()]
    report = evaluate_reconstruction(
        [read_image(path) for path in expand(paths)],
        open_checkpoint(checkpoint, device),
        fit=[read_image(path) for path in expand(fit or [])],
        strategies=chosen,
        repeats=repeats,
        batch_size=batch_size,
        seed=seed,
    )
    with replacing(out) as new:
        new.write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False), "utf-8")
    typer.echo(_told(report))


def cells(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="A spora folder.")],
    label: _Label,
    out: _Out,
    checkpoint: CheckpointName = "demo",
    test_fraction: Annotated[
        float,
        typer.Option("--test-fraction", help="Share of patients, where the cohort has no split."),
    ] = 0.2,
    stride: _Stride = 42,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
    seed: Annotated[int, typer.Option("--seed", help="Draws the patients.")] = 0,
    camae: Annotated[
        Path | None, typer.Option("--camae", help="A CA-MAE of this panel: virtues train-camae.")
    ] = None,
) -> None:
    """Probe cell types within a cohort: tokens beside mean intensities, F1 on other patients."""
    from virtues_core.evaluate import CAMAETokens, LabelledCohort, evaluate_cells, load_camae

    encoders = _encoders(checkpoint, device, stride, batch_size)
    if camae is not None:
        encoders.insert(1, CAMAETokens(load_camae(camae), stride, batch_size))
    report = evaluate_cells(
        LabelledCohort(cohort, label),
        encoders,
        test_fraction=test_fraction,
        seed=seed,
    )
    _write_probes(report, label, out)


def transfer(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A spora folder, labelled.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="One of another panel.")],
    label: _Label,
    out: _Out,
    checkpoint: CheckpointName = "demo",
    stride: _Stride = 42,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
    seed: Annotated[int, typer.Option("--seed", help="Draws cells and trees.")] = 0,
) -> None:
    """Carry cell types from one cohort to another by the markers that both show."""
    from virtues_core.evaluate import LabelledCohort, evaluate_transfer

    report = evaluate_transfer(
        LabelledCohort(source, label),
        LabelledCohort(target, label),
        _encoders(checkpoint, device, stride, batch_size),
        seed=seed,
    )
    _write_probes(report, label, out)


def scaling(
    out: _Out,
    markers: Annotated[
        str, typer.Option("--markers", help="How many, separated by commas.")
    ] = "10,20,40,80",
    size: Annotated[
        str, typer.Option("--size", help="Sizes of VirTues, which CA-MAE gets too: a preset.")
    ] = "published",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Crops in a batch.")] = 16,
    warmup: Annotated[int, typer.Option("--warmup", help="Batches that do not count.")] = 10,
    runs: Annotated[int, typer.Option("--runs", help="Batches that count.")] = 100,
    device: DeviceName = "auto",
) -> None:
    """Measure memory x time of a forward batch, and parameters: VirTues beside CA-MAE."""
    from dataclasses import asdict

    from virtues_core.cli._options import device_named
    from virtues_core.errors import ConfigError
    from virtues_core.evaluate import ForwardCost, ScalingRequest, measure_scaling
    from virtues_core.files import replacing
    from virtues_core.model import PRESETS

    numbers = [text.strip() for text in markers.split(",")]
    if not all(text.isdecimal() for text in numbers):
        message = f"--markers: expected whole numbers separated by commas, got {markers!r}"
        raise ConfigError(message)
    if size not in PRESETS:
        message = f"--size: expected one of {', '.join(PRESETS)}, got {size!r}"
        raise ConfigError(message)
    request = ScalingRequest(
        tuple(int(text) for text in numbers), batch_size, warmup, runs,
        str(device_named(device)), PRESETS[size],
    )  # fmt: skip

    def say(cost: ForwardCost) -> None:
        typer.echo(
            f"{cost.model:8} {cost.markers:4} markers  {cost.parameters / 1e6:8.1f} M parameters  "
            f"{cost.seconds:8.3f} s x {cost.memory_bytes / 2**30:6.2f} GiB = {cost.cost:.3f} GiB s"
        )

    found = measure_scaling(request, say)
    rows = [asdict(cost) | {"cost_gib_s": cost.cost} for cost in found]
    with replacing(out) as new:
        new.write_text(json.dumps({"batch_size": batch_size, "costs": rows}, indent=1), "utf-8")


def _encoders(checkpoint: str, device: str, stride: int, batch_size: int) -> "list[Encoder]":
    from virtues_core.cli._options import open_checkpoint
    from virtues_core.evaluate import MeanIntensities, VirTuesTokens

    known = open_checkpoint(checkpoint, device)
    return [VirTuesTokens(known, stride, batch_size), MeanIntensities()]


def _write_probes(report: "ProbeReport", label: str, out: Path) -> None:
    """Write what each encoder tells, and say it in one table."""
    from virtues_core.cohort.scores import told
    from virtues_core.files import replacing

    described = {"label": label} | report.to_dict()
    with replacing(out) as new:
        new.write_text(json.dumps(described, indent=1, ensure_ascii=False), "utf-8")
    typer.echo(told(report.encoders))
    typer.echo(
        f"{report.method}, {len(report.markers)} markers, trained on {report.trained_on} cells, "
        f"split: {report.split}"
    )
    for text in report.warnings:
        typer.echo(f"note: {text}", err=True)


def _told(report: "ReconstructionReport") -> str:
    """Say the means in a table."""
    lines = []
    for strategy, found in report.strategies.items():
        simple = ", ".join(f"{name} {value:.3f}" for name, value in found.baselines.items())
        against = f" (simple ways: {simple})" if simple else ""
        lines.append(f"{strategy:12} mean Pearson {found.mean_pearson:.3f}{against}")
    return "\n".join([*lines, *(f"note: {text}" for text in report.warnings)])
