"""Whether the directories of a TIFF lie within the file.

tifffile reads what it can of a truncated file; here that must not pass for the whole image.
"""

import struct
from pathlib import Path
from typing import BinaryIO

_CHECKED = {270, 273, 279, 324, 325, 330}
"""Tags without which an image is not whole: description, segments and sub-directories."""

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
               13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip


def missing_part(path: Path) -> str | None:
    """Name the first part of a TIFF that lies beyond its end; None where there is none.

    Parameters
    ----------
    path
        A file that begins as a TIFF or BigTIFF does.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return _walk(file, size)
        except struct.error:
            return f"it ends within a directory, after {size} bytes"


def _walk(file: BinaryIO, size: int) -> str | None:
    order = "<" if file.read(2) == b"II" else ">"
    big = struct.unpack(f"{order}H", file.read(2))[0] == 43
    count_format, entry_format = (
        (f"{order}Q", f"{order}HHQQ") if big else (f"{order}H", f"{order}HHLL")
    )
    offset_format = f"{order}{'Q' if big else 'L'}"
    file.seek(8 if big else 4)
    offset = _next(file, offset_format)
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        if offset >= size:
            return f"directory {len(seen)} lies beyond its {size} bytes"
        file.seek(offset)
        for _ in range(_next(file, count_format)):
            entry = file.read(struct.calcsize(entry_format))
            tag, kind, count, value = struct.unpack(entry_format, entry)
            length = count * _TYPE_BYTES.get(kind, 0)
            inline = length <= struct.calcsize(offset_format)
            if tag in _CHECKED and not inline and value + length > size:
                return f"tag {tag} of directory {len(seen)} lies beyond its {size} bytes"
        offset = _next(file, offset_format)
    return None


def _next(file: BinaryIO, number_format: str) -> int:
    value: int = struct.unpack(number_format, file.read(struct.calcsize(number_format)))[0]
    return value
