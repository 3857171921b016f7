"""When Python searches for garbage.

A search of everything in napari's process stops its window for a quarter of a second.
"""

import gc

_YOUNG = gc.get_threshold()[:2]
_ALL = gc.get_threshold()[2]


def search_now() -> None:
    """Search everything, so that it is not due again before much more was made."""
    gc.collect()


def search_young_only() -> None:
    """Until `search_all`, search only what was made lately, which takes no time."""
    gc.set_threshold(*_YOUNG, 1_000_000)


def search_all() -> None:
    """Search everything again when it is due."""
    gc.set_threshold(*_YOUNG, _ALL)
