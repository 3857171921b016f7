"""``virtues jobs``: list, watch, end what runs; ``--executor``: make a job of any long command."""

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from virtues_core.errors import ConfigError, InputError, VirtuesError

JobName = Annotated[str, typer.Argument(metavar="JOB", help="Its name, or its run directory.")]
OPTIONS = ("--executor", "--job-name", "--job-device", "--slurm")
"""Taken out of any command line before the command sees it."""


def register(app: typer.Typer) -> None:
    """Add ``jobs`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Long commands as processes of their own, which outlive the terminal and the window. "
        "Started by: virtues COMMAND ... --executor local (or slurm; --slurm key=value says what "
        "to ask of the cluster). --job-name says what to call it, --job-device whose turn it waits "
        "for: auto (the first GPU that is free), cpu, cuda:1, or several, cuda:0,cuda:1.",
    )
    for command in (list_all, show, follow, cancel, resume, remove):
        group.command(command.__name__.removesuffix("_all"))(command)
    app.add_typer(group, name="jobs")


def list_all(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, all that is known.")] = False,
) -> None:
    """List the jobs of this user, the newest last."""
    from virtues_core.jobs import list_jobs

    jobs = list_jobs()
    if as_json:
        typer.echo(json.dumps([_described(job) for job in jobs], indent=1))
        return
    rows = [("job", "state", "done", "left", "submitted", ""), *map(_row, jobs)]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        typer.echo("  ".join(cells).rstrip())


def show(
    name: JobName,
    lines: Annotated[int, typer.Option("--lines", help="Lines of the end of its log.")] = 10,
) -> None:
    """Show what a job was asked, how it stands, what it takes, what it made, and its last words."""
    from virtues_core.jobs import find_job
    from virtues_core.run_dir import ARTIFACTS, LOG

    job = find_job(name)
    for key, value in _described(job).items():
        if value not in (None, "", [], {}):
            typer.echo(f"{key}: {_plain(key, value)}")
    folder = job.run_dir / ARTIFACTS
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        typer.echo(f"artifact: {path}")
    log = job.run_dir / LOG
    if log.is_file() and lines > 0:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()
        typer.echo("\n".join(["", *text[-lines:]]))


def follow(name: JobName) -> None:
    """Print the log of a job as it comes; Ctrl-C ends the watching, not the job."""
    from virtues_core.jobs import find_job
    from virtues_core.jobs import follow as words_of

    job = find_job(name)
    for text in words_of(job):
        typer.echo(text, nl=False)
    status = job.status
    typer.echo(f"{job.name}: {status.state}{'. ' * bool(status.message)}{status.message}")


def cancel(
    name: JobName,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="End it at once; what was not saved is lost.")
    ] = False,
) -> None:
    """Ask a job to stop; a training saves first."""
    from virtues_core.jobs import cancel as ask
    from virtues_core.jobs import find_job, kill
    from virtues_core.run_dir import stopped_words

    job = find_job(name)
    (kill if now else ask)(job)
    typer.echo(f"{job.name}: {stopped_words(job.run_dir, 'ended' if now else 'asked to stop')}")


def resume(name: JobName) -> None:
    """Go on with a job that was stopped, failed or lost; most run again from the beginning."""
    from virtues_core.jobs import find_job
    from virtues_core.jobs import resume as go_on

    job = find_job(name)
    go_on(job)
    typer.echo(_started(job.name))


def remove(
    names: Annotated[list[str], typer.Argument(metavar="JOB...", help="Their names.")],
) -> None:
    """Delete jobs that have ended, with their run directories."""
    from virtues_core.jobs import find_job
    from virtues_core.jobs import remove as delete

    for name in names:
        job = find_job(name)
        delete(job)
        typer.echo(f"{job.name}: removed, with {job.run_dir}")


@dataclass(frozen=True)
class Asked:
    """How a command line shall be run."""

    argv: tuple[str, ...]
    """The command, without what is said here."""
    executor: str = "here"
    name: str = ""
    device: str = "auto"
    slurm: tuple[str, ...] = ()


def asked_of(argv: Sequence[str]) -> Asked:
    """Take ``--executor`` and the options that go with it out of a command line.

    Raises
    ------
    ConfigError
        One has no value, or is given without its executor.

    Examples
    --------
    >>> asked_of(["embed", "a.tiff", "--executor", "local"])
    Asked(argv=('embed', 'a.tiff'), executor='local', name='', device='auto', slurm=())
    """
    rest: list[str] = []
    given: dict[str, list[str]] = {name: [] for name in OPTIONS}
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in OPTIONS:
            rest.append(word)
            continue
        found = value if equals else next(words, "")
        if not found or found.startswith("--"):
            message = f"{option}: expected a value after it, found {found or 'none'}"
            raise ConfigError(message)
        given[option].append(found)
    last = {"--executor": "here", "--job-name": "", "--job-device": "auto"}
    last |= {option: values[-1] for option, values in given.items() if values}
    executor = last["--executor"]
    goes_with = {
        "--job-name": ("local", "slurm"),
        "--job-device": ("local",),
        "--slurm": ("slurm",),
    }
    for option, needed in goes_with.items():
        if given[option] and executor not in needed:
            message = f"{option}: expected it with --executor {' or '.join(needed)}"
            message += f", found --executor {executor}"
            raise ConfigError(message)
    return Asked(
        argv=tuple(rest),
        executor=executor,
        name=last["--job-name"],
        device=last["--job-device"],
        slurm=tuple(given["--slurm"]),
    )


def start(app: typer.Typer, asked: Asked) -> None:
    """Make a job of a command line, after looking whether the command would understand it.

    Raises
    ------
    VirtuesError
        As `submit`; or the command line is mistaken.
    """
    from virtues_core.jobs import SlurmOptions, submit

    slurm = SlurmOptions.from_words(asked.slurm)
    _check_words(app, asked.argv)
    job = submit(
        asked.argv, executor=asked.executor, device=asked.device, name=asked.name, slurm=slurm
    )
    typer.echo(_started(job.name))


def _started(name: str) -> str:
    lines = {
        f"follow {name}": "its log as it comes",
        f"cancel {name}": "stop; a training saves first",
        "list": "all jobs",
    }
    width = max(map(len, lines))
    told = [f"  virtues jobs {words.ljust(width)}  {what}" for words, what in lines.items()]
    return "\n".join([f"job {name}: started; it goes on when this terminal closes.", *told])


def _check_words(app: typer.Typer, argv: Sequence[str]) -> None:
    """Parse a command line without running it."""
    from virtues_core.jobs.launch import RESUMABLE

    command: Any = typer.main.get_command(app)
    words = list(argv)
    path: list[str] = []
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    if hasattr(command, "commands"):
        message = f"expected a command after virtues {' '.join(path)}".rstrip()
        message += f", found {words[0] if words else 'none'}: one of {', '.join(command.commands)}"
        raise InputError(message)
    if path[0] in RESUMABLE and not any(word.startswith("--run-dir") for word in words):
        words += ["--run-dir", "new"]  # the job's own folder
    try:
        command.make_context(" ".join(path), words)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        message = f"{' '.join(path)}: {error.format_message()}"
        message += f" `virtues {' '.join(path)} --help` has its options."
        raise InputError(message) from None


def _described(job: Any) -> dict[str, Any]:
    """All that is known of a job; of a damaged one, what is wrong with it."""
    told: dict[str, Any] = {"name": job.name, "run_dir": str(job.run_dir)}
    for part in ("record", "status"):
        try:
            told |= dataclasses.asdict(getattr(job, part)) | {"name": job.name}
        except VirtuesError as error:
            told |= {"state": "unreadable", "message": str(error)}
    return told


def _plain(key: str, value: Any) -> str:
    if key in {"submitted", "heartbeat", "created", "started"}:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if key == "argv":
        return "virtues " + " ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items() if part is not None)
    return str(value)


def _row(job: Any) -> tuple[str, ...]:
    """Cells of a job in the list."""
    try:
        status, submitted = job.status, job.record.submitted
    except VirtuesError as error:
        return job.name, "unreadable", "", "", "", str(error)
    left = "" if status.seconds_left is None else _duration(status.seconds_left)
    when = "" if submitted is None else time.strftime("%m-%d %H:%M", time.localtime(submitted))
    return job.name, status.state, f"{100 * status.progress:.0f} %", left, when, status.message


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
