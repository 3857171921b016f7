"""Writing files so that a good one is never replaced by a partial one."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtues_core.errors import VirtuesError

_HDF5_BYTES = 2**18
_HDF5_ERRNO = re.compile(r"errno = (\d+)")
"""How HDF5 says, amid its own words, that a disk is full; as an OSError or a RuntimeError."""


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
        The disk is full, the folder cannot be written, or a file would replace a folder.
    """
    path = Path(path)
    beside = _folder_beside(path)
    try:
        yield beside / path.name
        _put(beside / path.name, path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _HDF5_ERRNO.search(str(error)):
            raise
        raise VirtuesError(_why_unwritable(path, error)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Find out before a long run whether its result can be written, without touching it.

    Parameters
    ----------
    path
        Where the result shall stand. Its parent is made.

    Raises
    ------
    VirtuesError
        The folder cannot be written.
    """
    _folder_beside(Path(path)).rmdir()


def check_room(path: Path, size: int) -> None:
    """Take room for a file where it shall stand, and give it back.

    For HDF5, which does not survive a disk that is full in mid-write: the process ends with a
    segmentation fault when it exits.

    Parameters
    ----------
    path
        Where the file shall stand. Its parent is made.
    size
        Bytes that it takes at the most, without HDF5's own.

    Raises
    ------
    VirtuesError
        There is less, or the folder cannot be written.
    """
    beside = _folder_beside(Path(path))
    try:
        with (beside / "room").open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size + _HDF5_BYTES)
    except OSError as error:
        raise VirtuesError(_why_unwritable(Path(path), error)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _folder_beside(path: Path) -> Path:
    """Make a folder of its own beside a path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise VirtuesError(_why_unwritable(path, error)) from error


def _put(new: Path, path: Path) -> None:
    if path.is_dir() and not new.is_dir():
        message = (
            f"expected the name of a file to write, found the folder {str(path)!r}, which would "
            "be lost. Nothing was changed; choose another name."
        )
        raise VirtuesError(message)
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


def _why_unwritable(path: Path, error: OSError | RuntimeError) -> str:
    by_hdf5 = _HDF5_ERRNO.search(str(error))
    own = getattr(error, "strerror", None) or error
    reason = os.strerror(int(by_hdf5[1])) if by_hdf5 else own
    return (
        f"could not write {path.name!r} in {str(path.parent)!r}: {reason}. "
        "Nothing was changed; free some space or choose another folder, then run again."
    )
