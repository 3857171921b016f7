"""Published checkpoints: what their licence says, and their download, as jobs for the child."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from napari_virtues.engine import messages


@dataclass(frozen=True)
class Terms:
    """Whether a checkpoint is on this computer, and under which licence it is given."""

    name: str
    here: bool
    licence: str
    """The text to show before a download; empty where it is here already."""


@dataclass(frozen=True)
class LookUpTerms:
    """Ask for a checkpoint's licence, unless it was downloaded before."""

    name: str
    batch_size: int = 1

    def with_batch_size(self, batch_size: int) -> Self:
        """Return itself: nothing is computed in batches."""
        return self

    def run(self, worker: messages.Worker) -> Terms:
        """Do it, in the child."""
        from virtues_core.model.hub import cached, licence

        if cached(self.name) is not None:
            return Terms(self.name, here=True, licence="")
        worker.emit(messages.Loading("licence"))
        return Terms(self.name, here=False, licence=str(licence(self.name)))


@dataclass(frozen=True)
class Download:
    """Download a checkpoint whose licence was accepted."""

    name: str
    batch_size: int = 1

    def with_batch_size(self, batch_size: int) -> Self:
        """Return itself: nothing is computed in batches."""
        return self

    def run(self, worker: messages.Worker) -> Path:
        """Do it, in the child."""
        from virtues_core.model.hub import fetch

        worker.emit(messages.Loading("download"))
        return fetch(self.name, accept=lambda _: True)
