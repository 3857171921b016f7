"""Inpainting through the engine: a real model in a real child."""

import os
import queue
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from napari_virtues.engine import (
    Cancelled,
    CohortImage,
    Engine,
    Failed,
    Finished,
    ImageSource,
    InpaintJob,
    Loading,
    LookUpTerms,
    TileDone,
)
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.infer import InpaintRequest
from virtues_core.markers import Panel
from virtues_core.read import read_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("inpaint")


@pytest.fixture(scope="module")
def image(folder):
    return read_image(simulated_file(folder / "tissue.ome.tiff"))


@pytest.fixture(scope="module")
def checkpoint(folder, image):
    return tiny_checkpoint(folder / "tiny", image.channels)


@pytest.fixture
def job(image, checkpoint):
    panel = Panel.from_names(image.channels)
    markers = tuple(e.name for e in panel.entries if e.status == "resolved")[:2]
    request = InpaintRequest(markers=markers, repeats=1, batch_size=2, stride_px=128)
    return InpaintJob(ImageSource.of(image), panel, str(checkpoint), "cpu", request)


@pytest.fixture
def engine():
    engine = Engine()
    engine.heard = queue.Queue()
    engine.event.connect(engine.heard.put)
    yield engine
    engine.close()


def until(engine, kind, seen=None):
    deadline = time.monotonic() + 120
    while True:
        event = engine.heard.get(timeout=deadline - time.monotonic())
        if seen is not None:
            seen.append(event)
        if isinstance(event, kind):
            return event
        assert not isinstance(event, Failed), event


def test_inpaint_from_a_file_and_keep_the_checkpoint(engine, job):
    seen = []
    engine.submit(job)
    result = until(engine, Finished, seen).result
    tiles = [event for event in seen if isinstance(event, TileDone)]
    assert [tile.index for tile in tiles] == [0, 1, 2, 3]
    assert tiles[0].channels == job.request.markers
    assert tiles[0].prediction.shape == (2, 128, 128)
    assert result.channels == job.request.markers
    assert result.truth.shape == (2, 256, 256)
    assert result.masked.all()
    assert Loading("checkpoint") in seen
    again = []
    engine.submit(job)
    other = until(engine, Finished, again).result
    assert Loading("checkpoint") not in again
    np.testing.assert_allclose(other.prediction, result.prediction, rtol=1e-4, atol=1e-4)


def test_inpaint_pixels_that_are_in_no_file(engine, job, image):
    source = ImageSource.of(replace(image, source=None))
    assert source.pixels is not None
    engine.submit(replace(job, image=source))
    assert until(engine, Finished).result.truth.shape == (2, 256, 256)


def test_cohort_images_bring_ridge(engine, job, folder):
    other = simulated_file(folder / "other.ome.tiff", seed=4)
    engine.submit(replace(job, cohort=(CohortImage(other),)))
    scores = until(engine, Finished).result.scores
    assert all("ridge" in score.baselines for score in scores)


def test_cancel_while_the_model_works(engine, job, folder, image):
    slow = tiny_checkpoint(folder / "slow", image.channels, model_dim=256)
    request = replace(job.request, stride_px=8, batch_size=8, repeats=8)
    engine.submit(replace(job, checkpoint=str(slow), request=request))
    until(engine, Loading)
    time.sleep(2)
    asked = time.monotonic()
    engine.cancel()
    until(engine, Cancelled)
    assert time.monotonic() - asked < 1.0
    engine.submit(job)
    until(engine, Finished)


def test_kill_while_the_model_works(engine, job):
    engine.submit(replace(job, request=replace(job.request, stride_px=8)))
    until(engine, TileDone)
    os.kill(engine.pid, signal.SIGKILL)
    assert until(engine, Failed).smaller_batch == 1
    engine.submit(job)
    until(engine, Finished)


def test_mistakes_come_back_in_words(engine, job, tmp_path):
    engine.submit(replace(job, checkpoint=str(tmp_path / "nowhere")))
    assert "no checkpoint at" in until(engine, Failed).message
    broken = replace(job.image, path=tmp_path / "gone.ome.tiff")
    engine.submit(replace(job, image=broken))
    assert "found nothing at" in until(engine, Failed).message
    engine.submit(replace(job, device="cuda"))
    assert "choose another device" in until(engine, Failed).message
    engine.submit(replace(job, request=replace(job.request, markers=("CD999",))))
    assert "CD999" in until(engine, Failed).message


def test_licence_is_looked_up_without_a_network(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    engine.submit(LookUpTerms("sp32"))
    terms = until(engine, Finished).result
    assert not terms.here
    assert "CC BY-NC" in terms.licence
