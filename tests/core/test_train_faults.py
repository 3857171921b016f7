"""What goes wrong in the middle: killed, a full disk, memory exhausted. Nothing saved is lost."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_samples import TINY, rows, train, weights, write_images

from virtues_core.errors import DeviceError, RunError, VirtuesError
from virtues_core.run_dir import read_json, read_status
from virtues_core.train.module import Pretraining
from virtues_core.train.record import STATE, saved_steps

HERE = Path(__file__).parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be quick")
def test_a_training_killed_again_and_again_ends_with_the_same_weights(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, HERE / "killed_training.py", tmp_path, "6"], check=False,
                          capture_output=True, text=True, timeout=500,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"] >= 4  # some may end before their moment comes
    assert found["same"]


def test_a_run_killed_before_its_first_state_starts_anew(tmp_path: Path, capsys) -> None:
    whole = train(tmp_path, "whole")
    train(tmp_path, "run")
    for path in (tmp_path / "run" / STATE, *(tmp_path / "run" / "checkpoint").iterdir()):
        path.unlink()
    resumed = train(tmp_path, "run", resume=True)
    assert "starts anew" in capsys.readouterr().err
    assert [row["step"] for row in rows(tmp_path / "run")] == ["6"]
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[key]), key


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    train(tmp_path, "run", dataclasses.replace(TINY, max_steps=4))
    left = tmp_path / "run" / "checkpoints" / ".last.ckpt.ab_9x0zz"
    left.mkdir()
    (left / "last.ckpt").write_bytes(b"half")
    with (tmp_path / "run" / "metrics.csv").open("a") as file:
        file.write("5,20,0.0")  # cut in the middle of a row
    assert train(tmp_path, "run", resume=True).steps == 6
    assert not left.exists()
    assert [row["step"] for row in rows(tmp_path / "run")] == ["4", "6"]


def test_a_full_disk_leaves_the_last_state_whole(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    wide = dataclasses.replace(
        TINY, model=dataclasses.replace(TINY.model, model_dim=64, feedforward_dim=128)
    )
    train(tmp_path, "run", dataclasses.replace(wide, max_steps=2))
    state = tmp_path / "run" / STATE
    before, limits = state.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(VirtuesError, match=r"state of step 2 is whole.*--resume"):
            train(tmp_path, "run", wide, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert state.read_bytes() == before
    assert not list(state.parent.glob(".*"))  # nothing half-written takes room
    status = read_status(tmp_path / "run")
    assert status.state == "failed"
    assert "step 2" in status.message
    assert train(tmp_path, "run", wide, resume=True).steps == 6


@pytest.mark.parametrize(
    ("text", "said"), [("{", "half-written"), ("[]", "edited"), ('{"format": 99}', "newer")]
)
def test_a_record_that_cannot_be_read_is_told(tmp_path: Path, text: str, said: str) -> None:
    write_images(tmp_path / "images", 1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(RunError, match=said):
        train(tmp_path, "run", resume=True)


def failing_above(crops: int, at_step: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have memory run out from a step on, with more than so many crops at once."""
    loss, failed = Pretraining.loss, []

    def exhausted(module: Pretraining, batch: list) -> torch.Tensor:
        if len(batch) > crops and module.training and module.global_step >= at_step:
            failed.append(module.global_step)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return loss(module, batch)

    monkeypatch.setattr(Pretraining, "loss", exhausted)
    return failed


def test_out_of_memory_goes_on_with_fewer_crops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(TINY, micro_batch_size=4, checkpoint_every_steps=100)
    whole = train(tmp_path, "whole", config)
    failed = failing_above(1, 3, monkeypatch)
    halved = train(tmp_path, "halved", config)
    assert failed == [3, 3]  # with 4 and with 2, both at the step that three saved ones precede
    assert "from step 3 with 1; a step still takes 4" in capsys.readouterr().err
    assert read_json(tmp_path / "halved" / "run.json")["micro_batch_size"] == 1
    assert halved.steps == 6
    monkeypatch.undo()
    again = train(tmp_path, "again", dataclasses.replace(config, micro_batch_size=1))
    for other in (whole, again):
        for key, value in weights(other).items():
            if "qkv.bias" not in key:  # of keys: their gradient is nought but for rounding
                torch.testing.assert_close(weights(halved)[key], value, rtol=0, atol=1e-5)
    assert float(rows(tmp_path / "again")[-1]["loss"]) == pytest.approx(
        float(rows(tmp_path / "whole")[-1]["loss"]), abs=1e-5
    )


def test_not_even_one_crop_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_above(0, 2, monkeypatch)
    with pytest.raises(DeviceError, match="single crop of 128 px"):
        train(tmp_path, "run")
    assert saved_steps(tmp_path / "run") == 2
    assert read_status(tmp_path / "run").state == "failed"


EXHAUST = """
import dataclasses, pathlib, resource, sys
import psutil
from train_samples import *
torch.set_num_threads(1)
config = dataclasses.replace(
    TINY, batch_size=16, micro_batch_size=16, max_steps=2, decode_fraction=1.0,
    model=dataclasses.replace(TINY.model, model_dim=128, feedforward_dim=512),
)
folder = pathlib.Path(sys.argv[1])
train(folder, "warm", dataclasses.replace(config, batch_size=1, micro_batch_size=1))
room = psutil.Process().memory_info().vms + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
train(folder, "run", config)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process from memory")
def test_memory_that_the_system_does_not_give(tmp_path: Path) -> None:
    env = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE),
        "MALLOC_MMAP_THRESHOLD_": "65536",  # so that what is freed counts as free
    }
    done = subprocess.run([sys.executable, "-c", EXHAUST, tmp_path], check=False, text=True,
                          capture_output=True, timeout=300, env=os.environ | env)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "out of memory with 16 crops at once: going on from step 0 with 8" in done.stderr
    assert read_json(tmp_path / "run" / "run.json")["micro_batch_size"] < 16
    assert rows(tmp_path / "run")[-1]["step"] == "2"
