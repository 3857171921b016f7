"""What commands have in common that take one image or a cohort of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtues_core.cli._options import expand, tell_job
from virtues_core.errors import InputError, VirtuesError

if TYPE_CHECKING:
    from virtues_core.infer.listing import Listed
    from virtues_core.infer.many import Outcome, Task

ImagePaths = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", help="An image file or folder; a cohort: several, or a spora folder."
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        help="Of a cohort: dask scheduler whose workers do it, tcp://host:8786; by default workers "
        "are started here.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", help="Of a cohort: worker processes here; one a GPU, or one, by default."
    ),
]


def is_cohort(images: Sequence[str], out: Path, **only: Any) -> bool:
    """Tell by what is written: into a folder goes a cohort, into a file one image.

    Parameters
    ----------
    images
        As the person gave them.
    out
        What to write: a folder is there already, or has no ending.
    only
        Options of the cohort alone, by name, each None or empty where it was not given.

    Raises
    ------
    InputError
        Several images for one file, or an option that has no meaning there.
    """
    if not out.suffix or (out.is_dir() and out.suffix != ".zarr"):
        return True
    given = [f"--{name}" for name, value in only.items() if value]
    if len(images) > 1 or given:
        found = f"{len(images)} images" if len(images) > 1 else " and ".join(given)
        message = (
            f"expected one image to write the file {out.name!r}, found {found}. For a cohort let "
            "--out be a folder: a name without an ending."
        )
        raise InputError(message)
    return False


def listed(images: Sequence[str], out: Path, **without: Any) -> "tuple[Listed, ...]":
    """List the images of a cohort.

    Parameters
    ----------
    images
        Files, patterns, spora folders.
    out
        The folder to write.
    without
        Options that a cohort does not take, by name, each None or empty where it was not given.

    Raises
    ------
    InputError
        Nothing matches, two images have one name, or such an option is there.
    VirtuesError
        The folder cannot be written.
    """
    from virtues_core.files import check_writable
    from virtues_core.infer.listing import list_images

    given = [f"--{name}" for name, value in without.items() if value]
    if given:
        message = (
            f"expected a file as --out with {' and '.join(given)}, which is of one image, found "
            f"{str(out)!r}. Give the file to write, or leave {' and '.join(given)} out."
        )
        raise InputError(message)
    found = list_images(expand(images))
    check_writable(out / "one")
    return found


def anywhere(path: Path | None) -> Path | None:
    """Name a file so that a worker finds it from another folder."""
    return None if path is None else path.absolute()


def checkpoint_anywhere(name: str) -> str:
    """Name a checkpoint so that a worker finds it from another folder."""
    there = name != "demo" and Path(name).expanduser().exists()
    return str(Path(name).expanduser().absolute()) if there else name


def do_cohort(tasks: "Sequence[Task]", device: str, scheduler: str, workers: int | None) -> None:
    """Do all, tell each as it is done, and at the end what failed.

    Raises
    ------
    VirtuesError
        Images failed, or there is no place to do it.
    """
    from virtues_core.infer.many import Cluster, environments, run_many
    from virtues_core.model.device import device_named

    if scheduler and workers is not None:
        message = "expected --scheduler or --workers: a scheduler has the workers that it has."
        raise InputError(message)
    if scheduler:
        cluster = Cluster(scheduler)
    else:
        cluster = Cluster(environments=environments(device_named(device), workers))
    outcomes = run_many(tasks, cluster, on_outcome=_told, on_progress=_progress)
    count = {state: sum(o.state == state for o in outcomes) for state in ("made", "kept", "failed")}
    typer.echo(f"{len(outcomes)} images: {count['made']} made, {count['kept']} there already")
    failed = [outcome.name for outcome in outcomes if outcome.state == "failed"]
    if failed:
        message = (
            f"{len(failed)} of {len(outcomes)} images failed: {', '.join(failed)}. Why is said "
            "above (of a job: in its log). Run the same command again: only what is missing is "
            "computed."
        )
        raise VirtuesError(message)


def _told(outcome: "Outcome") -> None:
    said = "there already" if outcome.state == "kept" else outcome.said.replace("\n", "; ")
    failed = outcome.state == "failed"
    typer.echo(f"{outcome.name}: {'failed: ' if failed else ''}{said}", err=failed)
    if outcome.trace:
        typer.echo(outcome.trace, err=True)


def _progress(share: float, said: str) -> None:
    """Say how far it is, in the status of the job and where a person watches."""
    tell_job(share, 1, said)
    if sys.stderr.isatty():
        typer.echo(f"\r{said}", err=True, nl=share >= 1)
