"""Forests of signatures on disk: a folder that carries them to another cohort, without any cell.

::

    forests.json        what they are: name, direction, share, held-out scores, file; digests of the
                        patients and tissues that they were chosen by
    0.skops, 1.skops …  one a signature, as `cohort.classifier_file` writes classifiers: no pickle
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virtues_core.cohort.biomarkers.forest import INSIDE, OUTSIDE, ForestScores, SignatureForest
from virtues_core.cohort.biomarkers.strata import DIRECTIONS
from virtues_core.cohort.classifier_file import load_classifier, save_classifier
from virtues_core.cohort.patients import Seen
from virtues_core.errors import ReadError
from virtues_core.files import replacing

FOLDER = "forests"
"""Of an analysis folder, where it holds some."""
LIST = "forests.json"
_FORMAT = 2


def save_forests(forests: Sequence[SignatureForest], folder: Path) -> int:
    """Write forests into a folder, in place of what was there.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written; what was there is untouched.
    """
    with replacing(Path(folder)) as new:
        new.mkdir()
        listed = []
        for number, forest in enumerate(forests):
            save_classifier(forest.classifier, new / f"{number}.skops")
            listed.append(
                {
                    "name": forest.name,
                    "direction": forest.direction,
                    "file": f"{number}.skops",
                    "share": forest.share,
                    "scores": [dataclasses.asdict(score) for score in forest.scores],
                }
            )
        seen = Seen.together(forest.seen for forest in forests)
        told = {"format": _FORMAT, "forests": listed, "seen": seen.as_json()}
        (new / LIST).write_text(json.dumps(told, indent=1, ensure_ascii=False), "utf-8")
        return sum(path.stat().st_size for path in new.iterdir())


def load_forests(folder: Path) -> tuple[SignatureForest, ...]:
    """Read the forests that `save_forests` wrote.

    Raises
    ------
    ReadError
        Nothing is there; it is no such folder, damaged, of a later version, or a file names a type
        that is not trusted.
    """
    folder = Path(folder)
    try:
        told = json.loads((folder / LIST).read_text("utf-8"))
        if told["format"] != _FORMAT:
            raise _damaged(folder, f"format {told['format']!r}, expected {_FORMAT}")
        seen = Seen.from_json(told["seen"])
        forests = tuple(_forest(folder, entry, seen) for entry in told["forests"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, str(error)) from error
    if not forests or len({forest.name for forest in forests}) < len(forests):
        raise _damaged(folder, "it lists none, or one twice")
    if len({forest.classifier.signature for forest in forests}) > 1:
        raise _damaged(folder, "its forests were made with different checkpoints")
    return forests


def _forest(folder: Path, entry: dict[str, Any], seen: Seen) -> SignatureForest:
    name, file, direction = str(entry["name"]), str(entry["file"]), entry["direction"]
    if Path(file).name != file or direction not in DIRECTIONS:
        raise _damaged(folder, f"entry {name!r} names {file!r} and {direction!r}")
    classifier = load_classifier(folder / file)
    if sorted(classifier.classes) != [INSIDE, OUTSIDE] or classifier.label != name:
        raise _damaged(folder, f"{file} is the classifier of something else")
    scores = tuple(ForestScores(**score) for score in entry["scores"])
    return SignatureForest(name, direction, classifier, scores, float(entry["share"]), seen)


def _damaged(folder: Path, why: str) -> ReadError:
    return ReadError(
        f"expected forests of signatures in {str(folder)!r}, found no whole folder of them ({why})."
        " Copy it again, or make it anew with `virtues biomarkers discover --forests`."
    )
