"""Names for images and channels where a file gives none, or gives them twice."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from virtues_core.errors import ReadError


def unique(names: Sequence[str | None], stem: str) -> tuple[str, ...]:
    """Make image names unique: blanks become ``stem 1``, repeats get their number.

    >>> unique(["a", "a", None], "image")
    ('a (1)', 'a (2)', 'image 3')
    """
    filled = [(name or "").strip() or f"{stem} {i + 1}" for i, name in enumerate(names)]
    count = Counter(filled)
    seen: Counter[str] = Counter()
    result = []
    for name in filled:
        seen[name] += 1
        result.append(f"{name} ({seen[name]})" if count[name] > 1 else name)
    return tuple(result)


def pick(image: str | None, names: Sequence[str], path: Path) -> int:
    """Return the position of the image asked for; the first where none is named.

    Raises
    ------
    ReadError
        No image of the file has that name.
    """
    if image is None:
        return 0
    if image not in names:
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        message = (
            f"expected one of the images of {path.name!r}, found no {image!r}; "
            f"choose one of: {shown}"
        )
        raise ReadError(message)
    return list(names).index(image)


def channel_names(found: Sequence[str | None], path: Path) -> tuple[str, ...]:
    """Complete the channel names of a file.

    Where the file names none of its channels, a steinbock ``panel.csv`` beside it (or in the
    folder above) gives them if it lists as many; what is still blank becomes ``channel 1`` and
    so on, counted from one.

    Parameters
    ----------
    found
        One name for each channel, None or blank where the file has none.
    path
        The image file.
    """
    names = [(name or "").strip() for name in found]
    if not any(names):
        names = list(_panel_names(path, len(names)) or names)
    return tuple(name or f"channel {i + 1}" for i, name in enumerate(names))


def _panel_names(path: Path, count: int) -> list[str] | None:
    """Names from a steinbock panel of ``count`` kept (or ``count`` listed) channels."""
    for folder in (path.parent, path.parent.parent):
        panel = folder / "panel.csv"
        if not panel.is_file():
            continue
        try:
            with panel.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            message = (
                f"expected a table of channels in {str(panel)!r}, found one that cannot be read "
                f"({error}); save it as UTF-8 CSV or move it away from the images"
            )
            raise ReadError(message) from error
        kept = [row for row in rows if _is_kept(row.get("keep"))]
        for chosen in (kept, rows):
            if len(chosen) == count:
                return [row.get("name") or row.get("channel") or "" for row in chosen]
    return None


def _is_kept(value: str | None) -> bool:
    return (value or "1").strip().lower() not in {"0", "0.0", "false", "no"}
