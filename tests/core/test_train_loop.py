"""A real, small training: it learns, resumes exactly, obeys signals and the clock."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from train_samples import CHANNELS, TINY, rows, train, weights, write_images

from virtues_core.errors import CheckpointError, ConfigError, InputError
from virtues_core.model import load_checkpoint
from virtues_core.read import write_ome_tiff
from virtues_core.train.callbacks import StateSaver
from virtues_core.train.config import accumulation
from virtues_core.train.loop import TrainResult, pretrain
from virtues_core.train.sources import sources_of_images


def test_a_run_leaves_a_checkpoint_metrics_and_its_story(tmp_path: Path) -> None:
    result = train(tmp_path, "run")
    assert result.finished
    assert result.steps == 6
    checkpoint = load_checkpoint(result.checkpoint)
    assert set(checkpoint.trained_keys) == {"P07766", "P01732", "P11836", "stain:dna"}
    assert set(result.stand_ins) == set(checkpoint.trained_keys)  # no protein embedding was given
    assert "stand-in" in checkpoint.card
    (statistics,) = checkpoint.statistics
    assert statistics.channels == CHANNELS[:4]  # the background channel is not for the model
    assert rows(tmp_path / "run")[-1]["step"] == "6"
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["step"]) == ("finished", 6)
    story = json.loads((tmp_path / "run" / "run.json").read_text())
    assert story["config"]["learning_rate"] == 3e-3
    assert len(story["images"]["train"]) == 2
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_it_learns(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, max_steps=60)
    train(tmp_path, "run", config)
    losses = [float(row["loss"]) for row in rows(tmp_path / "run")]
    assert losses[-1] < 0.9 * losses[0]


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch) -> None:
    whole = train(tmp_path, "whole")
    torch.manual_seed(12345)  # nothing may depend on the state of chance outside
    interrupted = stopped_after(tmp_path, "stopped", 3, monkeypatch)
    assert not interrupted.finished
    resumed = train(tmp_path, "stopped", resume=True)
    assert resumed.finished
    assert resumed.steps == 6
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[key]), key
    assert [row["step"] for row in rows(tmp_path / "stopped")][-1] == "6"


def stopped_after(tmp_path: Path, name: str, steps: int, monkeypatch) -> TrainResult:
    """Run in this process, and send it SIGTERM when some steps are done."""

    def save_and_stop(saver: StateSaver, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(StateSaver, "on_train_batch_end", save_and_stop)
        return train(tmp_path, name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_first(tmp_path: Path, number: signal.Signals) -> None:
    write_images(tmp_path / "images")
    code = (
        "import sys, typer; from virtues_core.cli import pretrain; app = typer.Typer();"
        "pretrain.register(app); app.callback()(lambda: None); app()"
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: {model_dim: 16, feedforward_dim: 32, num_heads: 2, encoder_pattern: hv,"
        " decoder_pattern: f}\nbatch_size: 2\nmicro_batch_size: 2\nmax_steps: 100000\n"
        "precision: 32-true\naccelerator: cpu\n"
    )
    run_dir = tmp_path / "run"
    command = [sys.executable, "-c", code, "pretrain", "--images", str(tmp_path / "images/*.tiff"),
               "--config", str(config), "--run-dir", str(run_dir)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run_dir / "metrics.csv").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()
    status = json.loads((run_dir / "status.json").read_text())
    assert status["state"] == "stopped"
    saved = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == status["step"] >= 10


def test_the_clock_ends_a_run(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, max_steps=None, max_minutes=0.05)
    result = train(tmp_path, "run", config)
    assert result.finished
    assert 2.5 < 60 * float(rows(tmp_path / "run")[-1]["minutes"]) < 15


def test_validating_is_no_waiting_for_data(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 6)
    config = dataclasses.replace(TINY, validate_every_steps=1, validation_crops=48)
    train(tmp_path, "run", config)
    assert float(rows(tmp_path / "run")[-1]["data_wait"]) < 0.3


def test_patients_are_not_in_both_splits(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 6)
    train(tmp_path, "run", dataclasses.replace(TINY, max_steps=3, validation_fraction=0.4))
    story = json.loads((tmp_path / "run" / "run.json").read_text())["images"]
    patients = {split: {i["patient"] for i in images} for split, images in story.items()}
    assert len(patients["validation"]) == 2
    assert not patients["train"] & patients["validation"]
    assert rows(tmp_path / "run")[-1]["val_loss"] != ""


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(tmp_path, "run")
    with pytest.raises(ConfigError, match="--resume"):
        train(tmp_path, "run")
    with pytest.raises(ConfigError, match="learning_rate"):
        train(tmp_path, "run", dataclasses.replace(TINY, learning_rate=1.0), resume=True)


def test_resume_needs_a_whole_state(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(tmp_path, "run", resume=True)
    train(tmp_path, "run")
    state = tmp_path / "run" / "checkpoints" / "last.ckpt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        train(tmp_path, "run", resume=True)


def test_the_batch_must_divide() -> None:
    with pytest.raises(ConfigError, match="micro_batch_size"):
        accumulation(dataclasses.replace(TINY, batch_size=5))
    assert accumulation(dataclasses.replace(TINY, devices=2)) == 1


def test_images_that_cannot_be_trained_on_are_named(tmp_path: Path) -> None:
    small = tmp_path / "small.ome.tiff"
    write_ome_tiff(small, np.ones((1, 64, 64), np.uint16), ["CD3"], (1.0, 1.0))
    with pytest.raises(InputError, match="128 x 128"):
        pretrain(TINY, sources_of_images([small]), tmp_path / "run", quiet=True)
    unknown = tmp_path / "unknown.ome.tiff"
    write_ome_tiff(unknown, np.ones((1, 128, 128), np.uint16), ["foo"], (1.0, 1.0))
    with pytest.raises(InputError, match="foo"):
        sources_of_images([unknown])
    with pytest.raises(InputError, match="no image"):
        sources_of_images([])
