"""Many images on a real cluster of worker processes, some of which die."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import anndata
import numpy as np
import psutil
import pytest
from infer_samples import CHANNELS, checkpoint, counts
from many_samples import Breaks, Dies, Endless, Says, Unreadable, WorksTheSecondTime

from virtues_core.errors import InputError, VirtuesError
from virtues_core.infer import EmbedRequest, embed, many
from virtues_core.infer.embed_file import EmbedFile
from virtues_core.infer.many import Cluster, environments, local_workers, run_many
from virtues_core.infer.signed import is_made, sign
from virtues_core.model import load_checkpoint, save_checkpoint
from virtues_core.read import read_image, write_ome_tiff

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers, each with a GPU of its own, it thinks."""
    with local_workers([{"CUDA_VISIBLE_DEVICES": name} for name in ("7", "9")]) as address:
        yield address


def test_each_worker_has_a_device_and_nothing_is_done_twice(scheduler, tmp_path) -> None:
    tasks = [Says(tmp_path / f"{i}.txt") for i in range(4)]
    shares: list[float] = []
    found = run_many(tasks, Cluster(scheduler), on_progress=lambda share, _: shares.append(share))
    assert [outcome.state for outcome in found] == ["made"] * 4
    assert {outcome.said for outcome in found} == {"7", "9"}
    assert shares[-1] == 1
    assert shares == sorted(shares)

    tasks[0].out.unlink()
    tasks[1] = replace(tasks[1], variable="HOME")
    told = []
    found = run_many(tasks, Cluster(scheduler), on_outcome=told.append)
    assert [outcome.state for outcome in found] == ["made", "made", "kept", "kept"]
    assert found[1].said == os.environ["HOME"]
    assert {outcome.name for outcome in told} == {"0", "1", "2", "3"}


def test_what_fails_is_told_and_the_rest_goes_on(scheduler, tmp_path) -> None:
    kinds = (Dies, Unreadable, Says, Breaks, WorksTheSecondTime, Says)
    tasks = [kind(tmp_path / f"{i}.txt") for i, kind in enumerate(kinds)]
    messages: list[str] = []
    found = run_many(tasks, Cluster(scheduler), on_progress=lambda _, said: messages.append(said))
    states = [outcome.state for outcome in found]
    assert states == ["failed", "failed", "made", "failed", "made", "made"]
    assert "its worker process died" in found[0].said
    assert found[1].said == "expected an image, found none"
    assert found[1].trace == ""
    assert found[3].said == "ValueError: a library that was surprised"
    assert "many_samples.py" in found[3].trace
    assert messages[-1] == "6 of 6 images, 3 of them failed"


def workers_here() -> list[psutil.Process]:
    """Worker processes that this process started."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if any("spawn_main" in word for word in child.cmdline())]


def test_a_worker_killed_in_mid_run_costs_nothing_but_time(monkeypatch, tmp_path) -> None:
    """The image in hand goes on from the patch tokens that were kept."""
    monkeypatch.setattr(many, "_POLL_S", 0.02)
    save_checkpoint(checkpoint(), tmp_path / "model")
    tasks = []
    for i, stride in enumerate((4, 128)):  # 24 tiles, then 1
        write_ome_tiff(tmp_path / f"r{i}.ome.tiff", counts(i), CHANNELS, (1.0, 1.0))
        request = EmbedRequest("niche", stride_px=stride, batch_size=1)
        tasks.append(
            EmbedFile(tmp_path / f"r{i}.ome.tiff", tmp_path / f"r{i}.h5ad", request,
                      checkpoint=str(tmp_path / "model"), device="cpu")
        )  # fmt: skip
    before = {process.pid for process in workers_here()}
    killed: list[int] = []

    def kill_once(_: float, said: str) -> None:
        if not killed and len(list((tmp_path / "r0.h5ad.tokens").rglob("*.tokens"))) > 3:
            (worker,) = (p for p in workers_here() if p.pid not in before)
            killed.append(worker.pid)
            worker.send_signal(signal.SIGKILL)

    found = run_many(tasks, Cluster(), on_progress=kill_once)
    assert len(killed) == 1
    assert [outcome.state for outcome in found] == ["made", "made"]
    assert "of them stored before" in found[0].said
    for task in tasks:
        said = anndata.read_h5ad(task.out).obsm["X_virtues"]
        model = load_checkpoint(tmp_path / "model")
        alone = embed(read_image(task.path), None, None, model, task.request)
        np.testing.assert_allclose(said, np.asarray(alone.tokens), atol=1e-6)


def test_a_run_that_is_stopped_leaves_no_worker(tmp_path) -> None:
    task = Endless(tmp_path / "r.txt")
    pid = tmp_path / "r.pid"
    seen: list[float] = []

    def stop(share: float, _: str) -> None:
        seen.append(share)
        if share > 0:  # told by the worker, tile by tile
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many([task], Cluster(), on_progress=stop)
    assert 0 < seen[-1] < 1
    assert not psutil.pid_exists(int(pid.read_text()))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "udp://127.0.0.1:9"])
def test_a_scheduler_that_is_not_there(monkeypatch, tmp_path, address) -> None:
    monkeypatch.setattr(many, "_CONNECT_S", 0.5)
    with pytest.raises(InputError, match="expected a dask scheduler at"):
        run_many([Says(tmp_path / "r.txt")], Cluster(address))


def test_a_scheduler_that_goes_away(tmp_path) -> None:
    with ExitStack() as stack:
        address = stack.enter_context(local_workers([{}]))

        def leave(share: float, _: str) -> None:
            if share > 0:
                stack.close()

        with pytest.raises(VirtuesError, match="found that it went away"):
            run_many([Endless(tmp_path / "r.txt")], Cluster(address), on_progress=leave)


def test_workers_share_gpus_and_cores(monkeypatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert environments("cuda", visible="GPU-a, GPU-b") == tuple(
        {"CUDA_VISIBLE_DEVICES": gpu} | dict.fromkeys(many._THREADS, "4")
        for gpu in ("GPU-a", "GPU-b")
    )
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments("cuda", 3, visible="0,1")] == list(
        "010"
    )
    assert environments("mps") == ({},)
    assert [e["OMP_NUM_THREADS"] for e in environments("cpu", 16)] == ["1"] * 16
    with pytest.raises(InputError, match="workers: expected 1 or more, found 0"):
        environments("cpu", 0)


def test_a_record_that_is_damaged_or_of_another_request_does_not_count(tmp_path) -> None:
    task = Says(tmp_path / "r.txt")
    sign(task, task.signature())
    assert not is_made(task, task.signature())  # the output itself is missing
    task.out.write_text("there")
    assert is_made(task, task.signature())
    assert not is_made(task, {"variable": "HOME"})
    record = tmp_path / "requests" / "r.txt.json"
    for damaged in (record.read_text()[:20], "[]", record.read_text().replace("0.", "9.", 1)):
        record.write_text(damaged)
        assert not is_made(task, task.signature())
