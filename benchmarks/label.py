"""Does spatial attention show what a label depends on? Tissues with and without a bright block.

    python benchmarks/label.py --seeds 3

A cohort of 12 patients, two tissues of 128 px each; those of half of the patients have a block of
40 px, bright in CD20, at a place of its own (``tests/core/label_samples.py``). The demo checkpoint
is fine-tuned to tell them apart; on 20 tissues more: macro F1, the attention on the block's patches
as a multiple of even attention, and the AUC with which attention tells those patches from others.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
from label_samples import BLOCK, CHANNELS, tissue, write_cohort

from virtues_core.evaluate.tissues import score_tissues
from virtues_core.image import MultiplexImage
from virtues_core.infer.spatial import SpatialAttention, spatial_attention
from virtues_core.model import load_checkpoint
from virtues_core.train.label import LabelConfig
from virtues_core.train.labels import labelled_tissues, tune_for_label

TESTED = 20


def seen(found: SpatialAttention, place: tuple[int, int]) -> tuple[float, float]:
    """Mean attention on the block, and the AUC of its patches against the others."""
    inside = np.zeros(found.attention.shape, bool)
    y, x = (at // found.patch_px for at in place)
    side = BLOCK // found.patch_px
    inside[y : y + side, x : x + side] = True
    auc = roc_auc_score(inside.ravel(), found.attention.ravel())
    return float(found.attention[inside].mean()), float(auc)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    options = parser.parse_args()
    print("seed  best epoch  macro F1 (90 %)      attention  AUC (worst, best tissue)  CPU s")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            cohort = write_cohort(Path(folder) / "cohort")
            recipe = LabelConfig(
                epochs=options.epochs, batch_size=4, learning_rate=options.learning_rate, seed=seed
            )
            tissues = labelled_tissues(cohort, "grade", seed=seed)
            began = time.process_time()
            tuned = tune_for_label(
                recipe, tissues, "grade", load_checkpoint("demo"), Path(folder) / "cache"
            )
            spent = time.process_time() - began
        said, looked = [], []
        for number in range(TESTED):
            pixels, place = tissue(1000 + number, block=number % 2 == 1)
            image = MultiplexImage(da.from_array(pixels), CHANNELS, (1.0, 1.0), f"t{number}")
            found = spatial_attention(image, None, tuned.model)
            said.append(found.classes[int(found.probabilities.argmax())])
            if place is not None:
                looked.append(seen(found, place))
        scores = score_tissues(["low", "high"] * (TESTED // 2), said, [*map(str, range(TESTED))])
        ratio, auc = np.array(looked).T
        print(
            f"{seed:4}  {tuned.fitted.best.number:10}  {scores.macro_f1:.3f} ({scores.low:.3f} to "
            f"{scores.high:.3f})  {ratio.mean():9.2f}  {auc.mean():.2f} ({auc.min():.2f}, "
            f"{auc.max():.2f})  {spent:14.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
