"""Cell types carried from one simulated cohort to another by the markers that both panels show.

    python benchmarks/transfer.py [--source imc-tumour] [--target imc-immune] [--seeds 5]
                                  [--checkpoint demo] [--write]

A random forest is fitted on the cells of the source and tested on those of the target: on VirTues
tokens, on mean marker intensities, and on both side by side. Types are grouped into six coarse
classes, as in the paper. The seeds are not that of the cohort that the demo checkpoint was trained
on (11).
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
    evaluate_transfer,
)
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel
from virtues_core.model import load_checkpoint
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


def cohort(panel: str, seed: int, tissues: int, size: int) -> list[LabelledTissue]:
    config = CohortConfig(
        datasets=(panel,), patients=tissues, tissues_per_patient=1, size_px=size, seed=seed
    )
    made = simulate_cohort(config)
    return [labelled(tissue, tissue.name) for tissue in made]


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
    """An encoder that remembers what it said of a cohort."""

    encoder: Encoder
    said: dict[tuple[str, ...], list[EncodedCells]]

    @property
    def name(self) -> str:
        return self.encoder.name

    def encode(self, tissues: Iterable[LabelledTissue]) -> list[EncodedCells]:
        names = tuple(tissue.image.name for tissue in tissues)
        if names not in self.said:
            self.said[names] = self.encoder.encode(tissues)
        return self.said[names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="imc-tumour")
    parser.add_argument("--target", default="imc-immune")
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tissues", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--stride", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    rows: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        source, target = (
            cohort(panel, FIRST_SEED + 2 * seed + k, options.tissues, options.size)
            for k, panel in enumerate((options.source, options.target))
        )
        single = (
            Once(VirTuesTokens(checkpoint, options.stride), {}),
            Once(MeanIntensities(), {}),
        )
        report = evaluate_transfer(source, target, [*single, Both(single)], seed=seed)
        for name, found in report.encoders.items():
            rows.setdefault(name, []).append(found.macro_f1)
        said = ", ".join(f"{name} {values[-1]:.3f}" for name, values in rows.items())
        cells = f"{report.trained_on} -> {report.tested_on} cells, {len(report.markers)} markers"
        print(f"seed {seed}: {said} ({cells})", flush=True)
    text = (
        f"{options.source} to {options.target}, {len(report.markers)} shared markers; "
        f"{options.tissues} tissues of {options.size} px each, tiles every {options.stride} px, "
        f"{options.seeds} seeds, {platform.machine()}. Macro F1 of six classes:\n\n"
        "| | mean | each seed |\n|---|---|---|\n"
    )
    for name, values in rows.items():
        each = ", ".join(f"{value:.3f}" for value in values)
        text += f"| {name} | {np.mean(values):.3f} | {each} |\n"
    print(text)
    if options.write:
        title = f"cell types carried over, {options.source} to {options.target}"
        command = (
            f"python benchmarks/transfer.py --source {options.source} --target {options.target}"
        )
        write_section(title, command, text)


if __name__ == "__main__":
    main()
