"""Simulated cohorts on disk are read back by the readers, and by name at the command line."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from virtues_core.cli import simulate
from virtues_core.cohort.patients import Columns, read_clinical
from virtues_core.errors import InputError, VirtuesError
from virtues_core.preprocess import dataset_statistics, upper_quantiles
from virtues_core.read import image_names, read_image, read_labels
from virtues_core.read.spora import SporaDataset
from virtues_core.simulate import (
    Cohort,
    CohortConfig,
    simulate_cohort,
    write_ome_tiffs,
    write_spora,
)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    datasets = ("imc-tumour", "imc-immune", "codex")
    return simulate_cohort(
        CohortConfig(datasets=datasets, patients=6, tissues_per_patient=1, size_px=192, seed=2)
    )


@pytest.fixture(scope="module")
def spora(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    seen: list[tuple[int, int, str]] = []
    folder = tmp_path_factory.mktemp("simulated") / "cohort"
    given = write_spora(cohort, folder, on_tissue=lambda *step: seen.append(step))
    assert given == folder
    assert [number for number, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in seen} == {6}
    assert {name for _, _, name in seen} == set(cohort.tissues["tissue_id"])
    return folder


def test_images_and_masks_come_back(cohort: Cohort, spora: Path) -> None:
    dataset = SporaDataset(spora)
    assert [t.tissue_id for t in dataset.tissues] == cohort.tissues["tissue_id"].tolist()
    assert set(image_names(spora)) == set(cohort.tissues["tissue_id"])
    for listed in dataset.tissues:
        made, image = cohort.tissue(listed.tissue_id), dataset.image(listed)
        assert image.channels == made.channels
        assert image.pixel_size_um == (1.0, 1.0)
        assert np.array_equal(image.compute(), made.pixels)
        assert np.array_equal(dataset.tissue_mask(listed, made.shape), made.tissue_mask)
        assert np.array_equal(dataset.cell_mask(listed, made.shape), made.cell_mask)
        niches = spora / "segmentations" / "1_0mpp" / "niche_masks" / f"{made.name}.npz"
        assert np.array_equal(read_labels(niches), made.niches)
        assert np.array_equal(read_image(spora, made.name).compute([0])[0], made.pixels[0])


def test_tables_come_back(cohort: Cohort, spora: Path) -> None:
    dataset = SporaDataset(spora)
    for listed, row in zip(dataset.tissues, cohort.tissues.to_dict("records"), strict=True):
        assert listed.dataset == row["dataset"]
        assert listed.patient_id == row["patient_id"]
        assert listed.split == row["split"]
        assert listed.clinical["response"] == row["response"]
        assert listed.clinical["survival_months"] == row["survival_months"]
    cells = dataset.cells()
    assert cells is not None
    for made in cohort:
        own = cells[cells["tissue_id"] == made.name].drop(columns="tissue_id")
        assert own.reset_index(drop=True).equals(made.cells)
    truth = pd.read_parquet(spora / "metadata" / "truth.parquet")
    assert truth.equals(cohort.truth)
    columns = Columns("patient_id", outcome="response", time="survival_months", event="event",
                      covariates=("age", "sex", "stage"))  # fmt: skip
    clinical = read_clinical(spora / "metadata" / "clinical.csv", columns)
    assert clinical.outcome().tolist() == cohort.patients["response"].tolist()
    assert clinical.survival()["time"].tolist() == cohort.patients["survival_months"].tolist()
    of_tissues = replace(columns, tissue="tissue_id", timepoint="timepoint")
    tissues = read_clinical(spora / "metadata" / "tissues.parquet", of_tissues)
    assert tissues.outcome().equals(clinical.outcome())
    assert set(tissues.timepoints()) == {"baseline"}


def test_channels_carry_accessions_and_quality(spora: Path) -> None:
    dataset = SporaDataset(spora)
    channels = {c.name: c for t in dataset.tissues for c in dataset.channels(t)}
    assert channels["CD8a(Dy162Di)"].uniprot_id == channels["CD8a_Dy162"].uniprot_id == "P01732"
    assert channels["CD8"].uniprot_id == "P01732"
    assert channels["DAPI"].uniprot_id is None
    assert channels["DAPI"].is_nuclear_marker
    assert channels["HistoneH3_Yb176"].is_nuclear_marker
    assert not channels["CD20"].is_nuclear_marker
    assert not channels["80ArAr_ArAr80"].qc_pass
    assert channels["CD20"].qc_pass


def test_statistics_are_those_of_the_images(cohort: Cohort, spora: Path) -> None:
    dataset = SporaDataset(spora)
    chosen = [t for t in dataset.tissues if t.dataset == "imc-immune"]
    made = [cohort.tissue(t.tissue_id) for t in chosen]
    names = made[0].channels
    expected = dataset_statistics(
        "imc-immune", ((m.pixels, m.tissue_mask) for m in made), names, (None,) * len(names)
    )
    for listed, tissue in zip(chosen, made, strict=True):
        stored = dataset.statistics(listed)
        assert stored is not None
        assert np.allclose(stored.upper, upper_quantiles(tissue.pixels, tissue.tissue_mask))
        assert np.allclose(stored.mean, expected.mean)
        assert np.allclose(stored.std, expected.std)


def test_tiles_lie_on_tissue(cohort: Cohort, spora: Path) -> None:
    dataset = SporaDataset(spora)
    for listed in dataset.tissues:
        mask = dataset.tissue_mask(listed)
        assert mask is not None
        origins = dataset.tile_origins(listed)
        assert origins is not None
        assert len(origins) > 0
        for y, x in origins:
            assert mask[y : y + 128, x : x + 128].shape == (128, 128)
            assert mask[y : y + 128, x : x + 128].mean() >= 0.3


def test_the_images_are_ome_zarr_of_version_3(spora: Path) -> None:
    image = next((spora / "codex" / "1_0mpp" / "images").glob("*.ome.zarr"))
    described = json.loads((image / "zarr.json").read_text())
    assert described["zarr_format"] == 3
    ome = described["attributes"]["ome"]
    assert ome["version"] == "0.5"
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["c", "y", "x"]
    assert ome["omero"]["channels"][0]["label"] == "DAPI"


def test_memory_does_not_grow_with_the_cohort(tmp_path: Path) -> None:
    def peak(patients: int) -> int:
        config = CohortConfig(
            datasets=("mibi",), patients=patients, tissues_per_patient=1, size_px=192
        )
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        write_spora(simulate_cohort(config), tmp_path / str(patients))
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        peak(1)
        assert peak(7) < 1.3 * peak(2)
    finally:
        tracemalloc.stop()


def test_a_failure_leaves_nothing_and_a_full_folder_is_not_touched(
    cohort: Cohort, tmp_path: Path
) -> None:
    def stop(number: int, _total: int, _name: str) -> None:
        if number == 2:
            message = "stopped here"
            raise VirtuesError(message)

    for write in (write_spora, write_ome_tiffs):
        with pytest.raises(VirtuesError, match="stopped here"):
            write(cohort, tmp_path / "out", on_tissue=stop)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("kept")
    for write in (write_spora, write_ome_tiffs):
        with pytest.raises(InputError, match="new or an empty folder"):
            write(cohort, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def run(*arguments: str) -> str:
    app = typer.Typer()
    simulate.register(app)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_writes_a_spora_folder(tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    text = run(
        "--out", str(out), "--patients", "2", "--tissues", "1", "--size", "128",
        "--datasets", "mibi, codex", "--effect", "2.5", "--seed", "3", "--timepoints", "2",
        "--batch", "0.5",
    )  # fmt: skip
    assert "4 tissues of 2 patients" in text
    config = CohortConfig(
        datasets=("mibi", "codex"), patients=2, tissues_per_patient=1, size_px=128,
        effect=2.5, seed=3, timepoints=2, batch_strength=0.5,
    )  # fmt: skip
    expected = simulate_cohort(config)
    assert pd.read_parquet(out / "metadata" / "truth.parquet").equals(expected.truth)
    dataset = SporaDataset(out)
    assert [t.tissue_id for t in dataset.tissues] == expected.tissues["tissue_id"].tolist()
    first = dataset.tissues[0]
    assert np.array_equal(dataset.image(first).compute(), expected.tissue(first.tissue_id).pixels)


def test_the_command_writes_ome_tiffs(tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    run("--out", str(out), "--patients", "1", "--tissues", "2", "--size", "128",
        "--format", "ome-tiff")  # fmt: skip
    expected = simulate_cohort(CohortConfig(patients=1, tissues_per_patient=2, size_px=128))
    for made in expected:
        image = read_image(out / "imc-tumour" / f"{made.name}.ome.tiff")
        assert image.channels == made.channels
        assert image.pixel_size_um == (1.0, 1.0)
        assert np.array_equal(image.compute(), made.pixels)
        masks = out / "imc-tumour" / "masks"
        cells = read_labels(masks / f"{made.name}_cells.tiff", made.shape)
        assert np.array_equal(cells, made.cell_mask)
        assert np.array_equal(read_labels(masks / f"{made.name}_niches.tiff"), made.niches)
        table = pd.read_csv(out / "cells.csv")
        assert (table["tissue_id"] == made.name).sum() == len(made.cells)
    assert pd.read_csv(out / "tissues.csv")["tissue_id"].tolist() == (
        expected.tissues["tissue_id"].tolist()
    )
    assert len(pd.read_csv(out / "truth.csv")) == 1
    assert pd.read_csv(out / "clinical.csv").equals(expected.clinical)


def test_the_command_refuses_what_cannot_be(tmp_path: Path) -> None:
    app = typer.Typer()
    simulate.register(app)
    wrong = ["--out", str(tmp_path / "x"), "--datasets", "imc"]
    result = CliRunner().invoke(app, wrong)
    assert isinstance(result.exception, VirtuesError)
    assert "expected a panel out of" in str(result.exception)
    assert not (tmp_path / "x").exists()
