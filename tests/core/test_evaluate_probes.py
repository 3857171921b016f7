"""Cell types told by features: encoders, probes and the commands, on small simulated cohorts."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from virtues_core.cli import evaluate
from virtues_core.errors import InputError, MarkerError
from virtues_core.evaluate import (
    EncodedCells,
    LabelledCohort,
    LabelledTissue,
    MeanIntensities,
    VirTuesTokens,
    evaluate_cells,
    evaluate_transfer,
)
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint, ModelConfig, VirTues, save_checkpoint
from virtues_core.model.split import Split
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora

SHARED = {"P01732", "stain:dna"}


def config(dataset: str, seed: int) -> CohortConfig:
    return CohortConfig(
        datasets=(dataset,), patients=3, tissues_per_patient=1, size_px=128, seed=seed
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two cohorts of other panels, on disk."""
    root = tmp_path_factory.mktemp("cohorts")
    made = []
    for dataset, seed in (("imc-immune", 1), ("mibi", 2)):
        made.append(write_spora(simulate_cohort(config(dataset, seed)), root / dataset))
    return made[0], made[1]


@pytest.fixture(scope="module")
def immune(folders: tuple[Path, Path]) -> list[LabelledTissue]:
    return list(LabelledCohort(folders[0], "cell_type"))


@pytest.fixture(scope="module")
def mibi(folders: tuple[Path, Path]) -> list[LabelledTissue]:
    return list(LabelledCohort(folders[1], "cell_type"))


def model(tissues: Iterable[LabelledTissue]) -> Checkpoint:
    torch.manual_seed(0)
    config = ModelConfig(
        model_dim=32, feedforward_dim=32, num_heads=2, encoder_pattern="hv", decoder_pattern="f"
    )
    embeddings = MarkerEmbeddings.stand_in(sorted({k for t in tissues for k in t.keys}))
    known = VirTues(config).eval().requires_grad_(requires_grad=False)
    return Checkpoint(model=known, config=config, embeddings=embeddings)


@dataclasses.dataclass
class Told:
    """An encoder that knows every cell's type, up to some noise."""

    name: str = "told"
    noise: float = 0.0
    seen: list[tuple[str, ...]] = dataclasses.field(default_factory=list)

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        found = []
        for tissue in cohort:
            self.seen.append(tissue.keys)
            ids = np.unique(tissue.cell_mask)[1:].astype(np.int64)
            codes = np.array([[sum(map(ord, tissue.labels[i])) / 500] for i in ids.tolist()])
            rng = np.random.default_rng(len(ids))
            codes = codes + self.noise * rng.normal(size=codes.shape)
            found.append(EncodedCells(ids, codes.astype("f4")))
        return found


def test_a_spora_folder_gives_labelled_tissues(
    folders: tuple[Path, Path], immune: list[LabelledTissue]
) -> None:
    cohort = LabelledCohort(folders[0], "cell_type")
    assert len(cohort) == len(immune) == 3
    for tissue, made in zip(cohort, simulate_cohort(config("imc-immune", 1)), strict=True):
        assert tissue.labels == dict(
            zip(made.cells["cell_id"], made.cells["cell_type"], strict=True)
        )
        assert np.array_equal(tissue.cell_mask, made.cell_mask)
        assert tissue.panel.names == made.channels
        assert len(tissue.keys) == len(set(tissue.keys)) == 21  # two DNA channels, two gases
    assert {t.split for t in cohort} == {"train", "test"}
    with pytest.raises(InputError, match="column 'type' in metadata"):
        LabelledCohort(folders[0], "type")


def test_a_tissue_seen_through_some_markers(immune: list[LabelledTissue]) -> None:
    few = immune[0].only(SHARED)
    assert few.image.channels == ("CD8a_Dy162", "DNA1_Ir191", "DNA3_Ir193")
    assert few.keys == ("P01732", "stain:dna")
    place = immune[0].image.index("CD8a_Dy162")
    assert np.array_equal(few.image.compute([0])[0], immune[0].image.compute([place])[0])


def test_mean_intensities_by_hand(immune: list[LabelledTissue]) -> None:
    few = [tissue.only(SHARED) for tissue in immune]
    found = MeanIntensities().encode(few)
    logs = []
    for tissue, encoded in zip(few, found, strict=True):
        pixels, ids = tissue.image.compute().astype(float), np.unique(tissue.cell_mask)[1:]
        assert np.array_equal(encoded.ids, ids)
        means = [np.log1p(pixels[:, tissue.cell_mask == i].mean(1)) for i in ids]
        logs.append([[row[0], (row[1] + row[2]) / 2] for row in means])
    together = np.concatenate(logs)
    expected = (np.array(logs[1]) - together.mean(0)) / together.std(0)
    np.testing.assert_allclose(found[1].features, expected, atol=1e-4)


def test_tokens_are_those_of_embed_with_the_statistics_at_hand(
    immune: list[LabelledTissue],
) -> None:
    from virtues_core.infer import EmbedRequest, embed

    known = model(immune)
    found = VirTuesTokens(known, stride_px=128).encode(immune[:2])
    request = EmbedRequest("cell", stride_px=128)
    tissue = immune[0]
    alone = embed(tissue.image, tissue.cell_mask, tissue.panel, known, request)
    assert np.array_equal(found[0].ids, alone.numbers)
    assert found[0].features.shape == (len(alone), 32)
    assert not np.allclose(found[0].features, np.asarray(alone.tokens), atol=1e-3)
    same = VirTuesTokens(known, stride_px=128).encode(immune[:1])  # then they are the image's own
    np.testing.assert_allclose(same[0].features, np.asarray(alone.tokens), atol=1e-4)


def test_probing_within_a_cohort(immune: list[LabelledTissue]) -> None:
    told = Told(noise=0.05)
    report = evaluate_cells(immune, [told, MeanIntensities()])
    assert list(report.encoders) == ["told", "mean intensities"]
    assert report.method == "logistic"
    assert report.split == "the cohort's own"
    test = [t for t in immune if t.split == "test"]
    assert report.tested_on <= sum(len(t.labels) for t in test)
    assert report.tested_on > 0.9 * sum(len(t.labels) for t in test)
    assert report.encoders["mean intensities"].macro_f1 > 0.3
    assert any("fewer than 10 cells" in text for text in report.warnings)
    unsplit = [dataclasses.replace(t, split=None) for t in immune]
    other = evaluate_cells(unsplit, [told], seed=3)
    assert other.split == "patients at random"
    assert other.trained_on + other.tested_on >= report.trained_on + report.tested_on - 60
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(found["encoders"]["told"]) >= {"macro_f1", "classes"}


def test_carrying_types_over_by_shared_markers(
    immune: list[LabelledTissue], mibi: list[LabelledTissue]
) -> None:
    told = Told()
    report = evaluate_transfer(immune, mibi, [told, MeanIntensities()])
    shared = set(immune[0].keys) & set(mibi[0].keys)
    assert set(report.markers) == shared
    assert all(set(keys) == shared for keys in told.seen)
    assert report.encoders["told"].macro_f1 > 0.95
    assert 0.2 < report.encoders["mean intensities"].macro_f1 < 0.95
    assert report.method == "forest"
    lost = {c for t in mibi for c in t.labels.values()} - set(report.encoders["told"].classes)
    assert all(name in report.warnings[-1] for name in lost)


def test_the_scale_of_features_does_not_count(immune: list[LabelledTissue]) -> None:
    @dataclasses.dataclass
    class Scaled(Told):
        scale: float = 1.0

        def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
            found = super().encode(cohort)
            return [dataclasses.replace(e, features=3 + self.scale * e.features) for e in found]

    ways = [Scaled("large", 0.05, scale=10.0), Scaled("small", 0.05, scale=0.01)]
    found = evaluate_cells(immune, ways).encoders
    assert found["large"].macro_f1 == pytest.approx(found["small"].macro_f1, abs=0.02)
    assert found["small"].macro_f1 > 0.3


def test_carrying_over_by_a_linear_probe(immune: list[LabelledTissue]) -> None:
    report = evaluate_transfer(immune[:2], immune[2:], [MeanIntensities()], method="logistic")
    assert report.method == "logistic"
    forest = evaluate_transfer(immune[:2], immune[2:], [MeanIntensities()])
    assert forest.method == "forest"
    scores = [r.encoders["mean intensities"].macro_f1 for r in (report, forest)]
    assert min(scores) > 0.3
    assert scores[0] != scores[1]


def test_what_cannot_be_probed(immune: list[LabelledTissue], mibi: list[LabelledTissue]) -> None:
    with pytest.raises(MarkerError, match="found 2: P01732, stain:dna"):
        evaluate_transfer([t.only(SHARED) for t in immune], mibi, [Told()])
    renamed = [
        dataclasses.replace(t, labels={i: f"x {n}" for i, n in t.labels.items()}) for t in mibi
    ]
    with pytest.raises(InputError, match="Name its classes as the source does"):
        evaluate_transfer(immune, renamed, [Told()])
    one = [dataclasses.replace(t, patient="P1", split=None) for t in immune]
    with pytest.raises(InputError, match="two patients"):
        evaluate_cells(one, [Told()])
    empty = [dataclasses.replace(t, labels={10**6: "B"}) for t in immune]
    with pytest.raises(InputError, match="labelled cells that are in the masks"):
        evaluate_cells(empty, [Told()])
    lonely = [dataclasses.replace(t, panel=Panel(t.panel.entries[:1])) for t in immune]
    with pytest.raises(InputError, match="a marker that all tissues show"):
        MeanIntensities().encode(lonely)


def test_the_commands(folders: tuple[Path, Path], immune, mibi, tmp_path: Path) -> None:
    save_checkpoint(model([*immune, *mibi]), tmp_path / "model")
    app = typer.Typer()
    evaluate.register(app)
    common = ["--label", "cell_type", "--checkpoint", tmp_path / "model", "--stride", 128,
              "--device", "cpu", "--json", tmp_path / "out.json"]  # fmt: skip
    calls = (
        ["cells", folders[0]],
        ["transfer", folders[0], folders[1]],
        ["transfer", folders[0], folders[1], "--method", "logistic"],
    )
    for args in calls:
        result = CliRunner().invoke(app, [*map(str, ["evaluate", *args, *common])])
        assert result.exit_code == 0, result.output
        found = json.loads((tmp_path / "out.json").read_text())
        assert list(found["encoders"]) == ["VirTues", "mean intensities"]
        assert found["label"] == "cell_type"
        for one in found["encoders"].values():
            assert f"{one['macro_f1']:.3f}" in result.output
            assert set(one["classes"]["B"]) >= {"f1", "support"}


def test_patients_that_a_checkpoint_never_saw_are_tested_on(
    immune: list[LabelledTissue],
) -> None:
    members = [(t.dataset, t.patient, t.image) for t in immune]
    trained = Split.of(members[:2], members[2:])
    free = [dataclasses.replace(tissue, split=None) for tissue in immune]
    report = evaluate_cells(free, [Told()], trained=trained, least_cells=1)
    assert report.split == "as the checkpoint was trained"
    assert report.tested_on <= len(immune[2].labels)
    assert not any("was trained on" in text for text in report.warnings)
    # the cohort's own split goes first, and may test on somebody whom the checkpoint knows
    own = [
        dataclasses.replace(tissue, split="test" if i == 0 else "train")
        for i, tissue in enumerate(immune)
    ]
    known = evaluate_cells(own, [Told()], trained=trained, least_cells=1)
    assert known.split == "the cohort's own"
    assert any("trained on images of 1 of the 1 patients" in text for text in known.warnings)


def test_the_command_asks_the_checkpoint_whom_it_knows(
    folders: tuple[Path, Path], immune: list[LabelledTissue], tmp_path: Path
) -> None:
    members = [(t.dataset, t.patient, t.image) for t in immune]
    made = dataclasses.replace(model(immune), split=Split.of(members, []))
    save_checkpoint(made, tmp_path / "checkpoint")
    app = typer.Typer()
    evaluate.register(app)
    words = ["evaluate", "cells", folders[0], "--label", "cell_type", "--stride", 128,
             "--checkpoint", tmp_path / "checkpoint", "--json", tmp_path / "out.json"]  # fmt: skip
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "its tokens know them" in result.output
