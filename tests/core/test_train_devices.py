"""Two processes, sharing a step or the model itself, train as one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from train_samples import rows, train, write_images

from virtues_core.model import load_checkpoint

ROOT = Path(__file__).parents[2]


def torchrun(code: str, *arguments: str) -> None:
    """Run code in two processes, as on a cluster."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folders = (str(ROOT / "src"), str(ROOT / "tests" / "core"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command = [*launcher, f"--master-port={port}", "--no-python", sys.executable, "-c", code]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False,
                          env=environment, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


WHOLE = "train(folder, 'two', two)"
PARTS = (  # stopped after 4 steps, whose state one file holds; then resumed
    "from virtues_core.train.callbacks import StateSaver; import os, signal;"
    "after = StateSaver.on_train_batch_end;"
    "StateSaver.on_train_batch_end = lambda saver, trainer, *_:"
    " trainer.global_step == 4 and os.kill(os.getpid(), signal.SIGTERM);"
    "assert not train(folder, 'two', two).finished;"
    "StateSaver.on_train_batch_end = after;"
    "train(folder, 'two', two, resume=True)"
)


@pytest.mark.parametrize(("strategy", "done"), [("ddp", WHOLE), ("fsdp", PARTS)])
def test_two_processes_train_as_one(tmp_path: Path, strategy: str, done: str) -> None:
    write_images(tmp_path / "images", 6)  # of so many patients one is kept out
    train(tmp_path, "one")
    code = (
        "from train_samples import *; import dataclasses, pathlib, sys;"
        f"two = dataclasses.replace(TINY, devices=2, strategy='{strategy}');"
        f"folder = pathlib.Path(sys.argv[1]); {done}"
    )
    torchrun(code, str(tmp_path))
    one, two = rows(tmp_path / "one")[-1], rows(tmp_path / "two")[-1]
    assert two["step"] == one["step"] == "6"
    for column in ("val_loss", "learning_rate", *(["loss"] if done == WHOLE else [])):
        assert float(two[column]) == pytest.approx(float(one[column]), abs=1e-5), column
    assert weights_differ(tmp_path / "one", tmp_path / "two") < 1e-4


def weights_differ(here: Path, there: Path) -> float:
    """Largest difference of weights, without those whose gradient is nought but for rounding."""
    left, right = (load_checkpoint(d / "checkpoint").model.state_dict() for d in (here, there))
    assert left.keys() == right.keys()
    return max(float((left[key] - right[key]).abs().max()) for key in left if "qkv.bias" not in key)
