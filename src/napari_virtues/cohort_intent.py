"""What is chosen in the *Cohort* dock → a command of ``virtues``, a job. Knows no Qt."""

import importlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtues_core.cohort.patients import Columns
from virtues_core.cohort.patients.results import check_out
from virtues_core.cohort.patients.token_file import several
from virtues_core.errors import InputError
from virtues_core.jobs import Job, submit

if TYPE_CHECKING:
    import click


@dataclass(frozen=True)
class Analysis:
    """One that can be chosen."""

    name: str
    """As ``summary.json`` has it."""
    title: str
    about: str
    """What it tells, in a sentence or two."""
    words: tuple[str, ...]
    """Of its command, after ``virtues``."""
    config: str
    """Its settings: ``module:class``."""
    needs: tuple[str, ...]
    """Columns of the clinical table without which it tells nothing: fields of `Columns`."""
    of_discovery: bool = False
    """Whether it takes the results of a biomarker discovery."""
    device: str = "cpu"
    """Whose turn its job waits for."""


ANALYSES = (
    Analysis(
        "stratify",
        "Risk groups",
        "Groups patients by what their tissues are composed of, and compares their survival.",
        ("stratify",),
        "virtues_core.cohort.survival:StratifyConfig",
        ("time", "event"),
    ),
    Analysis(
        "response",
        "Change under treatment",
        "Measures how far the cells of a patient move from one time point to another.",
        ("response",),
        "virtues_core.cohort.response:ResponseConfig",
        ("timepoint",),
    ),
    Analysis(
        "biomarkers",
        "Biomarker discovery",
        "Looks for clusters of cells that tell the outcome, and says how far that can be trusted.",
        ("biomarkers", "discover"),
        "virtues_core.cohort.biomarkers:DiscoverConfig",
        ("outcome",),
    ),
    Analysis(
        "transfer",
        "Biomarkers in another cohort",
        "Finds the signatures of a discovery in these tables, and compares survival by them.",
        ("biomarkers", "transfer"),
        "virtues_core.cohort.biomarkers.transfer:TransferConfig",
        ("time", "event"),
        of_discovery=True,
    ),
    Analysis(
        "tissue-level",
        "Outcome from whole tissues",
        "Learns to tell the outcome from all of a patient's tokens, and says where it looked.",
        ("classify", "fit"),
        "virtues_core.cohort.tissue_level:MilConfig",
        ("outcome",),
        device="auto",
    ),
)
COMMANDS = frozenset(analysis.words[0] for analysis in ANALYSES)
"""First words of their commands."""
ROLES = tuple(field.name for field in fields(Columns))
"""What columns of a clinical table can be."""
_USUAL: Mapping[str, tuple[str, ...]] = {
    "patient": ("patient_id", "patient", "case_id", "case", "subject", "donor", "participant"),
    "tissue": ("tissue_id", "tissue", "image_id", "image", "sample_id", "sample", "core", "roi"),
    "outcome": ("response", "responder", "outcome", "pcr", "relapse", "recurrence", "label"),
    "time": (
        "time", "survival_months", "survival_days", "survival_time", "os_months", "os_days",
        "os_time", "overall_survival", "os", "follow_up", "months", "days",
    ),
    "event": ("event", "os_event", "os_status", "died", "death", "dead", "vital_status", "status"),
    "timepoint": ("timepoint", "time_point", "visit", "biopsy", "treatment_phase"),
}  # fmt: skip
"""How columns are usually called, the surest first."""
LEVEL = "level"
"""Option of commands that take tables of more than cells."""


@dataclass(frozen=True, eq=False)
class Form:
    """What can be said about an analysis."""

    config: Any
    """Its settings as they are if nothing is said."""
    options: "Mapping[str, click.Option]"
    """Field of the settings or of `Columns`, or `LEVEL` → option of the command."""

    @property
    def fixed(self) -> tuple[str, ...]:
        """Settings that the command does not take."""
        return tuple(f.name for f in fields(self.config) if f.name not in self.options)


@dataclass(frozen=True, eq=False)
class CohortIntent:
    """An analysis as it was chosen."""

    analysis: Analysis
    form: Form
    cells: tuple[Path, ...]
    """Tables of tokens, or folders of them."""
    clinical: Path
    columns: Columns
    settings: Mapping[str, Any]
    """Field of the config → value."""
    out: Path
    """The analysis folder that is written."""
    discovery: Path | None = None
    """Results of a biomarker discovery, where the analysis takes them."""
    level: str = "cell"
    """What the tables' rows are: "cell", "niche" or "patch"."""


def form_of(analysis: Analysis) -> Form:
    """Look up the settings of an analysis and the options of its command.

    Imports what the analysis is made of: not for the GUI's thread.
    """
    module, _, name = analysis.config.partition(":")
    config = getattr(importlib.import_module(module), name)()
    return Form(config, _options(analysis.words, config))


def _options(words: tuple[str, ...], config: Any) -> "dict[str, click.Option]":
    import typer

    from virtues_core.cli.main import app

    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    by_word = {word: option for option in command.params for word in option.opts}
    names = (*ROLES, LEVEL, *(field.name for field in fields(config)))
    found = {name: by_word.get(f"--{name.replace('_', '-')}") for name in names}
    return {name: option for name, option in found.items() if option is not None}


def usual_columns(names: Iterable[str]) -> dict[str, str]:
    """Guess which column is what by how such columns are usually called.

    Examples
    --------
    >>> usual_columns(["Patient ID", "OS months", "Vital status", "age"])
    {'patient': 'Patient ID', 'time': 'OS months', 'event': 'Vital status'}
    """
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in names}
    found: dict[str, str] = {}
    for role, usual in _USUAL.items():
        known = (plain.get(name.replace("_", "")) for name in usual)
        name = next((name for name in known if name is not None), None)
        if name is not None:
            found[role] = name
    if ("time" in found) != ("event" in found):  # one is of no use without the other
        found.pop("time", None)
        found.pop("event", None)
    return found


def taken_columns(form: Form, columns: Columns) -> Columns:
    """Keep the columns that an analysis takes.

    An outcome without a value that counts as 1 is of any number of classes there.
    """
    kept = {role: value for role, value in asdict(columns).items() if role in form.options}
    return Columns(**kept)


def check_needs(intent: CohortIntent) -> None:
    """Look whether all is said that the analysis needs.

    Raises
    ------
    InputError
        What is missing.
    """
    title = intent.analysis.title
    missing = [role for role in intent.analysis.needs if not getattr(intent.columns, role)]
    if missing:
        message = (
            f"{title} needs a column of the clinical table as {' and as '.join(missing)}; "
            "choose it above"
        )
        raise InputError(message)
    if intent.analysis.of_discovery and intent.discovery is None:
        message = f"{title} needs the results of a biomarker discovery; open their folder"
        raise InputError(message)
    if intent.level != "cell" and LEVEL not in intent.form.options:
        message = (
            f"{title} needs tables of cells, found {several(intent.level)}; add tables of cells"
        )
        raise InputError(message)


def cohort_argv(intent: CohortIntent) -> list[str]:
    """Give what follows ``virtues`` in the command of an analysis.

    Settings that are as they would be anyway are left out.
    """
    words: list[Any] = [*intent.analysis.words]
    if intent.analysis.of_discovery:
        words.append(intent.discovery)
    words += [*intent.cells, "--clinical", intent.clinical]
    chosen = asdict(taken_columns(intent.form, intent.columns))
    usual = asdict(intent.form.config)
    chosen |= {name: value for name, value in intent.settings.items() if value != usual.get(name)}
    for name, value in chosen.items():
        option = intent.form.options.get(name)
        if option is not None and (value or name in usual):
            words += _option_words(option, value)
    if intent.level != "cell":
        words += [f"--{LEVEL}", intent.level]
    return [str(word) for word in [*words, "--out", intent.out]]


def _option_words(option: "click.Option", value: Any) -> list[Any]:
    word = max(option.opts, key=len)
    if option.is_flag:
        return [word] if value else list(option.secondary_opts[:1])
    if value is None:
        return []
    if not isinstance(value, tuple | list):
        return [word, value]
    if option.multiple:
        return [part for one in value for part in (word, one)]
    if option.nargs > 1:
        return [word, *value]
    return [word, ",".join(map(str, value))]


def start_analysis(intent: CohortIntent) -> Job:
    """Start the analysis as a job, which outlives this process.

    Raises
    ------
    VirtuesError
        The job cannot be started, or its folder holds something else; the text says why.
    """
    check_out(intent.out)
    return submit(cohort_argv(intent), device=intent.analysis.device)


def cohort_command(intent: CohortIntent) -> str:
    """Write the command that does the same in a terminal."""
    return shlex.join(["virtues", *cohort_argv(intent)])


def free_folder(beside: Path, name: str) -> Path:
    """Give a folder that is not there yet: called so, or with a number behind."""
    numbers = iter(range(2, 10_000))
    found = beside / name
    while found.exists():
        found = beside / f"{name}-{next(numbers)}"
    return found
