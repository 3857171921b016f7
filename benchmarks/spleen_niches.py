"""White and red pulp of a spleen told apart by niche tokens, beside mean intensities.

    python benchmarks/spleen_niches.py --data FOLDER --checkpoint CHECKPOINT [--stride 128]

FOLDER holds rN.ome.tiff and rN_region.tif (0 = white pulp, 1 = red pulp, 2 = background). A niche
is a tile of 128 px with 30 % tissue or more; its label is what most of its pulp is. A logistic
regression (L-BFGS, λ = 1) is fitted on the niches of some regions and tested on those of others:
once on the mean of patch summary tokens, once on the mean of log(1 + counts) of the same markers.
The checkpoint should not have seen the regions that are tested on.
"""

import argparse
import json
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from model import write_section

from virtues_core.cohort import score
from virtues_core.cohort.classify import probabilities, train
from virtues_core.cohort.scores import TypingScores
from virtues_core.infer import EmbedRequest, embed
from virtues_core.infer.request import TILE_PX
from virtues_core.model import Checkpoint, load_checkpoint
from virtues_core.read import read_image, read_labels

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "spleen_imc"
PULP = ("white", "red")
LEAST_PULP = 0.5
"""Share of a niche that must be pulp for it to have a label."""


@dataclass(frozen=True)
class Niches:
    """Niches of one region that have a label."""

    tokens: np.ndarray
    intensities: np.ndarray
    """(N, C) mean of log(1 + counts) of the markers that the model saw."""
    labels: np.ndarray
    share: np.ndarray
    """(N,) of the pulp that the label is right for."""


def niches_of(folder: Path, region: str, checkpoint: Checkpoint, stride: int) -> Niches:
    image = read_image(folder / f"{region}.ome.tiff")
    pulp = read_labels(folder / f"{region}_region.tif", shape=image.shape[1:])
    table = embed(image, None, None, checkpoint, EmbedRequest("niche", stride_px=stride))
    logs = np.log1p(image.compute()[table.var["in_model"].to_numpy()].astype(np.float32))
    kept, labels, share, means = [], [], [], []
    for i, (y, x) in enumerate(zip(table.columns["y_px"], table.columns["x_px"], strict=True)):
        window = (slice(y, y + TILE_PX), slice(x, x + TILE_PX))
        counts = np.bincount(pulp[window].ravel(), minlength=3)[:2]
        if counts.sum() >= LEAST_PULP * TILE_PX**2:
            kept.append(i)
            labels.append(PULP[counts.argmax()])
            share.append(counts.max() / counts.sum())
            means.append(logs[:, *window].mean((1, 2)))
    return Niches(
        np.asarray(table.tokens)[kept], np.array(means), np.array(labels), np.array(share)
    )


def tested(fit: list[Niches], test: list[Niches], what: str) -> TypingScores:
    known, asked = (np.concatenate([getattr(n, what) for n in part]) for part in (fit, test))
    probe = train(known.astype(np.float32), np.concatenate([n.labels for n in fit]), "logistic")
    found = probabilities(probe, asked.astype(np.float32))
    types = probe.classes_[found.argmax(1)].astype(str)
    return score(np.concatenate([n.labels for n in test]), types, found.max(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--checkpoint", help="trained on the regions to fit; without one: nothing")
    parser.add_argument("--fit", default="r2,r4,r8,r12")
    parser.add_argument("--test", default="r16,r22")
    parser.add_argument("--stride", type=int, default=TILE_PX)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.checkpoint is None:
        print("left out: it needs --checkpoint, trained on the regions to fit")
        return
    checkpoint = load_checkpoint(options.checkpoint)
    parts = []
    for names in (options.fit, options.test):
        part = [
            niches_of(options.data, name, checkpoint, options.stride) for name in names.split(",")
        ]
        counts = {p: int(sum((n.labels == p).sum() for n in part)) for p in PULP}
        pure = float(np.mean(np.concatenate([n.share for n in part])))
        print(f"{names}: {counts}, {pure:.0%} of a niche's pulp is as its label says", flush=True)
        parts.append(part)
    rows = []
    for what in ("tokens", "intensities"):
        found = tested(*parts, what)
        f1 = {p: round(found.classes[p].f1, 3) for p in found.classes}
        print(f"{what}: macro F1 {found.macro_f1:.3f}, {json.dumps(f1)}", flush=True)
        rows.append((what, found))
    if options.write:
        text = (
            f"Fitted on {options.fit}, tested on {options.test}, niches of {TILE_PX} px every "
            f"{options.stride} px, {platform.machine()}.\n\n| | white pulp F1 | red pulp F1 | "
            "macro F1 |\n|---|---|---|---|\n"
        )
        for what, found in rows:
            f1 = [found.classes[p].f1 if p in found.classes else float("nan") for p in PULP]
            text += f"| {what} | {f1[0]:.3f} | {f1[1]:.3f} | {found.macro_f1:.3f} |\n"
        write_section(
            "niches of a spleen", "python benchmarks/spleen_niches.py --checkpoint …", text
        )


if __name__ == "__main__":
    main()
