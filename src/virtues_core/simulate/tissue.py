"""One simulated tissue: architecture, cells, expression and, where asked for, the image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.simulate.biology import CELL_TYPES, NICHES, STATES
from virtues_core.simulate.cells import Cells, draw_cells
from virtues_core.simulate.config import TissueConfig
from virtues_core.simulate.fields import FloatImage
from virtues_core.simulate.instrument import draw_batch, draw_expression, stain
from virtues_core.simulate.layout import Layout, draw_layout
from virtues_core.simulate.panels import PanelPreset, panel_preset
from virtues_core.simulate.shapes import draw_labels, draw_stain_maps

if TYPE_CHECKING:
    import pandas as pd

LEAST_SIZE_PX = 64
_LEFT = 0.67  # of a cell's ellipse, once its neighbours have taken their part


@dataclass(frozen=True, eq=False)
class SimulatedCells:
    """The cells of a tissue without its image: types, places and expression."""

    name: str
    """The tissue's name."""
    cells: "pd.DataFrame"
    """One row a cell: cell_id (1 … N, the labels of the mask), cell_type, niche, y_um, x_um,
    area_um2 and the states (0 to 1)."""
    expression: FloatImage
    """(N, M) levels of the panel's markers, before staining and noise; 1 = a bright cell."""
    markers: tuple[str, ...]
    """M channel names, those of the panel that measure a marker."""
    shape: tuple[int, int]
    """(Y, X) of the tissue in px of 1 µm."""


@dataclass(frozen=True, eq=False)
class SimulatedTissue(SimulatedCells):
    """A tissue with its image and everything that is true about it."""

    pixels: NDArray[np.uint16]
    """(C, Y, X) counts, 1 µm per pixel."""
    channels: tuple[str, ...]
    """C channel names, as the instrument writes them."""
    modality: str
    """imc, codex or mibi."""
    cell_mask: NDArray[np.int32]
    """(Y, X) labels, 0 between cells."""
    cell_types: NDArray[np.uint8]
    """(Y, X) 0 between cells, else 1 + position in `CELL_TYPES`."""
    niches: NDArray[np.uint8]
    """(Y, X) positions in `NICHES`; 0 where there is no tissue."""
    tissue_mask: NDArray[np.bool_]
    """(Y, X) True where there is tissue."""

    @property
    def image(self) -> MultiplexImage:
        """The image as every reader returns one."""
        import dask.array as da

        chunks = (1, *self.pixels.shape[1:])
        return MultiplexImage(
            da.from_array(self.pixels, chunks=chunks, name=False),  # type: ignore[no-untyped-call]
            self.channels,
            (1.0, 1.0),
            self.name,
        )


def _panel(panel: PanelPreset | str) -> PanelPreset:
    return panel_preset(panel) if isinstance(panel, str) else panel


def _check_shape(shape: tuple[int, int]) -> None:
    if len(shape) != 2 or min(shape) < LEAST_SIZE_PX:
        message = (
            f"expected a tissue of at least {LEAST_SIZE_PX} × {LEAST_SIZE_PX} px, found {shape}; "
            "choose a larger size"
        )
        raise InputError(message)


def _draw(
    shape: tuple[int, int], seed: tuple[int, ...], config: TissueConfig
) -> tuple[Layout, Cells]:
    _check_shape(shape)
    layout = draw_layout(np.random.default_rng([*seed, 1]), shape, config)
    return layout, draw_cells(np.random.default_rng([*seed, 2]), layout, config)


def _table(cells: Cells, area: NDArray[Any]) -> "pd.DataFrame":
    import pandas as pd

    columns = {
        "cell_id": np.arange(1, len(cells.y) + 1),
        "cell_type": np.array(CELL_TYPES)[cells.types],
        "niche": np.array(NICHES)[cells.niches],
        "y_um": cells.y,
        "x_um": cells.x,
        "area_um2": area.astype(np.float32),
    }
    states = {name: cells.states[:, i] for i, name in enumerate(STATES)}
    return pd.DataFrame(columns | states)


def _as_seed(seed: int | tuple[int, ...]) -> tuple[int, ...]:
    seeds = tuple(seed) if isinstance(seed, tuple) else (int(seed),)
    if min(seeds) < 0:
        message = f"expected a seed of 0 or more, found {seed!r}; choose another"
        raise InputError(message)
    return seeds


def _expression(seed: tuple[int, ...], cells: Cells, preset: PanelPreset) -> FloatImage:
    markers = tuple(marker for marker in preset.markers if marker is not None)
    return draw_expression(np.random.default_rng([*seed, 3]), cells, markers)


def _marker_channels(preset: PanelPreset) -> tuple[str, ...]:
    return tuple(channel.name for channel in preset.channels if channel.marker is not None)


def simulate_cells(
    panel: PanelPreset | str = "imc-tumour",
    shape: tuple[int, int] = (512, 512),
    *,
    seed: int | tuple[int, ...] = 0,
    config: TissueConfig | None = None,
    name: str = "tissue",
) -> SimulatedCells:
    """Simulate the cells of a tissue without an image, which is several times quicker.

    The cells are those of `simulate_tissue` with the same seed, up to the few that have no pixels
    there; areas are those of the cells' ellipses, less what neighbours take on average.

    Parameters
    ----------
    panel, shape, seed, config, name
        As in `simulate_tissue`.

    Raises
    ------
    InputError, ConfigError
        As in `simulate_tissue`.
    """
    preset, seeds = _panel(panel), _as_seed(seed)
    _, cells = _draw(shape, seeds, config or TissueConfig())
    return SimulatedCells(
        name=name,
        cells=_table(cells, _LEFT * np.pi * cells.long * cells.short),
        expression=_expression(seeds, cells, preset),
        markers=_marker_channels(preset),
        shape=shape,
    )


def simulate_tissue(
    panel: PanelPreset | str = "imc-tumour",
    shape: tuple[int, int] = (512, 512),
    *,
    seed: int | tuple[int, ...] = 0,
    config: TissueConfig | None = None,
    batch_strength: float = 1.0,
    dataset_seed: int = 0,
    name: str = "tissue",
) -> SimulatedTissue:
    """Simulate a tissue and its image; the same arguments give the same tissue.

    Parameters
    ----------
    panel
        An instrument, or the name of one of `panel_presets()`. With another panel and the same
        seed the tissue and its cells stay the same.
    shape
        (Y, X) in px of 1 µm.
    seed
        Seed, or several.
    config
        How much there is of what in the tissue.
    batch_strength
        Batch effects: 1 for the usual size, 0 for none.
    dataset_seed
        Images with the same one share their dataset's part of the batch effect.
    name
        The tissue's name.

    Raises
    ------
    InputError
        The tissue is smaller than 64 px, or the seed is negative.
    ConfigError
        There is no panel of that name.

    Examples
    --------
    >>> tissue = simulate_tissue("codex", (128, 128), seed=1)
    >>> tissue.pixels.shape, tissue.pixels.dtype.name
    ((40, 128, 128), 'uint16')
    """
    preset, seeds = _panel(panel), _as_seed(seed)
    layout, drawn = _draw(shape, seeds, config or TissueConfig())
    labels, kept = draw_labels(np.random.default_rng([*seeds, 4]), drawn, shape)
    cells = drawn.take(kept)
    expression = _expression(seeds, drawn, preset)[kept]
    maps = draw_stain_maps(np.random.default_rng([*seeds, 5]), labels, cells, layout)
    image_rng = np.random.default_rng([*seeds, 6])
    batch = draw_batch(preset, batch_strength, dataset_seed, image_rng)
    pixels = stain(labels, expression, maps, layout.tissue, preset, batch, (*seeds, 8))
    type_of_label = np.concatenate([[0], cells.types + 1]).astype(np.uint8)
    return SimulatedTissue(
        name=name,
        cells=_table(cells, np.bincount(labels.ravel(), minlength=len(kept) + 1)[1:]),
        expression=expression,
        markers=_marker_channels(preset),
        shape=shape,
        pixels=pixels,
        channels=preset.names,
        modality=preset.modality,
        cell_mask=labels,
        cell_types=type_of_label[labels],
        niches=layout.niches,
        tissue_mask=layout.tissue,
    )
