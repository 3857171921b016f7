"""Writing files so that a good one is never replaced by a partial one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtues_core.errors import VirtuesError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; rename it over ``path`` when the block succeeds.

    Works for a file and for a folder. When the block fails nothing is left behind and what stood
    at ``path`` before is untouched.

    Parameters
    ----------
    path
        Where the finished file or folder shall stand. Its parent is made.

    Yields
    ------
    pathlib.Path
        A name that does not exist yet, in the same folder (so the rename is atomic), with the
        same ending as ``path``.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise VirtuesError(_why_unwritable(path, error)) from error
    try:
        yield beside / path.name
        _put(beside / path.name, path)
    except OSError as error:
        raise VirtuesError(_why_unwritable(path, error)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put(new: Path, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():  # a folder cannot be renamed over
        old = new.with_name(f"{new.name}.old")
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
    else:
        os.replace(new, path)  # noqa: PTH105 - Path.replace cannot replace a folder by a link


def _why_unwritable(path: Path, error: OSError) -> str:
    return (
        f"could not write {path.name!r} in {str(path.parent)!r}: {error.strerror or error}. "
        "Nothing was changed; free some space or choose another folder, then run again."
    )
