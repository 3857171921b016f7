"""Imaging mass cytometry: ``.mcd`` (every acquisition) and ``.txt``.

Where an ``.mcd`` is broken, the ``.txt`` that the instrument wrote beside it stands in for it.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ReadError
from virtues_core.image import MultiplexImage
from virtues_core.read._names import pick, unique
from virtues_core.read._planes import as_slices, blocks

if TYPE_CHECKING:
    import pandas as pd
    from readimc import MCDFile, TXTFile
    from readimc.data import Acquisition

TXT_PIXEL_SIZE_UM = (1.0, 1.0)
"""(y, x); an IMC text does not say its pixel size, and the instrument ablates at 1 µm."""

_TXT_START = "Start_push\tEnd_push\tPushes_duration\tX\tY\tZ"
_TXT_COORDINATES = 6
"""Columns before the channels in a text."""
_MCD_COORDINATES = 3
"""Values before the channels of each pixel in an .mcd: X, Y, Z."""

_BROKEN = (OSError, ValueError, SyntaxError, LookupError, TypeError, AttributeError)
"""What a damaged file makes readimc and its XML parser raise."""


def claims(path: Path) -> bool:
    """Whether the file is an ``.mcd`` by name, or begins as an IMC text does."""
    if not path.is_file():
        return False
    return path.suffix.lower() == ".mcd" or _is_text(path)


def names(path: Path) -> tuple[str, ...]:
    """Names of the acquisitions; the file's stem for a text.

    Raises
    ------
    ReadError
        The file is damaged and no text beside it stands in.
    """
    if path.suffix.lower() != ".mcd":
        return (path.stem,)
    try:
        with _mcd(path) as file:
            return _names(_acquisitions(file))
    except _BROKEN as error:
        return tuple(_texts_instead(path, error))


def read(path: Path, image: str | None = None) -> MultiplexImage:
    """Open an acquisition.

    Parameters
    ----------
    path
        An ``.mcd`` or an IMC ``.txt``.
    image
        Name of the acquisition in an ``.mcd``; the first by default.

    Returns
    -------
    MultiplexImage
        ``pixels`` (C, Y, X) float32 ion counts. Those of an ``.mcd`` are read a channel at a time
        when they are needed; a text is read in full at once. Pixels that an acquisition stopped
        short of are 0.

    Raises
    ------
    ReadError
        The file is damaged and no text beside it stands in, or there is no such acquisition.
    """
    if path.suffix.lower() != ".mcd":
        pick(image, names(path), path)
        return _read_text(path, path.stem)
    try:
        with _mcd(path) as file:
            acquisitions = _acquisitions(file)
    except _BROKEN as error:
        texts = _texts_instead(path, error)
        name = list(texts)[pick(image, list(texts), path)]
        return _read_text(texts[name], name)
    found = _names(acquisitions)
    index = pick(image, found, path)
    try:
        return _read_acquisition(path, acquisitions[index], found[index])
    except _BROKEN as error:
        text = _text_of(path, acquisitions[index])
        if text is None:
            raise ReadError(_broken(path, f"{found[index]}: {error}")) from error
        return _read_text(text, found[index])


# .mcd


@contextmanager
def _mcd(path: Path) -> "Iterator[MCDFile]":
    from readimc import MCDFile

    file = MCDFile(path)
    try:
        file.open()
        yield file
    finally:
        file.close()


def _acquisitions(file: "MCDFile") -> "list[Acquisition]":
    found = [acquisition for slide in file.slides for acquisition in slide.acquisitions]
    if not found:
        message = "no acquisition in it"
        raise ValueError(message)
    return found


def _names(acquisitions: "Sequence[Acquisition]") -> tuple[str, ...]:
    return unique([a.description for a in acquisitions], "acquisition")


def _read_acquisition(path: Path, acquisition: "Acquisition", name: str) -> MultiplexImage:
    """Describe an acquisition after checking that its pixels lie within the file."""
    about = acquisition.metadata
    start, end = int(about["DataStartOffset"]), int(about["DataEndOffset"])
    pixel_bytes = (acquisition.num_channels + _MCD_COORDINATES) * int(about["ValueBytes"])
    size = path.stat().st_size
    if end > size:
        message = f"{size} bytes where its pixels end at {end}"
        raise ValueError(message)
    if (end - start + 1) // pixel_bytes < 1:
        message = "no pixels in it"
        raise ValueError(message)
    shape = (acquisition.num_channels, int(about["MaxY"]), int(about["MaxX"]))
    source = _Acquisition(path, acquisition.id, shape, whole=(end - start) % pixel_bytes == 0)
    y, x = acquisition.pixel_size_y_um, acquisition.pixel_size_x_um
    return MultiplexImage(
        pixels=blocks(source, (1, *shape[1:])),
        channels=_channels(acquisition.channel_labels, acquisition.channel_names),
        pixel_size_um=(y, x) if y and x and y > 0 and x > 0 else None,
        name=name,
        source=path,
    )


@dataclass(frozen=True)
class _Acquisition:
    """One acquisition of an ``.mcd`` as an array; the file is open only while it is read."""

    path: Path
    id: int
    shape: tuple[int, int, int]
    whole: bool
    """Whether the bytes are a whole number of pixels (some writers leave out the last byte)."""
    dtype = np.dtype(np.float32)
    ndim = 3

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[np.float32]:
        """Read the block of a slice or a position for each of (C, Y, X)."""
        (at, rows, columns), kept = as_slices(key)
        wanted = list(range(self.shape[0])[at])
        try:
            with _mcd(self.path) as file, warnings.catch_warnings():
                if not self.whole:
                    warnings.simplefilter("ignore")  # readimc tells of the missing byte
                found = next(a for a in _acquisitions(file) if a.id == self.id)
                block = file.read_acquisition(found, strict=self.whole, channels=wanted)
        except _BROKEN as error:
            raise ReadError(_broken(self.path, str(error))) from error
        return np.asarray(block[:, rows, columns][kept])


def _text_of(path: Path, acquisition: "Acquisition") -> Path | None:
    """Text beside an ``.mcd`` that holds this acquisition."""
    for text in _texts(path):
        if text.stem.rpartition("_")[2] == str(acquisition.id):
            return text
    return None


def _texts(path: Path) -> list[Path]:
    """IMC texts beside an ``.mcd``, named after it as the instrument does, by acquisition."""
    start = f"{path.stem}_"
    found = [f for f in path.parent.iterdir() if f.name.startswith(start) and _is_text(f)]
    return sorted(found, key=lambda f: (_trailing_number(f.stem), f.stem))


def _trailing_number(stem: str) -> int:
    last = stem.rpartition("_")[2]
    return int(last) if last.isdecimal() else 0


def _texts_instead(path: Path, error: Exception) -> dict[str, Path]:
    """Texts that stand in for a broken ``.mcd``, under the names of its acquisitions."""
    texts = _texts(path)
    if not texts:
        raise ReadError(_broken(path, str(error))) from error
    stems = [t.stem.removeprefix(f"{path.stem}_") for t in texts]
    found = unique([re.sub(r"_\d+$", "", s) for s in stems], "acquisition")
    return dict(zip(found, texts, strict=True))


def _broken(path: Path, found: str) -> str:
    return (
        f"expected an .mcd with whole acquisitions, found a damaged one: {str(path)!r} ({found}); "
        "copy it again, or put the .txt files of its acquisitions beside it"
    )


# .txt


def _is_text(path: Path) -> bool:
    if path.suffix.lower() != ".txt":
        return False
    with path.open("rb") as file:
        return file.read(len(_TXT_START)) == _TXT_START.encode()


@contextmanager
def _txt(path: Path) -> "Iterator[TXTFile]":
    from readimc import TXTFile

    file = TXTFile(path)
    try:
        file.open()
        yield file
    finally:
        file.close()


def _read_text(path: Path, name: str) -> MultiplexImage:
    import pandas as pd

    try:
        with _txt(path) as file:
            channels = _channels(file.channel_labels, file.channel_names)
        table = pd.read_csv(path, sep="\t", dtype=np.float32, encoding_errors="replace")
        pixels = _raster(table)
    except _BROKEN as error:
        message = (
            f"expected an IMC text with a row for each pixel, found a damaged one: {str(path)!r} "
            f"({error}); export it again from the .mcd"
        )
        raise ReadError(message) from error
    return MultiplexImage(
        pixels=da.from_array(pixels, chunks=(1, *pixels.shape[1:]), name=False),  # type: ignore[no-untyped-call]
        channels=channels,
        pixel_size_um=TXT_PIXEL_SIZE_UM,
        name=name,
        source=path,
    )


def _raster(table: "pd.DataFrame") -> NDArray[np.float32]:
    """Put rows of pixels in their places: (C, Y, X)."""
    if table.empty:
        message = "no pixels in it"
        raise ValueError(message)
    lacking = table.isna().any(axis=1)
    if lacking.any():
        message = f"row {int(lacking.to_numpy().argmax()) + 2} lacks values"
        raise ValueError(message)
    x, y = table["X"].to_numpy().astype(np.int64), table["Y"].to_numpy().astype(np.int64)
    height, width = int(y.max()) + 1, int(x.max()) + 1
    if min(x.min(), y.min()) < 0 or height * width > 4 * len(table) + width:
        message = f"{len(table)} pixels that do not fill a raster of {height} × {width}"
        raise ValueError(message)
    names = table.columns[_TXT_COORDINATES:]
    pixels = np.zeros((len(names), height, width), np.float32)
    for plane, column in zip(pixels, names, strict=True):
        plane[y, x] = table[column].to_numpy()
    return pixels


def _channels(labels: Sequence[Any], isotopes: Sequence[str]) -> tuple[str, ...]:
    """Labels as the file gives them, with the isotope where they do not have it.

    >>> _channels(["CD8a", "162Dy_CD8a", ""], ["Dy162", "Dy162", "Ir191"])
    ('CD8a_Dy162', '162Dy_CD8a', 'Ir191')
    """
    return tuple(
        str(label)
        if label and _has_isotope(str(label), isotope)
        else f"{label}_{isotope}"
        if label
        else isotope
        for label, isotope in zip(labels, isotopes, strict=True)
    )


def _has_isotope(label: str, isotope: str) -> bool:
    metal = isotope.rstrip("0123456789")
    mass = isotope[len(metal) :]
    return bool(re.search(rf"{metal}-?{mass}(?!\d)|(?<!\d){mass}-?{metal}", label, re.IGNORECASE))
