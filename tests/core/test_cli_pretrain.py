"""``virtues pretrain`` leaves a checkpoint whose intervals are calibrated."""

from pathlib import Path

import typer
from infer_samples import CHANNELS, counts
from typer.testing import CliRunner

from virtues_core.cli import pretrain
from virtues_core.infer.uncertainty import stored_table
from virtues_core.model import load_checkpoint
from virtues_core.read import write_ome_tiff

CONFIG = """
model: {model_dim: 16, feedforward_dim: 32, num_heads: 2, encoder_pattern: hv, decoder_pattern: f}
max_steps: 2
batch_size: 2
micro_batch_size: 2
precision: 32-true
accelerator: cpu
"""


def test_training_ends_with_calibrated_intervals(tmp_path: Path) -> None:
    for i in range(2):
        write_ome_tiff(tmp_path / f"r{i}.ome.tiff", counts(i), CHANNELS)
    (tmp_path / "config.yaml").write_text(CONFIG)
    app = typer.Typer()
    app.callback()(lambda: None)
    pretrain.register(app)
    args = ["pretrain", "--images", tmp_path / "r*.tiff", "--config", tmp_path / "config.yaml",
            "--run-dir", tmp_path / "run", "--quiet"]  # fmt: skip
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert set(found.calibration["strategies"]) == {"marker", "niche", "independent"}
    assert stored_table(found.calibration, "marker", "P11836") is not None
    assert "calibrated on 2 images of the training itself" in found.card
