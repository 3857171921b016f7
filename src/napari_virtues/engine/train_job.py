"""What a training would do, take and lack, as a job for the child."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtues.engine import messages
from napari_virtues.engine.cells_jobs import _OneByOne
from napari_virtues.job_files import duration

if TYPE_CHECKING:
    from virtues_core.model import Checkpoint
    from virtues_core.train import TrainConfig
    from virtues_core.train.memory import StepCost
    from virtues_core.train.plan import TrainingPlan


@dataclass(frozen=True)
class TrainingCheck:
    """What was found; holds no PyTorch."""

    config: "TrainConfig"
    """The recipe, with the sizes of the checkpoint that it starts from."""
    lines: tuple[str, ...]
    """What it would do and take."""
    warnings: tuple[str, ...]
    """What it would go on with, and should be known."""
    stops: tuple[str, ...]
    """What would end it at once."""


@dataclass(frozen=True)
class CheckTrainingJob(_OneByOne):
    """Look at the data of a training and measure a step of it."""

    paths: tuple[Path, ...]
    spora: bool
    """Whether the paths are spora folders; else they are images."""
    checkpoint: str
    """Where weights come from; empty for none."""
    config: "TrainConfig"
    embeddings: Path | None = None
    """Of the markers' proteins, where there are some."""
    measure: bool = True
    """Whether a step is measured on this machine."""

    def run(self, worker: messages.Worker) -> TrainingCheck:
        """Do it, in the child."""
        from virtues_core.markers import MarkerEmbeddings
        from virtues_core.model import load_checkpoint
        from virtues_core.train.memory import measure_step
        from virtues_core.train.plan import plan_training
        from virtues_core.train.sources import sources_of_images, sources_of_spora

        start: Checkpoint | None = None
        config = self.config
        if self.checkpoint:
            worker.emit(messages.Loading("checkpoint"))
            start = load_checkpoint(self.checkpoint)
            config = dataclasses.replace(config, model=start.config)
        worker.emit(messages.Loading("training data"))
        sources = sources_of_spora(self.paths) if self.spora else sources_of_images(self.paths)
        known = None if self.embeddings is None else MarkerEmbeddings.load(self.embeddings)
        plan = plan_training(config, sources, embeddings=known, start=start)
        cost: StepCost | None = None
        if self.measure and not plan.stops and not worker.cancelled():
            worker.emit(messages.Loading("training step"))
            cost = measure_step(config, plan.widest_panel)
        lines = (*data_in_words(plan), *run_in_words(plan, config, cost))
        return TrainingCheck(config, lines, plan.warnings, plan.stops)


def data_in_words(plan: "TrainingPlan") -> list[str]:
    """Say what the data are."""
    lines = []
    for found in plan.datasets:
        lines.append(
            f"{found.name}: {_count(found.images, 'image')}, {_count(found.patients, 'patient')}, "
            f"{_count(len(found.markers), 'marker')}, {100 * found.tissue:.0f} % tissue"
        )
        if found.left_out:
            lines.append(f"  not for the model: {_some(found.left_out)}")
    if len(plan.datasets) > 1:
        lines.append(f"Markers in all: {len(plan.shared)} ({_some(plan.shared)})")
        lines.append(f"Markers in some: {len(plan.differing)} ({_some(plan.differing)})")
    return lines


def run_in_words(plan: "TrainingPlan", config: "TrainConfig", cost: "StepCost | None") -> list[str]:
    """Say what the run would do, and what it would take where a step was measured."""
    steps = "as many steps as fit" if plan.steps is None else _count(plan.steps, "step")
    crops = "" if plan.crops is None else f", {plan.crops:,} in all"
    lines = [f"{steps} of {_count(config.batch_size, 'crop')}{crops}; an epoch is {plan.windows:,}"]
    if plan.held_out:
        lines.append(f"{_count(plan.held_out, 'patient')} kept out to validate on")
    if cost is None:
        return lines
    minutes = plan.minutes(cost.seconds)
    if minutes is None:
        fit = round(60 * (config.max_minutes or 0) / max(cost.seconds, 1e-9))
        lines.append(f"{config.max_minutes:g} min, about {_count(fit, 'step')}")
    else:
        lines.append(f"about {duration(60 * minutes)}")
    lines[-1] += (
        f": {cost.seconds:.2g} s a step on {cost.device}, {cost.peak_bytes / 2**30:.1f} GiB with "
        f"{_count(cost.micro_batch_size, 'crop')} at once"
    )
    return lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _some(names: tuple[str, ...], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
