"""Good colours to begin with, and which channels to show first."""

from virtues_core.markers import DNA_KEY, Panel

NUCLEAR = "#4a6bff"
"""Blue, bright enough to read on black."""
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
FIRST_SHOWN = 4
"""Layers that an image opens with, at the most."""


def default_colors(panel: Panel) -> tuple[str, ...]:
    """Give each channel a colour: nuclear stains blue, proteins in turn, the rest grey.

    Examples
    --------
    >>> default_colors(Panel.from_names(["DNA1_Ir191", "CD8a", "CD20"]))
    ('#4a6bff', '#2ee66b', '#ff4fd8')
    """
    colors, used = [], 0
    for entry in panel.entries:
        if entry.key == DNA_KEY:
            colors.append(NUCLEAR)
        elif entry.status == "background":
            colors.append("#9aa0a6")
        else:
            colors.append(PALETTE[used % len(PALETTE)])
            used += 1
    return tuple(colors)


def first_channels(panel: Panel, most: int = FIRST_SHOWN) -> tuple[int, ...]:
    """Choose the channels to show first: a nuclear stain, then proteins, in the panel's order.

    Where nothing is known of the panel, its first channels. Proteins that are on nearly every
    cell (histones, other nuclear marks) come after the others.
    """
    entries = panel.entries
    nuclear = [i for i, entry in enumerate(entries) if entry.key == DNA_KEY][:1]
    proteins = [i for i, entry in enumerate(entries) if entry.status == "resolved"]
    proteins.sort(key=lambda i: entries[i].symbol.upper().startswith("H3"))
    rest = [
        i
        for i, entry in enumerate(entries)
        if i not in nuclear and i not in proteins and entry.status != "background"
    ]
    chosen = (nuclear + proteins + rest)[:most] or list(range(min(1, len(entries))))
    return tuple(chosen)
