"""What a person chose in the *Retrieve* dock → the job that the engine gets. Knows no Qt."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtues.engine import ImageSource, RetrieveJob
from napari_virtues.inpaint_command import has_own_panel, image_words, model_words
from napari_virtues.space_cells import color_of
from napari_virtues.state import OpenImage
from virtues_core.cohort.retrieval import TissueDatabase

if TYPE_CHECKING:
    from napari_virtues.engine import Retrieved

OUT = "similar.json"


@dataclass(frozen=True, eq=False)
class Described:
    """A database, as far as the dock shows it."""

    path: Path
    checkpoint: str
    told: str
    """How many tissues and patients, and how it was made."""
    names: list[str]
    """Of its tissues."""
    patients: list[str]
    values: Mapping[str, tuple[Any, ...]]
    """Clinical column → its values."""


@dataclass(frozen=True, eq=False)
class RetrieveIntent:
    """What was chosen when the button was pressed."""

    database: Path
    query: OpenImage | str
    """An open image, or the name of a tissue of the database."""
    patient: str
    """Of an open image, where a person said it."""
    top: int
    where: Mapping[str, str]
    """Clinical column → value that tissues must have."""
    same_patient: bool
    """Whether tissues of the query's patient are wanted too."""
    checkpoint: str
    device: str


def describe(path: Path) -> Described:
    """Read what a database holds. Not for the window's thread.

    Raises
    ------
    ReadError
        It is none, damaged, or of a newer version.
    """
    database = TissueDatabase.open(path)
    tissues = database.tissues()
    patients = sorted({tissue.patient_id for tissue in tissues} - {""})
    told = (
        f"{path.name}: {_counted(len(tissues), 'tissue')} of {_counted(len(patients), 'patient')}, "
        f"tokens by {Path(database.settings.checkpoint).name}"
    )
    names = [tissue.tissue_id for tissue in tissues]
    return Described(
        database.path, database.settings.checkpoint, told, names, patients,
        database.clinical_values(),
    )  # fmt: skip


def retrieve_job_of(intent: RetrieveIntent) -> RetrieveJob:
    """Resolve what was chosen into a job. May read pixels: not for the window's thread."""
    opened = None if isinstance(intent.query, str) else intent.query
    return RetrieveJob(
        database=intent.database,
        tissue_id=intent.query if isinstance(intent.query, str) else "",
        image=None if opened is None else ImageSource.of(opened.image),
        panel=None if opened is None else opened.panel,
        patient=intent.patient,
        top=intent.top,
        where=dict(intent.where),
        same_patient=intent.same_patient,
        checkpoint=intent.checkpoint,
        device=intent.device,
    )


def type_colors(found: "Retrieved") -> dict[str, str]:
    """Give each cell type of a result a colour, the commonest first, alike on all its cards."""
    totals: dict[str, float] = {}
    for shares in (found.query.composition, *(match.composition for match in found.matches)):
        for name, share in (shares or {}).items():
            totals[name] = totals.get(name, 0.0) + share
    ordered = sorted(totals, key=lambda name: (-totals[name], name))
    return {name: color_of(place) for place, name in enumerate(ordered)}


def told_of(found: "Retrieved") -> str:
    """Say how the answer was found, and who was left out."""
    search = found.search
    ruled_out = search.candidates - search.solved
    left_out = {
        "same": "Tissues of the query's own patient are among them.",
        "out": f"Tissues of the query's own patient ({found.patient}) were left out.",
        "unknown": "The query's patient is not known, so that nobody was left out.",
    }[found.left_out]
    return (
        f"The nearest {len(found.matches)} of {_counted(search.candidates, 'tissue')} by exact "
        f"Wasserstein distance ({ruled_out:,} ruled out by a lower bound). {left_out}"
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def retrieve_command(job: RetrieveJob, found: "Retrieved | None" = None) -> str:
    """Write the ``virtues db query`` command that does what a job did.

    Parameters
    ----------
    job
        What was done.
    found
        What came of it; an image that the database has is then named as its tissue.
    """
    tissue_id = job.tissue_id
    if found is not None and not has_own_panel(job):
        tissue_id = tissue_id or found.query.tissue_id
    words: list[Any] = ["virtues", "db", "query", job.database]
    words += [tissue_id] if tissue_id else image_words(job)
    words += ["--top", job.top, "--json", OUT]
    for column, value in job.where.items():
        words += ["--where", f"{column}={value}"]
    words += ["--same-patient"] if job.same_patient else []
    words += ["--patient", job.patient] if job.patient else []
    words += [] if tissue_id else model_words(job)
    return shlex.join(str(word) for word in words)
