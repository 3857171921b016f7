"""What a training would do and take, before it starts."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import typer
from train_samples import CHANNELS, TINY, train, write_images
from typer.testing import CliRunner

from virtues_core.cli import pretrain
from virtues_core.errors import ConfigError, DeviceError, InputError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.read import write_ome_tiff
from virtues_core.run_dir import read_json
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora
from virtues_core.train.config import accumulation
from virtues_core.train.memory import (
    StepCost,
    divisors,
    find_micro_batch,
    is_out_of_memory,
    measure_step,
    smaller,
)
from virtues_core.train.plan import plan_training
from virtues_core.train.sources import sources_of_images, sources_of_spora

AUTO = dataclasses.replace(TINY, micro_batch_size="auto", batch_size=8)


def narrow_image(folder: Path, size: int = 160) -> Path:
    """Half of it tissue, with two of the markers and one of its own."""
    pixels = np.zeros((3, size, size), np.uint16)
    pixels[:, : size // 2] = np.random.default_rng(0).poisson(40, (3, size // 2, size))
    path = folder / "narrow.ome.tiff"
    write_ome_tiff(path, pixels, [*CHANNELS[:2], "CD68"], (1.0, 1.0))
    return path


def test_panels_tissue_crops_and_steps_are_foreseen(tmp_path: Path) -> None:
    paths = [*write_images(tmp_path, 6), narrow_image(tmp_path)]
    config = dataclasses.replace(TINY, max_steps=None, epochs=3)
    plan = plan_training(config, sources_of_images(paths))
    wide, narrow = plan.datasets
    assert (wide.images, wide.patients, wide.windows) == (6, 6, 24)
    assert wide.markers == CHANNELS[:4]
    assert wide.left_out == CHANNELS[4:]
    assert narrow.tissue == pytest.approx(0.5, abs=0.02)
    assert plan.shared == ("CD3E", "CD8A")
    assert set(plan.differing) == {"MS4A1", "CD68", "DNA"}
    assert (plan.widest_panel, plan.windows, plan.held_out) == (4, 28, 1)
    assert (plan.steps, plan.crops) == (21, 84)
    assert plan.minutes(60.0) == pytest.approx(21)
    assert not plan.stops
    assert any("has one image" in text for text in plan.warnings)
    (unknown,) = [text for text in plan.warnings if "by name only" in text]
    assert "CD68 (P34810)" in unknown
    embeddings = MarkerEmbeddings({"P34810": np.ones(640, np.float32)})
    known = plan_training(config, sources_of_images(paths), embeddings=embeddings)
    assert not any("P34810" in text for text in known.warnings)


def test_what_would_stop_it_is_told_all_at_once(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, batch_size=5, dataset_weights={"nobody": 1.0})
    plan = plan_training(config, sources_of_images([narrow_image(tmp_path, 96)]))
    assert len(plan.stops) == 3
    for text, said in zip(plan.stops, ("128 x 128", "dataset_weights", "multiple of"), strict=True):
        assert said in text
    assert any("no validation loss" in text for text in plan.warnings)
    with pytest.raises(InputError, match="no image"):
        plan_training(TINY, [])


def test_a_spora_folder_brings_its_tissue(tmp_path: Path) -> None:
    config = CohortConfig(patients=2, tissues_per_patient=1, size_px=160, seed=1)
    write_spora(simulate_cohort(config), tmp_path / "cohort")
    sources = sources_of_spora([tmp_path / "cohort"])
    plan = plan_training(TINY, sources)
    (found,) = plan.datasets
    assert found.images == len(sources)
    assert found.tissue == pytest.approx(np.mean([s.tissue.mean() for s in sources]))


def test_a_step_is_measured(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    cost = measure_step(TINY, 4)
    assert (cost.device, cost.micro_batch_size) == ("cpu", 2)
    assert cost.peak_bytes > 50 * 2**20
    assert 0 < cost.seconds < 60
    assert torch.equal(torch.random.get_rng_state(), state)  # a run draws what it would have drawn


def test_the_largest_micro_batch_that_fits_is_found() -> None:
    # in a process of its own: one that has freed much memory takes no more of the system
    code = "import test_train_plan; test_train_plan.find_the_largest_micro_batch()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, timeout=300)


def find_the_largest_micro_batch() -> None:
    wide = dataclasses.replace(
        AUTO, batch_size=4, model=dataclasses.replace(TINY.model, model_dim=64, feedforward_dim=256)
    )
    taken = psutil.Process().memory_info().rss
    a_crop = measure_step(wide, 16, micro_batch_size=1).peak_bytes - taken
    assert a_crop > 20 * 2**20
    assert find_micro_batch(wide, 16, budget=taken + int(2.5 * a_crop)) in {1, 2}
    tried: list[StepCost] = []
    assert find_micro_batch(wide, 16, budget=1 << 50, on_try=tried.append) == 4
    assert [cost.micro_batch_size for cost in tried] == [1, 2, 4]
    assert tried[-1].peak_bytes > taken + 2.5 * a_crop
    with pytest.raises(DeviceError, match="single crop"):
        find_micro_batch(wide, 16, budget=1)


def test_several_devices_take_a_divisor() -> None:
    config = dataclasses.replace(AUTO, batch_size=36, devices=2)
    assert find_micro_batch(config, 4) == 9
    with pytest.raises(ConfigError, match="micro_batch_size"):
        accumulation(AUTO)


def test_half_of_a_micro_batch_divides_the_batch() -> None:
    config = dataclasses.replace(TINY, batch_size=12, micro_batch_size=6)
    sizes = []
    while config.micro_batch_size != 1:
        config = smaller(config)
        sizes.append(config.micro_batch_size)
    assert sizes == [3, 1]
    assert divisors(8) == [1, 2, 4, 8]
    with pytest.raises(DeviceError):
        smaller(config)


def test_errors_of_memory_are_told_from_others() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_a_run_finds_its_micro_batch_and_keeps_it(tmp_path: Path) -> None:
    run = dataclasses.replace(AUTO, max_steps=2)
    train(tmp_path, "run", run)
    size = read_json(tmp_path / "run" / "run.json")["micro_batch_size"]
    assert 8 % size == 0
    further = dataclasses.replace(run, max_steps=3)
    assert train(tmp_path, "run", further, resume=True).steps == 3
    assert read_json(tmp_path / "run" / "run.json")["micro_batch_size"] == size


CONFIG = """
model: {model_dim: 16, feedforward_dim: 32, num_heads: 2, encoder_pattern: hv, decoder_pattern: f}
max_steps: 100
batch_size: 2
micro_batch_size: 1
accelerator: cpu
"""


def invoke(*args: object) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    pretrain.register(app)
    result = CliRunner().invoke(app, ["pretrain", *map(str, args)], catch_exceptions=False)
    return result.exit_code, result.output


def test_check_prints_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 1)
    (tmp_path / "config.yaml").write_text(CONFIG)
    given = ("--images", tmp_path / "images/*.tiff", "--config", tmp_path / "config.yaml")
    code, said = invoke(*given, "--check", "--run-dir", tmp_path / "run")
    assert code == 0, said
    assert "1 images of 1 patients, 4 markers" in said
    assert "100 steps of 2 crops" in said
    assert "with 1 crops at once" in said
    assert "note: " in said
    assert not (tmp_path / "run").exists()
    (tmp_path / "config.yaml").write_text(
        CONFIG.replace("batch_size: 2", "batch_size: 3", 1).replace(
            "micro_batch_size: 1", "micro_batch_size: 2"
        )
    )
    code, said = invoke(*given, "--check")
    assert code == 1
    assert "would not start: batch_size" in said
    with pytest.raises(InputError, match="--run-dir"):
        invoke(*given)


def test_from_takes_the_sizes_of_the_checkpoint(tmp_path: Path) -> None:
    start = train(tmp_path, "before", dataclasses.replace(TINY, max_steps=1)).checkpoint
    (tmp_path / "config.yaml").write_text("max_steps: 1\nbatch_size: 1\naccelerator: cpu\n")
    given = ("--images", tmp_path / "images/*.tiff", "--config", tmp_path / "config.yaml")
    code, said = invoke(*given, "--from", start, "--run-dir", tmp_path / "run", "--quiet")
    assert code == 0, said
    story = read_json(tmp_path / "run" / "run.json")
    assert story["config"]["model"]["model_dim"] == 16
    assert story["from"]["checkpoint"] == str(start)
    (tmp_path / "config.yaml").write_text("model: demo\n")
    with pytest.raises(ConfigError, match="model_dim"):
        invoke(*given, "--from", start, "--run-dir", tmp_path / "other")
