"""Which outputs of a cohort are there already, made by the same request from the same files.

Beside the outputs, in the folder ``requests``, lies what each was made from: readable, one JSON
file an output. An output counts as made while all of that is the same. Files are told from one
another by size and time of change, not by content: whole cohorts are not read to find out that
there is nothing to do.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from virtues_core import __version__
from virtues_core.files import replacing
from virtues_core.read.spora import SporaDataset, claims, tissues_by_name

REQUESTS = "requests"
"""Folder beside the outputs."""


class Signed(Protocol):
    """What makes outputs that can be signed."""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that are made; the first one gives the signature its name."""

    def signature(self) -> Mapping[str, Any]:
        """Say what the outputs depend on, in values that JSON knows."""


def is_made(task: Signed, signature: Mapping[str, Any]) -> bool:
    """Tell whether all outputs are there, made by the same request, version and files."""
    if not all(output.exists() for output in task.outputs):
        return False
    try:
        written = json.loads(_record(task).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(written == _whole(signature))


def sign(task: Signed, signature: Mapping[str, Any]) -> None:
    """Write down what the outputs, now there, were made from.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    with replacing(_record(task)) as new:
        new.write_text(json.dumps(_whole(signature), indent=1), encoding="utf-8")


def stamp(path: Path) -> str:
    """Tell a state of a file or folder from another one: number, size and time of its files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        files = [path] if path.exists() else []
    digest, size = hashlib.blake2b(digest_size=8), 0
    for file in files:
        found = file.stat()
        size += found.st_size
        digest.update(f"{file.relative_to(path)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return f"{path}: {len(files)} files, {size} bytes, {digest.hexdigest()}"


def image_stamps(path: Path, image: str | None) -> list[str]:
    """Stamp an image; of a tissue of a spora data set, all that is read of it.

    The whole data set is not stamped: a tissue more, and the others stay as they are.

    Raises
    ------
    ReadError
        A spora data set is damaged.
    """
    if not (path.is_dir() and claims(path)):
        return [stamp(path), image or ""]
    dataset = SporaDataset(path)
    tissues = tissues_by_name(dataset)
    tissue = tissues.get(image or "", dataset.tissues[0])
    channels = " ".join(channel.name for channel in dataset.channels(tissue))
    said = [tissue.tissue_id, tissue.patient_id or "", channels]
    cells = dataset.cells_of(tissue)
    if cells is not None:
        said.append(hashlib.blake2b(cells.to_csv().encode(), digest_size=8).hexdigest())
    return [*map(stamp, dataset.files_of(tissue)), *said]


def checkpoint_stamps(source: str) -> list[str]:
    """Stamp the files of a checkpoint that a result depends on.

    Raises
    ------
    CheckpointError
        There is none.
    """
    from virtues_core.model.checkpoint import HEAD_FILE, weights_of

    weights = weights_of(source)
    beside = ("config.json", "markers.safetensors", "statistics.parquet", HEAD_FILE)
    return [stamp(weights), *(stamp(weights.with_name(name)) for name in beside)]


def _record(task: Signed) -> Path:
    output = task.outputs[0]
    return output.parent / REQUESTS / f"{output.name}.json"


def _whole(signature: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": __version__} | dict(signature)
