"""Fine-tuning from a checkpoint, who is kept out of it, and what a run leaves to be looked at."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from train_samples import CHANNELS, TINY, rows, train, write_images

from virtues_core.errors import CheckpointError, ConfigError, InputError
from virtues_core.evaluate import evaluate_reconstruction
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint, ModelConfig, load_checkpoint, save_checkpoint
from virtues_core.model.split import Split
from virtues_core.read import read_image
from virtues_core.run_dir import read_json
from virtues_core.train.loop import TrainResult, pretrain
from virtues_core.train.sources import Source, sources_of_images

STILL = dataclasses.replace(TINY, max_steps=1, learning_rate=1e-12, weight_decay=0.0)
"""A recipe that changes next to nothing."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A run on six images, two of them kept out."""
    folder = tmp_path_factory.mktemp("before")
    write_images(folder / "images", 6)
    config = dataclasses.replace(TINY, validation_fraction=0.4, reconstruct_every_steps=1)
    return train(folder, "run", config)


def sources(result: TrainResult) -> list[Source]:
    return sources_of_images(sorted((result.checkpoint.parents[1] / "images").glob("*.tiff")))


def test_weights_and_embeddings_come_from_the_checkpoint(
    before: TrainResult, tmp_path: Path
) -> None:
    own = load_checkpoint(before.checkpoint)
    vectors = {"P07766": np.full(640, 0.1, np.float32), "Q9Y6K9": np.ones(640, np.float32)}
    known = MarkerEmbeddings(vectors)
    start = dataclasses.replace(own, embeddings=known)
    tuned = pretrain(STILL, sources(before), tmp_path / "run", start=start, quiet=True)
    found = load_checkpoint(tuned.checkpoint)
    for name, value in own.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.embeddings["P07766"], vectors["P07766"])
    assert "P07766" not in tuned.stand_ins
    assert "P01732" in tuned.stand_ins
    story = read_json(tmp_path / "run" / "run.json")["from"]
    assert story["checkpoint"] == str(before.checkpoint)
    assert "Started from the checkpoint 'checkpoint'" in found.card
    assert "> # VirTues checkpoint" in found.card  # its licence would be there


def test_another_size_or_another_start_is_refused(before: TrainResult, tmp_path: Path) -> None:
    start = load_checkpoint(before.checkpoint)
    larger = dataclasses.replace(TINY, model=ModelConfig(model_dim=32, num_heads=2))
    with pytest.raises(ConfigError, match=r"model_dim 16 \(here 32\)"):
        pretrain(larger, sources(before), tmp_path / "run", start=start, quiet=True)
    assert not (tmp_path / "run").exists()
    pretrain(STILL, sources(before), tmp_path / "run", start=start, quiet=True)
    with torch.no_grad():
        start.model.encoder.summary_token += 1
    with pytest.raises(ConfigError, match="--from"):
        pretrain(STILL, sources(before), tmp_path / "run", start=start, resume=True, quiet=True)
    # its weights are in the state, so that it need not be given again
    done = pretrain(STILL, sources(before), tmp_path / "run", resume=True, quiet=True)
    assert (done.finished, done.steps) == (True, 1)  # it had ended: nothing is left to do


def test_who_was_kept_out_stays_so(before: TrainResult, tmp_path: Path) -> None:
    start = load_checkpoint(before.checkpoint)
    assert start.split is not None
    parts = [start.split.part(s.dataset, s.patient) for s in sources(before)]
    assert sorted(map(str, parts)) == ["train"] * 4 + ["validation"] * 2
    other_seed = dataclasses.replace(STILL, seed=7)
    tuned = pretrain(other_seed, sources(before), tmp_path / "run", start=start, quiet=True)
    assert {i.name for i in tuned.held_out} == {i.name for i in before.held_out}
    assert load_checkpoint(tuned.checkpoint).split == start.split
    assert Split.load(tmp_path / "run" / "split.json") == start.split
    text = (tuned.checkpoint / "split.json").read_text()
    assert "image" not in text  # digests: checkpoints are given away
    unseen = [s for s, part in zip(sources(before), parts, strict=True) if part == "validation"]
    with pytest.raises(InputError, match="Give other images"):
        pretrain(other_seed, unseen, tmp_path / "other", start=start, quiet=True)


def test_a_training_on_those_kept_out_is_remembered() -> None:
    first, later = Split(frozenset("ab"), frozenset("cd")), Split(frozenset("c"), frozenset("be"))
    assert first.merge(later) == Split(frozenset("abc"), frozenset("de"))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1, "train": 3, "validation": []}',
                                  '{"format": 2, "train": [], "validation": []}'])  # fmt: skip
def test_a_split_that_cannot_be_read_is_told(
    before: TrainResult, tmp_path: Path, text: str
) -> None:
    save_checkpoint(load_checkpoint(before.checkpoint), tmp_path / "copy")
    (tmp_path / "copy" / "split.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"split\.json.*Restore"):
        load_checkpoint(tmp_path / "copy")


def test_scores_on_images_trained_on_are_marked(before: TrainResult) -> None:
    checkpoint = load_checkpoint(before.checkpoint)
    images = [source.image for source in sources(before)]
    report = evaluate_reconstruction(images, checkpoint, strategies=["niche"])
    marked = [text for text in report.warnings if "was trained on this image" in text]
    assert len(marked) == 4
    kept = evaluate_reconstruction(list(before.held_out), checkpoint, strategies=["niche"])
    assert not [text for text in kept.warnings if "trained" in text]


def test_the_best_checkpoint_is_the_one_with_the_lowest_loss(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 6)
    # a rate that spoils what was learnt, after some steps of learning
    config = dataclasses.replace(TINY, max_steps=20, validate_every_steps=2, learning_rate=0.05)
    result = train(tmp_path, "run", config)
    assert result.best == tmp_path / "run" / "checkpoints" / "best"
    best = load_checkpoint(result.best)
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    (lowest,) = [v["best"] for v in state["callbacks"].values() if "best" in v]
    assert f"{lowest:.4f}" in best.card
    assert best.split is not None
    last = float(rows(tmp_path / "run")[-1]["val_loss"])
    assert lowest <= last + 1e-6


def test_a_fixed_tile_is_painted_as_it_learns(before: TrainResult) -> None:
    folder = before.checkpoint.parent / "artifacts"
    pictures = sorted(folder.iterdir())
    assert [path.name[15:22] for path in pictures] == [f"{n:07d}" for n in range(2, 7)]  # the last
    first, last = (read_image(path) for path in (pictures[0], pictures[-1]))
    assert first.channels == last.channels
    assert first.channels[:4] == tuple(f"truth {name}" for name in CHANNELS[:4])
    assert len(first.channels) == 4 * 7
    before_, after = first.compute(), last.compute()
    for i, name in enumerate(first.channels):
        same = np.array_equal(before_[i], after[i])
        assert same == ("painted" not in name), name
    shown = after[first.channels.index("marker shown CD3_Er170")]
    truth = after[0]
    hidden = shown != truth
    assert (shown[hidden] == truth.min()).all()


def test_a_picture_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, capsys) -> None:
    write_images(tmp_path / "images", 1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "artifacts").write_text("in the way")
    assert train(tmp_path, "run").finished
    assert "picture not written" in capsys.readouterr().err


def test_datasets_are_drawn_by_their_weights(tmp_path: Path) -> None:
    from virtues_core.read import write_ome_tiff
    from virtues_core.train.dataset import CropDataset
    from virtues_core.train.sources import embeddings_for, prepare

    paths = write_images(tmp_path / "images", 3)
    other = tmp_path / "images" / "other.ome.tiff"
    pixels = np.random.default_rng(9).poisson(4, (2, 160, 160)).astype(np.uint16)
    write_ome_tiff(other, pixels, CHANNELS[:2], (1.0, 1.0))
    data = prepare(sources_of_images([*paths, other]), tmp_path / "cache")
    wide, narrow = (image.dataset for image in (data.images[0], data.images[-1]))
    table, _ = embeddings_for(data.keys, None, 640)

    def share(config: object) -> float:
        drawn = CropDataset(data.images, table, config)  # type: ignore[arg-type]
        return float(np.mean([drawn.image_of(k).dataset == narrow for k in range(400)]))

    assert share(TINY) == pytest.approx(0.25, abs=0.01)  # by windows, each once an epoch
    weighed = dataclasses.replace(TINY, dataset_weights={wide: 1, narrow: 3})
    assert share(weighed) == pytest.approx(0.75, abs=0.07)
    one = dataclasses.replace(TINY, dataset_weights={wide: 1})
    with pytest.raises(ConfigError, match=f"expected a weight for each of .*{narrow}"):
        share(one)
    for wrong in ({wide: 0}, {wide: "much"}, [1, 2]):
        with pytest.raises(ConfigError, match="dataset_weights"):
            dataclasses.replace(TINY, dataset_weights=wrong)


def test_a_checkpoint_without_a_split_says_nothing(tmp_path: Path) -> None:
    from virtues_core.model import VirTues

    torch.manual_seed(0)
    save_checkpoint(
        Checkpoint(VirTues(TINY.model), TINY.model, MarkerEmbeddings({})), tmp_path / "c"
    )
    assert load_checkpoint(tmp_path / "c").split is None
    assert "split.json" not in json.dumps([p.name for p in (tmp_path / "c").iterdir()])
