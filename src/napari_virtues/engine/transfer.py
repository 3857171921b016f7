"""Messages as bytes on a pipe; big arrays beside it, in memory-mapped files.

Both ends are our own processes of one user, and the folder is private to them (mode 0700), so
pickling between them loads nothing from outside.
"""

import io
import pickle
import struct
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

BIG_BYTES = 256 * 1024
"""Arrays from this size on cross as files."""

_LENGTH = struct.Struct("<Q")


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, folder: Path) -> None:
        super().__init__(buffer, protocol=5)
        self._folder = folder

    def persistent_id(self, obj: Any) -> str | None:
        if not isinstance(obj, np.ndarray) or obj.nbytes < BIG_BYTES or obj.dtype.hasobject:
            return None
        name = f"{uuid.uuid4().hex}.npy"
        np.save(self._folder / name, obj, allow_pickle=False)
        return name


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, folder: Path) -> None:
        super().__init__(buffer)
        self._folder = folder

    def persistent_load(self, pid: str) -> np.ndarray[Any, Any]:
        path = self._folder / pid
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        try:
            path.unlink()  # the mapping keeps the pages; nothing is left behind
        except PermissionError:
            return array  # Windows keeps a mapped file: it goes with the engine's folder
        return array


def dumps(message: Any, folder: Path) -> bytes:
    """Return the message as bytes, its big arrays written to files in the folder."""
    buffer = io.BytesIO()
    _Pickler(buffer, folder).dump(message)
    return buffer.getvalue()


def loads(data: bytes, folder: Path) -> Any:
    """Return the message; its big arrays are memory-mapped (copy on write)."""
    return _Unpickler(io.BytesIO(data), folder).load()


def send(pipe: BinaryIO, message: Any, folder: Path) -> None:
    """Write one message.

    Raises
    ------
    OSError
        The other end is gone, or the disk is full.
    """
    data = dumps(message, folder)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: BinaryIO, folder: Path) -> Any:
    """Wait for one message.

    Raises
    ------
    EOFError
        The other end is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return loads(_exactly(pipe, length), folder)


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data
