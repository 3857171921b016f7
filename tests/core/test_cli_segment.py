"""``virtues train-head`` and ``virtues segment`` on files."""

import inspect
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from segment_samples import head_of, model_of
from typer.testing import CliRunner

from virtues_core.cli import segment, train_head
from virtues_core.errors import CheckpointError, ConfigError, InputError, ReadError, VirtuesError
from virtues_core.infer import segment_cells
from virtues_core.jobs import cancel, submit
from virtues_core.model import (
    load_checkpoint,
    load_head,
    save_checkpoint,
    save_head,
)
from virtues_core.read import read_image, read_labels, write_labels, write_ome_tiff
from virtues_core.simulate import simulate_tissue
from virtues_core.train.head import HeadConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with masks and types, and a checkpoint, as files."""
    folder = tmp_path_factory.mktemp("segment")
    tissue = simulate_tissue("imc-tumour", (128, 136), seed=3)
    write_ome_tiff(folder / "image.ome.tiff", tissue.pixels, tissue.channels, (1.0, 2.0))
    write_labels(folder / "cells.tif", tissue.cell_mask)
    write_labels(folder / "small.tif", tissue.cell_mask[:100])
    tissue.cells[["cell_id", "cell_type"]].to_csv(folder / "types.csv", index=False)
    save_checkpoint(model_of(tissue), folder / "model")
    return folder


def call(*args: object) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    segment.register(app)
    train_head.register(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_head_is_trained_and_used_by_commands(folder: Path) -> None:
    head = folder / "head.safetensors"
    said = call(
        "train-head", folder / "image.ome.tiff", "--masks", folder / "cells.tif", "--types",
        folder / "types.csv", "--checkpoint", folder / "model", "--out", head, "--steps", 3,
        "--batch-size", 2, "--tile", 32, "--device", "cpu",
    )  # fmt: skip
    types = sorted(set(pd.read_csv(folder / "types.csv")["cell_type"]))
    assert f"None, {', '.join(types)}" in said
    model = load_checkpoint(folder / "model")
    assert load_head(model, head).cell_types == ("None", *types)

    trained = load_head(model, head)
    with torch.no_grad():
        model.model.encoder.summary_token += 1
    with pytest.raises(CheckpointError, match=f"of another .{trained.signature}"):
        segment_cells(read_image(folder / "image.ome.tiff"), None, model, trained)
    with torch.no_grad():  # three steps find no cell: let every pixel be a seed's, of one type
        trained.network.decoder.decoder.decoder0_header[2].bias[4] += 20
        trained.network.decoder_phenotypes.decoder.decoder0_header[2].bias[2] += 50
    save_head(trained, head)
    said = call(
        "segment", folder / "image.ome.tiff", "--checkpoint", folder / "model", "--head", head,
        "--out", folder / "labels.tif", "--types", folder / "found.csv", "--device", "cpu",
    )  # fmt: skip
    labels = read_labels(folder / "labels.tif", shape=(128, 136))
    table = pd.read_csv(folder / "found.csv")
    assert list(table) == [
        "cell_id", "cell_type", "cell_type_probability", "y_px", "x_px", "area_px",
    ]  # fmt: skip
    assert len(table) == labels.max() > 0
    assert set(table["cell_type"]) == {types[1]}
    assert table["area_px"].tolist() == np.bincount(labels.ravel())[1:].tolist()
    assert f"{types[1]}: {len(table)}" in said
    assert read_image(folder / "labels.tif").pixel_size_um == (1.0, 2.0)


def test_without_types_every_cell_is_a_cell(folder: Path) -> None:
    call(
        "train-head", folder / "image.ome.tiff", "--masks", folder / "cells.tif",
        "--checkpoint", folder / "model", "--out", folder / "plain.safetensors", "--steps", 1,
        "--batch-size", 2, "--tile", 32, "--device", "cpu",
    )  # fmt: skip
    found = load_head(load_checkpoint(folder / "model"), folder / "plain.safetensors")
    assert found.cell_types == ("None", "Cell")


def test_a_training_that_is_cancelled_leaves_the_head_so_far(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("VIRTUES_JOBS", str(folder / "jobs"))
    head = folder / "early.safetensors"
    words = [
        "train-head", folder / "image.ome.tiff", "--masks", folder / "cells.tif",
        "--checkpoint", folder / "model", "--out", head, "--steps", 100_000,
        "--batch-size", 2, "--tile", 32, "--device", "cpu",
    ]  # fmt: skip
    job = submit([str(word) for word in words])
    wait_for(lambda: "step" in job.status.message)
    cancel(job)
    wait_for(lambda: job.status.state == "stopped")
    assert "the head is in" in (job.run_dir / "log.txt").read_text()
    assert load_head(load_checkpoint(folder / "model"), head).cell_types == ("None", "Cell")


def wait_for(told: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["--masks", "small.tif"], ReadError, r"size \(128, 136\).*found \(100, 136\)"),
        (["--masks", "cells.tif", "cells.tif"], InputError, "masks as images, found 2 and 1"),
        (["--masks", "none*.tif"], InputError, "nothing at 'none"),
        (["--masks", "cells.tif", "--types", "cells.tif"], ReadError, "columns cell_id and"),
        (["--masks", "cells.tif", "--types", "twice.csv"], ReadError, "names a cell twice"),
        (["--masks", "cells.tif", "--steps", "0"], ConfigError, "1 or more, found 0"),
    ],
)
def test_mistakes_in_training_leave_the_old_head_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str],
    error: type[VirtuesError], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    Path("twice.csv").write_text("cell_id,cell_type\n1,a\n1,b\n")
    Path("old.safetensors").write_bytes(b"precious")
    with pytest.raises(error, match=said):
        call("train-head", "image.ome.tiff", "--checkpoint", "model", "--out", "old.safetensors",
             "--device", "cpu", *options)  # fmt: skip
    assert Path("old.safetensors").read_bytes() == b"precious"


def test_segment_needs_a_head(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a segmentation head, found none"):
        call("segment", folder / "image.ome.tiff", "--checkpoint", folder / "model", "--out",
             folder / "no.tif", "--device", "cpu")  # fmt: skip
    assert not (folder / "no.tif").exists()
    checkpoint = load_checkpoint(folder / "model")
    with pytest.raises(InputError, match="1 to 128 px, found 129"):
        segment_cells(read_image(folder / "image.ome.tiff"), None, checkpoint,
                      head_of(checkpoint), stride_px=129)  # fmt: skip


def test_defaults_are_those_of_the_functions() -> None:
    recipe = HeadConfig()
    assert (recipe.steps, recipe.batch_size, recipe.tile_px, recipe.learning_rate) == (
        train_head.STEPS, train_head.BATCH_SIZE, train_head.TILE_PX, train_head.LEARNING_RATE,
    )  # fmt: skip
    assert inspect.signature(segment_cells).parameters["stride_px"].default == segment.STRIDE_PX
