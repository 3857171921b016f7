"""Whom a checkpoint was trained on and whom it never saw, so that tests can ask for the latter.

Patients and images are kept as digests of their names, for checkpoints are given away.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from virtues_core.errors import CheckpointError
from virtues_core.files import replacing
from virtues_core.image import MultiplexImage

SPLIT_FILE = "split.json"
_FORMAT = 1

Part = Literal["train", "validation"]
Member = tuple[str, str, MultiplexImage]
"""Dataset, patient and image."""


@dataclass(frozen=True)
class Split:
    """Digests of the patients (of a dataset) and the images in each part."""

    train: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()

    @classmethod
    def of(cls, train: Iterable[Member], validation: Iterable[Member]) -> "Split":
        """Write down a split that was made."""
        return cls(*(frozenset(_digests(members)) for members in (train, validation)))

    def part(self, dataset: str, patient: str) -> Part | None:
        """Tell in which part a patient is; None for one who is in neither."""
        return self._part(_patient(dataset, patient))

    def part_of_image(self, image: MultiplexImage) -> Part | None:
        """Tell in which part an image is, by the names of its file and itself."""
        return self._part(_image(image))

    def merge(self, later: "Split") -> "Split":
        """Join two trainings of one model: whoever was trained on once is never unseen again."""
        train = self.train | later.train
        return Split(train, (self.validation | later.validation) - train)

    def _part(self, digest: str) -> Part | None:
        if digest in self.train:
            return "train"
        return "validation" if digest in self.validation else None

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises
        ------
        VirtuesError
            The disk is full or the folder cannot be written.
        """
        described = {
            "format": _FORMAT,
            "train": sorted(self.train),
            "validation": sorted(self.validation),
        }
        with replacing(path) as new:
            new.write_text(json.dumps(described, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Split | None":
        """Read it; None where there is none.

        Raises
        ------
        CheckpointError
            Damaged, edited, or of a newer format.
        """
        if not path.is_file():
            return None
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            parts = [_known(described, part) for part in ("train", "validation")]
        except (OSError, ValueError, TypeError, LookupError) as error:
            message = (
                f"{path}: expected the digests of patients and images in each part ({error}). "
                "Restore the file."
            )
            raise CheckpointError(message) from error
        return cls(*parts)


def _known(described: Mapping[str, Any], part: str) -> frozenset[str]:
    if described["format"] != _FORMAT:
        message = f"format {described['format']!r}; {_FORMAT} is known"
        raise ValueError(message)
    if not all(isinstance(digest, str) for digest in described[part]):
        message = f"{part} holds something else"
        raise ValueError(message)
    return frozenset(described[part])


def _digests(members: Iterable[Member]) -> Iterable[str]:
    for dataset, patient, image in members:
        yield _patient(dataset, patient)
        yield _image(image)


def _patient(dataset: str, patient: str) -> str:
    return _digest("patient", dataset, patient)


def _image(image: MultiplexImage) -> str:
    return _digest("image", image.source.name if image.source else "", image.name)


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
