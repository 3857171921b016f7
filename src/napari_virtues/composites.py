"""Composites: named sets of channels with their colours, kept from one day to the next."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from virtues_core.errors import ConfigError
from virtues_core.files import replacing


@dataclass(frozen=True)
class CompositeChannel:
    """One channel of a composite."""

    name: str
    """The channel's name in the image that the composite was saved from."""
    key: str | None
    """The marker's key, by which it is found in other images; None = by name alone."""
    color: str
    """As ``#rrggbb``."""


@dataclass(frozen=True)
class Composite:
    """A named view: which channels are shown, in which colours."""

    name: str
    channels: tuple[CompositeChannel, ...]


def default_path() -> Path:
    """Where composites are kept: the user's settings folder, or ``VIRTUES_CONFIG_DIR``."""
    folder = os.environ.get("VIRTUES_CONFIG_DIR")
    if folder:
        return Path(folder) / "composites.json"
    from platformdirs import user_config_path

    return user_config_path("napari-virtues", appauthor=False) / "composites.json"


def load_composites(path: Path) -> tuple[Composite, ...]:
    """Read the saved composites; none where the file does not exist.

    Raises
    ------
    ConfigError
        The file is not what `save_composites` writes.
    """
    if not path.exists():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            Composite(
                str(row["name"]),
                tuple(
                    CompositeChannel(str(c["name"]), c.get("key"), str(c["color"]))
                    for c in row["channels"]
                ),
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = (
            f"expected saved composites in {str(path)!r}, found something else ({error}); "
            "move the file away, then save your composites again"
        )
        raise ConfigError(message) from error


def save_composites(composites: Iterable[Composite], path: Path) -> None:
    """Write composites as JSON, in place of those that were there.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    text = json.dumps([asdict(c) for c in composites], indent=1, ensure_ascii=False)
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")
