"""``virtues evaluate``: measure a checkpoint on images with known truth."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import CheckpointName, DeviceName, FitCommand, TilesAtOnce

if TYPE_CHECKING:
    from collections.abc import Iterable

    from virtues_core.evaluate import (
        Encoder,
        LabelledTissue,
        ProbeReport,
        ReconstructionReport,
    )
    from virtues_core.model.split import Split

_Label = Annotated[str, typer.Option("--label", help="Column of metadata/cells.parquet.")]
_Out = Annotated[Path, typer.Option("--json", help="The JSON file to write.")]
_Level = Annotated[
    str,
    typer.Option("--level", help="cell; or niche: squares of 128 px, labelled as most cells are."),
]
_CAMAE = Annotated[
    Path | None, typer.Option("--camae", help="A CA-MAE of this panel: virtues train-camae.")
]
_Kronos = Annotated[
    Path | None,
    typer.Option("--kronos", help="Folder of KRONOS, where you have its package and weights."),
]
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
    level: _Level = "cell",
    test_fraction: Annotated[
        float,
        typer.Option("--test-fraction", help="Share of patients, where the cohort has no split."),
    ] = 0.2,
    stride: _Stride = 42,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
    seed: Annotated[int, typer.Option("--seed", help="Draws the patients.")] = 0,
    camae: _CAMAE = None,
    kronos: _Kronos = None,
    resnet: Annotated[
        str,
        typer.Option("--resnet", help="ResNet-50: folder or hub name; only with --level niche."),
    ] = "",
) -> None:
    """Probe types within a cohort: tokens beside other features, F1 on other patients."""
    from virtues_core.evaluate import evaluate_cells

    chosen = _Encoders(checkpoint, device, level, stride, batch_size)
    encoders = chosen.made(camae, kronos, resnet)
    report = evaluate_cells(
        chosen.cohort(cohort, label),
        encoders,
        test_fraction=test_fraction,
        least_cells=chosen.least,
        trained=chosen.trained,
        seed=seed,
    )
    _write_probes(report, label, level, out)


def transfer(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A spora folder, labelled.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="One of another panel.")],
    label: _Label,
    out: _Out,
    checkpoint: CheckpointName = "demo",
    level: _Level = "cell",
    method: Annotated[
        str, typer.Option("--method", help="forest, as in the paper, or logistic.")
    ] = "forest",
    stride: _Stride = 42,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
    seed: Annotated[int, typer.Option("--seed", help="Draws cells and trees.")] = 0,
    camae: _CAMAE = None,
    kronos: _Kronos = None,
) -> None:
    """Carry types from one cohort to another by the markers that both show."""
    from virtues_core.cohort.classify import check_method
    from virtues_core.evaluate import evaluate_transfer

    how = check_method(method)
    chosen = _Encoders(checkpoint, device, level, stride, batch_size)
    encoders = chosen.made(camae, kronos)
    report = evaluate_transfer(
        chosen.cohort(source, label),
        chosen.cohort(target, label),
        encoders,
        method=how,
        least_cells=chosen.least,
        seed=seed,
    )
    _write_probes(report, label, level, out)


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

    from virtues_core.errors import ConfigError
    from virtues_core.evaluate import ForwardCost, ScalingRequest, measure_scaling
    from virtues_core.files import replacing
    from virtues_core.model import PRESETS
    from virtues_core.model.device import device_named

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


@dataclass(frozen=True)
class _Encoders:
    """What the two commands compare, and on what."""

    checkpoint: str
    device: str
    level: str
    stride: int
    batch_size: int

    def __post_init__(self) -> None:
        from virtues_core.errors import ConfigError
        from virtues_core.infer.request import TILE_PX

        if self.level not in {"cell", "niche"}:
            message = f"--level: expected cell or niche, got {self.level!r}"
            raise ConfigError(message)
        if self.level == "niche":  # tiles side by side, as the niches are
            object.__setattr__(self, "stride", TILE_PX)

    def cohort(self, folder: Path, label: str) -> "Iterable[LabelledTissue]":
        from virtues_core.evaluate import LabelledCohort, NicheCohort

        found = LabelledCohort(folder, label)
        return found if self.level == "cell" else NicheCohort(found)

    @property
    def least(self) -> int:
        """Labelled cells or niches that a class needs."""
        from virtues_core.cohort.annotate import LEAST_CELLS
        from virtues_core.evaluate.labelled import LEAST_NICHES

        return LEAST_CELLS if self.level == "cell" else LEAST_NICHES

    @property
    def trained(self) -> "Split | None":
        """Whom the checkpoint was trained on."""
        from virtues_core.model.checkpoint import weights_of
        from virtues_core.model.split import SPLIT_FILE, Split

        return Split.load(weights_of(self.checkpoint).with_name(SPLIT_FILE))

    def made(self, camae: Path | None, kronos: Path | None, resnet: str = "") -> "list[Encoder]":
        """Open the encoders that are asked for, in the order of the table's columns."""
        from virtues_core.cli._options import open_checkpoint
        from virtues_core.errors import ConfigError
        from virtues_core.evaluate import (
            CAMAETokens,
            MeanIntensities,
            ResNetNiches,
            VirTuesTokens,
            load_camae,
            load_kronos,
            load_resnet,
        )
        from virtues_core.model.device import device_named

        if resnet and self.level == "cell":
            message = "--resnet: expected --level niche with it, for it has no features of cells"
            raise ConfigError(message)
        if kronos and self.level == "niche":
            message = "--kronos: expected --level cell with it; niches are not offered"
            raise ConfigError(message)
        device, step = device_named(self.device), (self.stride, self.batch_size)
        known = open_checkpoint(self.checkpoint, self.device)
        encoders: list[Encoder] = [VirTuesTokens(known, *step)]
        if camae is not None:
            encoders.append(CAMAETokens(load_camae(camae).to(device), *step))
        if kronos is not None:
            made = load_kronos(kronos, device, stride_px=self.stride, batch_size=self.batch_size)
            encoders.append(made)
        if resnet:
            encoders.append(ResNetNiches(load_resnet(resnet, device), self.batch_size))
        return [*encoders, MeanIntensities()]


def _write_probes(report: "ProbeReport", label: str, level: str, out: Path) -> None:
    """Write what each encoder tells, and say it in one table."""
    from virtues_core.cohort.scores import told
    from virtues_core.files import replacing

    described = {"label": label, "level": level} | report.to_dict()
    with replacing(out) as new:
        new.write_text(json.dumps(described, indent=1, ensure_ascii=False), "utf-8")
    below = []
    if report.intervals:
        ends = (report.intervals[name].macro for name in report.encoders)
        below = [["95 %, patients", *(f"{low:.3f}-{high:.3f}" for low, high in ends)]]
    typer.echo(told(report.encoders, below))
    typer.echo(
        f"{report.method}, {len(report.markers)} markers, trained on {report.trained_on} "
        f"{level}s, split: {report.split}"
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
