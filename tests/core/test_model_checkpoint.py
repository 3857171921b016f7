"""Checkpoints are written whole or not at all, and opened strictly or not at all."""

import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from virtues_core.errors import CheckpointError, ConfigError, VirtuesError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint, ModelConfig, VirTues, load_checkpoint, save_checkpoint
from virtues_core.model.published import to_published
from virtues_core.preprocess import Statistics

SIZES = {
    "model_dim": 8,
    "feedforward_dim": 12,
    "num_heads": 1,
    "encoder_pattern": "hv",
    "decoder_pattern": "f",
    "marker_embedding_dim": 6,
}
KEYS = ("P20138", "stain:dna")


def made(**sizes: object) -> Checkpoint:
    config = ModelConfig(**{**SIZES, **sizes})
    torch.manual_seed(3)
    embeddings = {key: np.full(config.marker_embedding_dim, i, "f4") for i, key in enumerate(KEYS)}
    statistics = (
        Statistics("spleen", ("CD33", "DNA1"), KEYS, np.float32([1, 2]), np.float32([0.5, 1])),
        Statistics("lung", ("x",), (None,), np.float32([3]), np.float32([4])),
    )
    return Checkpoint(
        model=VirTues(config),
        config=config,
        embeddings=MarkerEmbeddings(embeddings),
        statistics=statistics,
        trained_keys=KEYS,
        calibration={"marker": {"scale": 1.5}},
        card="# A small model\n\nFor tests, λ = 2.\n",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "checkpoint"
    save_checkpoint(made(detail_dim=2), place)
    return place


def edit_weights(folder: Path, change: Callable[[dict], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def edit_config(folder: Path, **changes: object) -> None:
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, **changes}))


def test_comes_back_as_it_was_saved(folder: Path) -> None:
    expected, found = made(detail_dim=2), load_checkpoint(folder)
    assert found.config == expected.config
    assert found.trained_keys == KEYS
    assert found.calibration == expected.calibration
    assert found.card == expected.card
    assert found.folder == folder
    assert found.embeddings.keys() == KEYS
    np.testing.assert_array_equal(found.embeddings.stack(KEYS), expected.embeddings.stack(KEYS))
    for ours, theirs in zip(found.statistics, expected.statistics, strict=True):
        assert (ours.dataset, ours.channels, ours.keys) == (
            theirs.dataset,
            theirs.channels,
            theirs.keys,
        )
        np.testing.assert_array_equal(ours.mean, theirs.mean)
        np.testing.assert_array_equal(ours.std, theirs.std)
    weights = found.model.state_dict()
    for key, value in expected.model.state_dict().items():
        assert torch.equal(weights[key], value), key


def test_is_ready_for_use_in_the_type_asked_for(folder: Path) -> None:
    found = load_checkpoint(str(folder), dtype=torch.bfloat16).model
    assert not found.training
    assert {p.dtype for p in found.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in found.parameters())
    assert load_checkpoint(folder, device="meta").model.encoder.summary_token.device.type == "meta"


def test_only_weights_and_sizes_are_needed(folder: Path) -> None:
    for name in ("markers.safetensors", "statistics.parquet", "calibration.json", "README.md"):
        (folder / name).unlink()
    found = load_checkpoint(folder)
    assert (len(found.embeddings), found.statistics, found.calibration, found.card) == (
        0,
        (),
        None,
        "",
    )


def test_a_plain_checkpoint_has_only_what_it_needs(tmp_path: Path) -> None:
    config = ModelConfig(**SIZES)
    plain = Checkpoint(VirTues(config), config, MarkerEmbeddings({}))
    save_checkpoint(plain, tmp_path / "plain")
    names = {path.name for path in (tmp_path / "plain").iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}
    assert load_checkpoint(tmp_path / "plain").statistics == ()


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_a_weights_file_under_published_names(tmp_path: Path, ending: str) -> None:
    config = ModelConfig(**SIZES)
    model = VirTues(config)
    weights = {k: v.clone() for k, v in to_published(model.state_dict(), config).items()}
    weights["encoder.rotary.sin"] = torch.zeros(2)  # a table that is recomputed
    path = tmp_path / f"weights{ending}"
    (save_file if ending == ".safetensors" else torch.save)(weights, path)
    (tmp_path / "config.json").write_text(json.dumps({"model": config.to_dict()}))
    found = load_checkpoint(path).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


def test_without_a_config_the_published_sizes_are_expected(tmp_path: Path) -> None:
    config = ModelConfig(**SIZES)
    weights = to_published(VirTues(config).state_dict(), config)
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"the checkpoint is missing decoder\.decoder\.1"):
        load_checkpoint(tmp_path)


def test_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for source in (tmp_path / "nothing", "owner/nothing", "sp31"):
        with pytest.raises(
            CheckpointError, match=r"no checkpoint at .*(nothing|sp31).*Expected a fol"
        ):
            load_checkpoint(source)
    with pytest.raises(CheckpointError, match=r"no weights at .*model\.safetensors"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: w.pop("encoder.norm.bias"), r"lacks: encoder\.norm\.bias\. Expected exactly"),
        (lambda w: [w.pop(key) for key in list(w)], r"lacks: .* and \d+ more"),
        (lambda w: w.update(surplus=torch.zeros(1)), "has left over: surplus"),
        (
            lambda w: w.update({"encoder.marker.weight": torch.zeros(8, 5)}),
            r"other shapes in: encoder\.marker\.weight \(8, 5\) instead of \(8, 6\)",
        ),
    ],
)
def test_weights_that_do_not_fit(folder: Path, change: Callable, problem: str) -> None:
    edit_weights(folder, change)
    with pytest.raises(CheckpointError, match=problem):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda w: w.pop("encoder.masked_token"),
            r"is missing encoder\.masked_token\. Expected exactly the weights of a VirTues model",
        ),
        (lambda w: w.update(surplus=torch.zeros(1)), "has left over surplus"),
        (
            lambda w: w.update({"encoder.prior_embedding_encoder.weight": torch.zeros(8, 5)}),
            r"encoder\.prior_embedding_encoder\.weight has shape \(8, 5\), expected \(8, 6\)",
        ),
    ],
)
def test_published_weights_that_do_not_fit(change: Callable, problem: str) -> None:
    config = ModelConfig(**SIZES)
    model = VirTues(config)
    weights = dict(to_published(model.state_dict(), config))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    change(weights)
    with pytest.raises(CheckpointError, match=problem):
        model.load_published(weights)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_published_weights_cannot_fill_a_detail_head() -> None:
    config = ModelConfig(**SIZES)
    weights = to_published(VirTues(config).state_dict(), config)
    with pytest.raises(CheckpointError, match=r"cannot fill detail\."):
        VirTues(replace(config, detail_dim=2)).load_published(weights)


def test_another_embedding_size(folder: Path) -> None:
    MarkerEmbeddings({"P20138": np.zeros(7, "f4")}).save(folder / "markers.safetensors")
    with pytest.raises(CheckpointError, match="have 7 values, the model expects 6"):
        load_checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"not a whole safetensors file.*download it again"):
        load_checkpoint(folder)


class _Touch:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["model.safetensors", "w.pt", "w.pth", "w.ckpt", "w.bin", "w.pkl"])
@pytest.mark.parametrize("by_torch", [False, True])
def test_a_pickle_is_never_unpickled(tmp_path: Path, name: str, by_torch: bool) -> None:
    path, trap = tmp_path / name, tmp_path / "touched"
    harmful = {"encoder.masked_token": _Touch(trap)}
    if by_torch:
        torch.save(harmful, path)
    else:
        path.write_bytes(pickle.dumps(harmful))
    with pytest.raises(CheckpointError, match=r"never opened|was not opened"):
        load_checkpoint(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(harmful))  # it would have
    assert trap.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02.", b"\x80\x02}q\x00.", b"PK\x03\x04 torn", bytes(range(256))]
)
def test_a_damaged_torch_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pt|the checkpoint lacks"):
        load_checkpoint(path)


def test_a_torch_file_of_something_else(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "weights.ckpt")
    with pytest.raises(CheckpointError, match="expected a table of tensors by name"):
        load_checkpoint(tmp_path / "weights.ckpt")


@pytest.mark.parametrize(
    ("changes", "error", "problem"),
    [
        ({"format": 2}, CheckpointError, r"format 2 is newer than this program knows \(1\)\. Upd"),
        ({"format": "x"}, CheckpointError, "format 'x'"),
        ({"model": []}, CheckpointError, "expected 'model' to be a dict"),
        ({"trained_keys": "all"}, CheckpointError, "expected 'trained_keys' to be a list"),
        ({"model": {**SIZES, "depth": 3}}, ConfigError, "unknown setting 'depth'"),
    ],
)
def test_a_config_that_does_not_fit(
    folder: Path, changes: dict, error: type[Exception], problem: str
) -> None:
    edit_config(folder, **changes)
    with pytest.raises(error, match=problem):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("config.json", b"{", "config.json: expected JSON, found something else"),
        ("config.json", b"[1]", "expected a JSON object, found list"),
        ("config.json", b"\xff\xfe\x00", "expected JSON"),
        ("calibration.json", b"not", "calibration.json: expected JSON"),
        ("statistics.parquet", b"PAR1", "expected a table with the columns dataset, channel"),
    ],
)
def test_files_beside_that_are_damaged(
    folder: Path, name: str, content: bytes, problem: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=problem):
        load_checkpoint(folder)


def test_a_new_checkpoint_takes_the_place_of_the_old(folder: Path) -> None:
    (folder / "left over.txt").write_text("old")
    save_checkpoint(replace(made(), card="# New\n", calibration=None), folder)
    assert load_checkpoint(folder).card == "# New\n"
    assert load_checkpoint(folder).config.detail_dim == 0
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "markers.safetensors",
        "model.safetensors",
        "README.md",
        "statistics.parquet",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_saving_over_the_checkpoint_that_is_open(folder: Path) -> None:
    opened = load_checkpoint(folder)
    save_checkpoint(opened, folder)
    again = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(again[k], v) for k, v in opened.model.state_dict().items())


def test_a_full_disk_leaves_the_old_checkpoint(folder: Path) -> None:
    """A process that may write 20 kB a file meets the error of a full disk amid the weights."""
    script = f"""
        import resource
        from dataclasses import replace
        from pathlib import Path
        from virtues_core.errors import VirtuesError
        from virtues_core.model import ModelConfig, VirTues, load_checkpoint, save_checkpoint
        folder = Path({str(folder)!r})
        old = load_checkpoint(folder)
        config = replace(old.config, model_dim=64)
        new = replace(old, model=VirTues(config), config=config)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            save_checkpoint(new, folder)
        except VirtuesError as error:
            print(error)
    """
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert "could not write 'checkpoint'" in done.stdout
    assert "free some space" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VirtuesError, match="could not write 'checkpoint'"):
        save_checkpoint(made(), tmp_path / "file" / "checkpoint")
    assert (tmp_path / "file").read_text() == "in the way"
