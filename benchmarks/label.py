"""Does spatial attention show what a label depends on? Tissues with and without a bright block.

    python benchmarks/label.py --seeds 3

A cohort of 12 patients, two tissues of 128 px each; those of half of the patients have a block of
40 px, bright in CD20, at a place of its own (``tests/core/label_samples.py``). The demo checkpoint
is fine-tuned to tell them apart; on 20 tissues more: macro F1, the attention on the block's patches
as a multiple of even attention, and the AUC with which attention tells those patches from others:
of the patch summary channel, as in the paper, and of CD20's own. The row "none" is without
fine-tuning.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
from label_samples import BLOCK, CHANNELS, tissue, write_cohort

from virtues_core.cohort.tissue_scores import score_tissues
from virtues_core.image import MultiplexImage
from virtues_core.infer.spatial import SpatialAttention, spatial_attention
from virtues_core.model import load_checkpoint
from virtues_core.model.label_file import LabelModel
from virtues_core.model.label_head import LabelHead
from virtues_core.train.label import LabelConfig
from virtues_core.train.labels import labelled_tissues, tune_for_label

TESTED = 20
MARKER = "CD20_Dy161"


def seen(found: SpatialAttention, place: tuple[int, int]) -> tuple[float, float]:
    """Mean attention on the block, and the AUC of its patches against the others."""
    inside = np.zeros(found.attention.shape, bool)
    y, x = (at // found.patch_px for at in place)
    side = BLOCK // found.patch_px
    inside[y : y + side, x : x + side] = True
    auc = roc_auc_score(inside.ravel(), found.attention.ravel())
    return float(found.attention[inside].mean()), float(auc)


def untrained() -> LabelModel:
    """The demo checkpoint with a head that knows nothing."""
    checkpoint = load_checkpoint("demo")
    torch.manual_seed(0)
    head = LabelHead(checkpoint.config, 2)
    head.start_from(checkpoint.model)
    return LabelModel(checkpoint, head.eval(), "grade", ("high", "low"))


def trained(seed: int, epochs: int, learning_rate: float) -> tuple[LabelModel, float]:
    """Fine-tune on a cohort; the processor time too, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_cohort(Path(folder) / "cohort")
        recipe = LabelConfig(epochs=epochs, batch_size=4, learning_rate=learning_rate, seed=seed)
        tissues = labelled_tissues(cohort, "grade", seed=seed)
        began = time.process_time()
        tuned = tune_for_label(
            recipe, tissues, "grade", load_checkpoint("demo"), Path(folder) / "cache"
        )
        return tuned.model, time.process_time() - began


def report(name: str, model: LabelModel, spent: float) -> None:
    """Print a row."""
    said: list[str] = []
    looked: dict[str | None, list[tuple[float, float]]] = {None: [], MARKER: []}
    for number in range(TESTED):
        pixels, place = tissue(1000 + number, block=number % 2 == 1)
        image = MultiplexImage(da.from_array(pixels), CHANNELS, (1.0, 1.0), f"t{number}")
        for marker, rows in looked.items():
            found = spatial_attention(image, None, model, marker=marker)
            if place is not None:
                rows.append(seen(found, place))
        said.append(found.classes[int(found.probabilities.argmax())])
    scores = score_tissues(["low", "high"] * (TESTED // 2), said, [*map(str, range(TESTED))])
    columns = [f"{scores.macro_f1:.3f} ({scores.low:.3f} to {scores.high:.3f})"]
    for rows in looked.values():
        ratio, auc = np.array(rows).T
        columns.append(f"{ratio.mean():.2f}")
        columns.append(f"{auc.mean():.2f} ({auc.min():.2f}, {auc.max():.2f})")
    print(f"| {name} | {' | '.join(columns)} | {spent:.0f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    options = parser.parse_args()
    print("| seed | macro F1 (90 %) | attention | AUC (worst, best) | CD20's own | AUC | CPU |")
    print("|---|---|---|---|---|---|---|")
    report("none", untrained(), 0)
    for seed in range(options.seeds):
        report(str(seed), *trained(seed, options.epochs, options.learning_rate))


if __name__ == "__main__":
    main()
