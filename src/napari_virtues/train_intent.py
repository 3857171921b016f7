"""What is chosen in the *Train* dock → a check, a run directory, a job. Knows no Qt."""

import dataclasses
import json
import shlex
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from virtues_core.errors import InputError
from virtues_core.files import replacing
from virtues_core.jobs import Job, SlurmOptions, jobs_root, submit
from virtues_core.train import TrainConfig

SCRATCH = ""
"""Stands for no checkpoint: weights are drawn at random."""
ACCELERATORS = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}
"""What PyTorch calls a device → what a recipe calls it."""
RECIPES = "recipes"
"""Folder beside the jobs that keeps the recipes of those started here: a run directory has to be
new when a job starts."""


@dataclass(frozen=True)
class TrainIntent:
    """A training as it was chosen."""

    paths: tuple[Path, ...]
    """Image files, or spora folders."""
    checkpoint: str
    """Where weights come from; `SCRATCH` for none."""
    config: TrainConfig
    """The recipe."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    executor: str
    """"local" or "slurm"."""
    slurm: SlurmOptions
    """What the cluster is asked for, where it runs there."""
    name: str = ""
    """What the job is called; by default the command and the time."""
    embeddings: Path | None = None
    """Of the markers' proteins; those without one are trained by name only."""

    @property
    def spora(self) -> bool:
        """Whether the paths are spora folders.

        Raises
        ------
        InputError
            Some are and some are not.
        """
        kinds = {is_spora(path) for path in self.paths}
        if len(kinds) > 1:
            message = (
                "expected image files or spora folders, found both; take one kind out, or write "
                "the images into a spora folder"
            )
            raise InputError(message)
        return True in kinds


def is_spora(path: Path) -> bool:
    """Tell whether a path is a folder in the spora layout."""
    return (path / "metadata" / "tissues.parquet").is_file()


def recipe_of(config: TrainConfig, device: str, executor: str, slurm: SlurmOptions) -> TrainConfig:
    """Have a recipe run where it is to run.

    Raises
    ------
    InputError
        No recipe runs on this device.
    ConfigError
        As `TrainConfig`.
    """
    if executor == "slurm":
        return dataclasses.replace(
            config, accelerator="auto", devices=max(1, slurm.gpus), nodes=slurm.nodes
        )
    if device not in ACCELERATORS:
        message = f"expected one of {', '.join(ACCELERATORS)} to train on, found {device!r}"
        raise InputError(message)
    return dataclasses.replace(config, accelerator=ACCELERATORS[device])


def training_argv(intent: TrainIntent, recipe: Path) -> list[str]:
    """Give what follows ``virtues`` in the command that trains so.

    Parameters
    ----------
    intent
        What was chosen.
    recipe
        The file that its config was written to.
    """
    option = "--data" if intent.spora else "--images"
    words: list[Any] = ["pretrain", "--config", recipe]
    for path in intent.paths:
        words += [option, path]
    if intent.checkpoint != SCRATCH:
        words += ["--from", intent.checkpoint]
    if intent.embeddings is not None:
        words += ["--embeddings", intent.embeddings]
    return [str(word) for word in words]


def start_training(intent: TrainIntent) -> Job:
    """Write the recipe and start the job; its process outlives this one.

    Raises
    ------
    VirtuesError
        The job cannot be started; the text says why.
    """
    recipe = jobs_root() / RECIPES / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}.yaml"
    write_recipe(intent.config, recipe)
    try:
        return submit(
            training_argv(intent, recipe),
            executor=intent.executor,
            device=intent.device if intent.device in {"cpu", "mps"} else "auto",
            name=intent.name,
            slurm=intent.slurm,
        )
    except BaseException:
        recipe.unlink()
        raise


def training_command(job: Job) -> str:
    """Write the command that does what a training did.

    Raises
    ------
    RunError
        Its run directory cannot be read.
    """
    record = job.record
    executor = ["--executor", record.executor]
    return shlex.join(["virtues", *record.argv, *executor])


def write_recipe(config: TrainConfig, path: Path) -> None:
    """Write a recipe as ``virtues pretrain --config`` reads it.

    Raises
    ------
    VirtuesError
        The folder cannot be written.
    """
    plain = json.loads(json.dumps(config.to_dict()))  # tuples become lists, which YAML has
    with replacing(path) as new:
        new.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
