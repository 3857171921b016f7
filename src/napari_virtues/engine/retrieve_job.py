"""Finding tissues like a given one, as a job for the child."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_virtues.engine import messages
from napari_virtues.engine.cells_jobs import _OneByOne
from napari_virtues.engine.inpaint_job import ImageSource
from virtues_core.markers import Panel

if TYPE_CHECKING:
    from virtues_core.cohort.retrieval import (
        Match,
        Search,
        Stored,
        TissueDatabase,
        TissueEntry,
    )


@dataclass(frozen=True, eq=False)
class Retrieved:
    """What is like a tissue; holds no PyTorch."""

    query: "Stored"
    thumbnail: bytes
    """PNG of the query; empty where there is none."""
    matches: "tuple[Match, ...]"
    """The nearest first."""
    search: "Search"
    patient: str
    """Of the query; "" where it is not known."""
    left_out: Literal["same", "out", "unknown"]
    """Whether that patient's tissues were left out: they were wanted, they were, or it could not be
    known which."""


@dataclass(frozen=True, eq=False)
class RetrieveJob(_OneByOne):
    """Find the tissues of a database that are like an image, or like one of its tissues."""

    database: Path
    tissue_id: str
    """The query, where it is a tissue of the database."""
    image: ImageSource | None
    """The query, where it is not."""
    panel: Panel | None
    """Of the image's channels, in their order."""
    patient: str
    """Of the image, where a person said it."""
    top: int
    where: Mapping[str, str]
    """Clinical column → value that tissues must have."""
    same_patient: bool
    """Whether tissues of the query's patient are wanted too."""
    checkpoint: str
    """"demo", a folder or file, or a name on the hub that was downloaded before."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""

    def run(self, worker: messages.Worker) -> Retrieved:
        """Do it, in the child."""
        from virtues_core.cohort.retrieval import TissueDatabase

        database = TissueDatabase.open(self.database)
        query = self._of_image(database, worker) if self.image else self._of_database(database)
        worker.emit(messages.Loading("similar tissues"))
        about = query.about
        patient = "" if self.same_patient else about.patient_id
        search = database.search(
            query.tokens,
            self.top,
            where=self.where,
            exclude_patient=patient,
            exclude_tissues=(about.tissue_id,) if about.tissue_id else (),
            look=partial(_look, worker),
        )
        return Retrieved(
            about,
            query.thumbnail,
            database.matches(search),
            search,
            about.patient_id,
            "same" if self.same_patient else "out" if patient else "unknown",
        )

    def _of_database(self, database: "TissueDatabase") -> "TissueEntry":
        from virtues_core.cohort.retrieval import TissueEntry

        name = self.tissue_id
        return TissueEntry(database.tissue(name), database.tokens(name), database.thumbnail(name))

    def _of_image(self, database: "TissueDatabase", worker: messages.Worker) -> "TissueEntry":
        """Compute the tokens of an image, and look whether the database has it."""
        from virtues_core.cohort.retrieval import Stored, TissueEntry
        from virtues_core.cohort.retrieval.niches import niche_tokens
        from virtues_core.cohort.retrieval.thumbnail import thumbnail
        from virtues_core.infer import checkpoint_signature

        source = self.image
        if source is None:
            message = "a query is a tissue of the database or an image"
            raise ValueError(message)
        checkpoint = worker.checkpoint(self.checkpoint, self.device)
        database.check_checkpoint(checkpoint_signature(checkpoint), self.checkpoint)
        worker.emit(messages.Loading("image"))
        image = source.open()
        tokens = niche_tokens(
            image,
            self.panel,
            checkpoint,
            database.settings,
            batch_size=self.batch_size,
            cancelled=worker.cancelled,
        )
        path = source.path
        stored = () if path is None else database.tissues()
        there = (about for about in stored if about.is_of(path, source.name))
        about = next(there, Stored("", source=str(path or "")))
        if self.patient:
            about = replace(about, patient_id=self.patient)
        return TissueEntry(about, tokens, thumbnail(image, self.panel))


def _look(worker: messages.Worker, *_: int) -> None:
    """Stop a search that the window does not want any more."""
    from virtues_core.infer import Cancelled

    if worker.cancelled():
        message = "the search was stopped"
        raise Cancelled(message)
