"""What an instrument makes of a stained tissue: expression, staining, blur, spill-over, noise."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from virtues_core.simulate.biology import LEAK, MarkerProfile, marker_profiles
from virtues_core.simulate.cells import Cells
from virtues_core.simulate.fields import FloatImage, smooth_noise
from virtues_core.simulate.panels import PanelPreset
from virtues_core.simulate.shapes import StainMaps

_SPREAD = 0.42  # of the logarithm of a marker's level among cells of one type
_SHARED = 0.5  # fraction of that variance that markers of one group share
_CELL_WIDE = 0.15  # spread of the logarithm of how strongly a cell takes all stains


def draw_expression(rng: np.random.Generator, cells: Cells, markers: tuple[str, ...]) -> FloatImage:
    """Draw each cell's level of each marker: log-normal around its type's, groups correlated.

    Parameters
    ----------
    rng
        Source of randomness; the result for one marker does not depend on the others asked for.
    cells
        N cells.
    markers
        K names out of `marker_profiles`.

    Returns
    -------
    numpy.ndarray
        float32 (N, K), 1 = a bright cell.
    """
    profiles = marker_profiles()
    count = len(cells.y)
    groups = sorted({profile.group for profile in profiles.values()})
    shared = {group: rng.standard_normal(count, dtype=np.float32) for group in groups}
    cell_wide = _CELL_WIDE * rng.standard_normal(count, dtype=np.float32)
    own = {name: rng.standard_normal(count, dtype=np.float32) for name in profiles}
    columns = []
    for name in markers:
        profile = profiles[name]
        tie = 0.85 if profile.group == "dna" else _SHARED
        spread = 0.25 if profile.group == "dna" else _SPREAD
        varied = np.sqrt(tie) * shared[profile.group] + np.sqrt(1 - tie) * own[name]
        columns.append(_median(profile, cells) * np.exp(spread * varied + cell_wide))
    return np.stack(columns, axis=1).astype(np.float32)


def _median(profile: MarkerProfile, cells: Cells) -> FloatImage:
    level = np.array(profile.levels, np.float32)[cells.types]
    level += cells.states @ np.array(profile.states, np.float32)
    return np.asarray(np.maximum(level, LEAK), np.float32)


@dataclass(frozen=True)
class Batch:
    """How one image's staining differs from the ideal, per channel."""

    gain: FloatImage
    """(C,) factor of the signal."""
    background: FloatImage
    """(C,) factor of the background."""
    blur_px: float
    """Standard deviation of the blur in px."""
    shading: float
    """Relative change of the illumination over the image."""


def draw_batch(
    panel: PanelPreset, strength: float, dataset_seed: int, image_rng: np.random.Generator
) -> Batch:
    """Draw a batch effect: one part common to the dataset, one of this image alone.

    Parameters
    ----------
    panel
        The instrument.
    strength
        1 for the usual spread, 0 for none.
    dataset_seed
        Images with the same seed share the dataset's part.
    image_rng
        Source of randomness of this image's part.
    """
    count = len(panel.channels)
    common = np.random.default_rng([dataset_seed, zlib.crc32(panel.name.encode())])
    spread = 0.22 * common.standard_normal(count) + 0.12 * common.standard_normal()
    own = 0.09 * image_rng.standard_normal(count) + 0.12 * image_rng.standard_normal()
    dirt = 0.25 * common.standard_normal(count) + 0.15 * image_rng.standard_normal(count)
    return Batch(
        gain=np.exp(strength * (spread + own)).astype(np.float32),
        background=np.exp(strength * dirt).astype(np.float32),
        blur_px=panel.blur_px * float(np.exp(0.1 * strength * image_rng.standard_normal())),
        shading=float(strength * (0.06 if panel.offset else 0.02) * image_rng.standard_normal()),
    )


def stain(
    labels: NDArray[np.int32],
    expression: FloatImage,
    maps: StainMaps,
    tissue: NDArray[np.bool_],
    panel: PanelPreset,
    batch: Batch,
    seed: tuple[int, ...],
) -> NDArray[np.uint16]:
    """Render every channel of a tissue.

    Parameters
    ----------
    labels
        int32 (Y, X), 0 between cells, else 1 … K.
    expression
        (K, M) levels, one column for each channel of the panel that has a marker, in their order.
    maps
        Where each kind of stain lies.
    tissue
        bool (Y, X).
    panel, batch
        The instrument and this image's deviation.
    seed
        Seeds of the noise; each channel's noise depends on its name and not on its neighbours.

    Returns
    -------
    numpy.ndarray
        uint16 (C, Y, X), counts.
    """
    signals = _ideal(labels, expression, maps, panel, batch)
    shading = _shading(np.random.default_rng([*seed, 7]), labels.shape, batch.shading)
    soft_tissue = ndimage.gaussian_filter(tissue.astype(np.float32), 1.0)
    soft_tissue *= 0.6 + 0.4 * ndimage.gaussian_filter((labels > 0).astype(np.float32), 2.0)
    spill = spill_matrix(panel)
    pixels = np.empty(signals.shape, np.uint16)
    for index, channel in enumerate(panel.channels):
        rng = np.random.default_rng([*seed, zlib.crc32(channel.name.encode())])
        expected = signals[index].copy()
        for other in np.flatnonzero(spill[:, index]):
            expected += np.float32(spill[other, index]) * signals[other]
        expected += np.float32(panel.autofluorescence * channel.gain) * soft_tissue
        dirt = channel.background * batch.background[index]
        gas = channel.marker is None  # the same everywhere; else dirt sticks to tissue
        expected += np.float32(dirt) * (1 if gas else 0.55 + 0.45 * soft_tissue)
        expected *= shading
        pixels[index] = _detect(rng, expected, panel)
    return pixels


def _ideal(
    labels: NDArray[np.int32],
    expression: FloatImage,
    maps: StainMaps,
    panel: PanelPreset,
    batch: Batch,
) -> FloatImage:
    """Blurred signals without noise: float32 (C, Y, X) counts."""
    profiles = marker_profiles()
    signals = np.zeros((len(panel.channels), *labels.shape), np.float32)
    levels = np.zeros(labels.max() + 1, np.float32)
    column = 0
    for index, channel in enumerate(panel.channels):
        if channel.marker is None:
            continue
        levels[1:] = expression[:, column]
        column += 1
        compartment = profiles[channel.marker].compartment
        where = maps.compartments.get(compartment, maps.compartments["cytoplasm"])
        signal = levels[labels] * where
        if compartment == "fibre":
            signal += maps.fibre
        elif compartment == "basement":
            signal += maps.basement
        roll = zlib.crc32(channel.marker.encode())
        shift = (roll % labels.shape[0], roll // 7 % labels.shape[1])
        signal *= np.roll(maps.texture, shift, axis=(0, 1))
        signal *= np.float32(channel.gain * batch.gain[index])
        signals[index] = ndimage.gaussian_filter(signal, batch.blur_px, truncate=3.0)
    return signals


def _shading(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> FloatImage:
    field = smooth_noise(rng, shape, max(shape))
    return np.asarray(np.maximum(1 + np.float32(strength) * field, 0.3), np.float32)


def spill_matrix(panel: PanelPreset) -> FloatImage:
    """Return what fraction of channel i's signal shows in channel j: (C, C), 0 on the diagonal."""
    mass = np.array([channel.mass for channel in panel.channels])
    gap = mass[None, :] - mass[:, None]
    spill = np.where(np.abs(gap) == 1, panel.neighbour_spill, 0.0)
    if panel.offset == 0:  # metals: oxides show 16 mass units above
        spill += np.where(gap == 16, 0.5 * panel.neighbour_spill, 0.0)
    return spill.astype(np.float32)


def _detect(
    rng: np.random.Generator, expected: FloatImage, panel: PanelPreset
) -> NDArray[np.uint16]:
    """Count ions or photons, and add hot pixels, gain and offset."""
    counts = rng.poisson(expected).astype(np.float32)
    hot = rng.random(counts.shape, dtype=np.float32) < panel.hot_pixels
    bright = np.float32(max(float(expected.max()), 4.0))
    counts[hot] += bright * rng.uniform(0.5, 6, int(hot.sum())).astype(np.float32)
    if panel.counts_per_ion != 1 or panel.offset:
        noise = rng.standard_normal(counts.shape, dtype=np.float32) * np.float32(4)
        counts = counts * np.float32(panel.counts_per_ion) + np.float32(panel.offset) + noise
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
