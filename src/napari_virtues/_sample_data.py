"""Sample data: simulated tissues, with their cells."""

from typing import Any

from napari_virtues._reader import opening_layers
from napari_virtues.layers import placement
from napari_virtues.state import LINK, ChannelLink

SAMPLE_PX = 512


def simulated_imc() -> list[tuple[Any, ...]]:
    """Simulate a tumour as imaging mass cytometry sees it: 41 channels and the cells."""
    return _sample("imc-tumour", "simulated tumour")


def simulated_codex() -> list[tuple[Any, ...]]:
    """Simulate the same tumour as CODEX sees it: 40 channels and the cells."""
    return _sample("codex", "simulated tumour (CODEX)")


def _sample(panel: str, name: str) -> list[tuple[Any, ...]]:
    from virtues_core.simulate import simulate_tissue

    tissue = simulate_tissue(panel, (SAMPLE_PX, SAMPLE_PX), seed=7, name=name)
    image = tissue.image
    cells = {
        "name": "cells",
        "visible": False,
        "opacity": 0.5,
        "metadata": {LINK: ChannelLink(image)},
        **placement(image),
    }
    return [*opening_layers(image), (tissue.cell_mask, cells, "labels")]
