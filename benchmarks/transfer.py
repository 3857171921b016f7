"""Cell types carried from one simulated cohort to another by the markers that both panels show.

    python benchmarks/transfer.py [--source imc-tumour] [--target imc-immune] [--share 1.0]
                                  [--seeds 5] [--checkpoint demo] [--write]

A random forest, then a linear probe, is fitted on the cells of the source and tested on those of
the target: on VirTues tokens, on mean marker intensities, on both side by side, and on mean
intensities of patches, which cells get as they get tokens (what a patch of 8 x 8 pixels costs,
without any model). Then a linear probe within the source, tissues of all but one to fit on: with
all markers, and with the shared ones alone. Features are standardised by the cells trained on.
Types are grouped into six coarse classes, as in the paper. The seeds are not that of the cohort
that the demo checkpoint was trained on (11).

``--share 0.5``: no two simulated panels share half of their markers or fewer *each*. So shared
markers are taken away one by one, in an order drawn by the seed, each from the panel that shares
the larger part of its own, until neither shares more than this.
"""

import argparse
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace

import dask.array as da
import numpy as np
from model import write_section

from virtues_core.evaluate import (
    EncodedCells,
    Encoder,
    LabelledTissue,
    MeanIntensities,
    VirTuesTokens,
    evaluate_cells,
    evaluate_transfer,
)
from virtues_core.evaluate.encoders import statistics_of_datasets
from virtues_core.image import MultiplexImage
from virtues_core.infer import cell_tokens
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tiles import cut
from virtues_core.markers import Panel
from virtues_core.model import load_checkpoint
from virtues_core.preprocess import (
    Statistics,
    normalise,
    tile_origins,
    tissue_mask,
    upper_quantiles,
)
from virtues_core.simulate import CohortConfig, SimulatedTissue, simulate_cohort

COARSE = {
    "tumour": "tumour",
    "fibroblast": "stroma",
    "smooth_muscle": "stroma",
    "endothelial": "vessel",
    "CD4_T": "T or NK",
    "CD8_T": "T or NK",
    "Treg": "T or NK",
    "NK": "T or NK",
    "B": "B or plasma",
    "plasma": "B or plasma",
    "macrophage": "myeloid",
    "M2_macrophage": "myeloid",
    "dendritic": "myeloid",
    "neutrophil": "myeloid",
    "mast": "myeloid",
}
FIRST_SEED = 301
PATCH_PX = 8
Cohort = list[LabelledTissue]


def labelled(made: SimulatedTissue, patient: str) -> LabelledTissue:
    lazy = da.from_array(made.pixels, chunks=(1, *made.shape))
    kinds = [COARSE[str(kind)] for kind in made.cells["cell_type"]]
    return LabelledTissue(
        image=MultiplexImage(lazy, made.channels, (1.0, 1.0), made.name),
        panel=Panel.from_names(made.channels),
        cell_mask=made.cell_mask,
        labels=dict(zip(made.cells["cell_id"].tolist(), kinds, strict=True)),
        patient=patient,
        dataset=made.name.split("_", maxsplit=1)[0],
    )


def cohort(panel: str, seed: int, tissues: int, size: int) -> Cohort:
    config = CohortConfig(
        datasets=(panel,), patients=tissues, tissues_per_patient=1, size_px=size, seed=seed
    )
    made = simulate_cohort(config)
    return [labelled(tissue, tissue.name) for tissue in made]


def sharing(source: Cohort, target: Cohort, share: float, seed: int) -> tuple[Cohort, Cohort]:
    """Take shared markers away until neither panel shares more than this part of its own."""
    panels = [set(source[0].keys), set(target[0].keys)]
    for key in np.random.default_rng(seed).permutation(sorted(panels[0] & panels[1])).tolist():
        shared = len(panels[0] & panels[1])
        if shared <= share * min(map(len, panels)):
            break
        min(panels, key=len).remove(key)
    return [t.only(panels[0]) for t in source], [t.only(panels[1]) for t in target]


@dataclass
class PatchIntensities:
    """What the model sees, averaged over each patch; to the cells as patch tokens are."""

    stride_px: int
    name: str = "mean intensities by patch"

    def encode(self, tissues: Iterable[LabelledTissue]) -> list[EncodedCells]:
        known = statistics_of_datasets(tissues)
        return [self._encode(tissue, known[tissue.dataset]) for tissue in tissues]

    def _encode(self, tissue: LabelledTissue, known: Statistics) -> EncodedCells:
        channels = [tissue.image.index(name) for name in known.channels]
        counts = tissue.image.compute(channels)
        upper = upper_quantiles(counts, tissue_mask(counts))
        pixels = normalise(counts, upper, known.mean, known.std)
        keys = [tissue.panel.keys[i] for i in channels]
        pixels = np.stack([pixels[[k == key for k in keys]].mean(0) for key in sorted(tissue.keys)])
        origins = tile_origins(pixels.shape[1:], size=TILE_PX, stride=self.stride_px)
        side = TILE_PX // PATCH_PX
        tiles = np.stack(cut(pixels, origins)).reshape(
            len(origins), len(pixels), side, PATCH_PX, side, PATCH_PX
        )
        patches = np.moveaxis(tiles.mean((3, 5)), 1, -1)
        return EncodedCells(*cell_tokens(patches, origins, tissue.cell_mask, PATCH_PX))


@dataclass
class Both:
    """Two encoders, side by side."""

    parts: tuple[Encoder, ...]
    name: str = "both"

    def encode(self, tissues: Iterable[LabelledTissue]) -> list[EncodedCells]:
        found = [part.encode(tissues) for part in self.parts]
        return [
            replace(one[0], features=np.concatenate([o.features for o in one], axis=1))
            for one in zip(*found, strict=True)
        ]


@dataclass
class Once:
    """An encoder that remembers what it said of a cohort seen through some markers."""

    encoder: Encoder
    said: dict[tuple[object, ...], list[EncodedCells]]

    @property
    def name(self) -> str:
        return self.encoder.name

    def encode(self, tissues: Iterable[LabelledTissue]) -> list[EncodedCells]:
        asked = tuple((tissue.image.name, tissue.keys) for tissue in tissues)
        if asked not in self.said:
            self.said[asked] = self.encoder.encode(tissues)
        return self.said[asked]


class Table:
    """Macro F1 by row, one value a seed."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}

    def add(self, part: str, found: dict[str, float]) -> None:
        for name, value in found.items():
            self.rows.setdefault(f"{part}: {name}", []).append(value)
        print(f"  {part}: " + ", ".join(f"{k} {v:.3f}" for k, v in found.items()), flush=True)

    def markdown(self) -> str:
        lines = ["| | mean | each seed |", "|---|---|---|"]
        for name, values in self.rows.items():
            each = ", ".join(f"{value:.3f}" for value in values)
            lines.append(f"| {name} | {np.mean(values):.3f} | {each} |")
        return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="imc-tumour")
    parser.add_argument("--target", default="imc-immune")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tissues", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--stride", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    table = Table()
    for seed in range(options.seeds):
        source, target = sharing(
            *(
                cohort(panel, FIRST_SEED + 2 * seed + k, options.tissues, options.size)
                for k, panel in enumerate((options.source, options.target))
            ),
            options.share,
            seed,
        )
        tokens, means = Once(VirTuesTokens(checkpoint, options.stride), {}), MeanIntensities()
        ways = [tokens, means, Both((tokens, means)), Once(PatchIntensities(options.stride), {})]
        report = evaluate_transfer(source, target, ways, seed=seed)
        linear = evaluate_transfer(source, target, ways, method="logistic", seed=seed)
        sizes = f"{len(report.markers)} of {len(source[0].keys)} and {len(target[0].keys)} markers"
        print(f"seed {seed}: {report.trained_on} to {report.tested_on} cells, {sizes}", flush=True)
        table.add("forest", {k: v.macro_f1 for k, v in report.encoders.items()})
        table.add("linear", {k: v.macro_f1 for k, v in linear.encoders.items()})
        shared = [tissue.only(report.markers) for tissue in source]
        for part, tissues in (("within, shared markers", shared), ("within, all", source)):
            found = evaluate_cells(tissues, [ways[0], ways[1], ways[3]], seed=seed).encoders
            table.add(part, {k: v.macro_f1 for k, v in found.items()})
    text = (
        f"{options.source} to {options.target}, {sizes} shared; {options.tissues} tissues of "
        f"{options.size} px each, tiles every {options.stride} px, {platform.machine()}. Macro F1 "
        f"of six classes:\n\n{table.markdown()}"
    )
    print(text)
    if options.write:
        command = (
            f"python benchmarks/transfer.py --source {options.source} --target {options.target} "
            f"--share {options.share}"
        )
        write_section(
            f"cell types carried over, {options.source} to {options.target}", command, text
        )


if __name__ == "__main__":
    main()
