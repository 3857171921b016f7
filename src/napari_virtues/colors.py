"""Good colours to begin with, and which channels to show first."""

from virtues_core.markers import DNA_KEY, Panel

NUCLEAR = "#4a6bff"
"""Blue, bright enough to read on black."""
BACKGROUND = "#9aa0a6"
PALETTE = (
    "#2ee66b",  # green
    "#ff4fd8",  # magenta
    "#ffd43b",  # yellow
    "#22d3ee",  # cyan
    "#ff5a4e",  # red
    "#ff9f2e",  # orange
    "#b388ff",  # violet
    "#f5f5f5",  # white
)
_TELLING = ("KRT", "MS4A1", "CD3", "CD68", "ACTA2", "PECAM1", "CD8A", "COL1A1")
"""How the symbols of markers begin that tell a tissue's structure: epithelium, B and T cells…"""
FIRST_SHOWN = 4
"""Layers that an image opens with, at the most."""


def default_colors(panel: Panel) -> tuple[str, ...]:
    """Give each channel a colour: nuclear stains blue, background grey, the others in turn.

    Those that are shown first (`first_channels`) get the colours that differ most.

    Examples
    --------
    >>> default_colors(Panel.from_names(["DNA1_Ir191", "CD8a", "CD20"]))
    ('#4a6bff', '#ff4fd8', '#2ee66b')
    """
    nuclear = {i: NUCLEAR for i, entry in enumerate(panel.entries) if entry.key == DNA_KEY}
    in_turn = [i for i in first_channels(panel, len(panel)) if i not in nuclear]
    colors = nuclear | {i: PALETTE[n % len(PALETTE)] for n, i in enumerate(in_turn)}
    return tuple(
        BACKGROUND if entry.status == "background" else colors[i]
        for i, entry in enumerate(panel.entries)
    )


def first_channels(panel: Panel, most: int = FIRST_SHOWN) -> tuple[int, ...]:
    """Choose the channels to show first: a nuclear stain, then proteins that tell the structure.

    Epithelium, B cells, T cells and so on, one channel each, then other proteins in the panel's
    order; histones come last. Where nothing is known of the panel, its first channels.

    Examples
    --------
    >>> first_channels(Panel.from_names(["89Y", "CD4", "CD20", "DNA1_Ir191"]))
    (3, 2, 1)
    """
    entries = panel.entries
    nuclear = [i for i, entry in enumerate(entries) if entry.key == DNA_KEY][:1]
    proteins = [i for i, entry in enumerate(entries) if entry.status == "resolved"]
    proteins = _telling_first(proteins, panel)
    rest = [
        i
        for i, entry in enumerate(entries)
        if i not in nuclear and i not in proteins and entry.status != "background"
    ]
    chosen = (nuclear + proteins + rest)[:most] or list(range(min(1, len(entries))))
    return tuple(chosen)


def _telling_first(proteins: list[int], panel: Panel) -> list[int]:
    symbols = {i: panel.entries[i].symbol.upper() for i in proteins}
    first = [next((i for i in proteins if symbols[i].startswith(t)), None) for t in _TELLING]
    chosen = list(dict.fromkeys(i for i in first if i is not None))
    rest = [i for i in proteins if i not in chosen]
    return chosen + sorted(rest, key=lambda i: symbols[i].startswith("H3"))


def color_labels_at_once() -> None:
    """Let napari colour labels by NumPy for this session, unless the user chose another way.

    Where numba is installed, napari compiles each kind of colouring when it is first used: the
    window stands still for 0.5 to 1 s, more than the compiled code wins back.
    """
    from napari.settings import get_settings
    from napari.utils.colormap_backend import ColormapBackend, set_backend

    if get_settings().experimental.colormap_backend == ColormapBackend.fastest_available:
        set_backend(ColormapBackend.pure_python)
