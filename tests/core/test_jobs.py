"""Jobs are real processes here, really killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import typer

from virtues_core.errors import ConfigError, InputError, RunError, VirtuesError
from virtues_core.jobs import (
    Job,
    SlurmOptions,
    cancel,
    find_job,
    follow,
    kill,
    list_jobs,
    remove,
    resume,
    submit,
)
from virtues_core.jobs.control import ENDED
from virtues_core.jobs.devices import present_devices, turn
from virtues_core.jobs.launch import KEEPING, RESUMABLE, WORKER
from virtues_core.run_dir import LOG, RUN, STATUS, RunRecord, StatusWriter, update_run

FOREVER = ("--patients", "2000", "--tissues", "1", "--size", "128")
SHORT = ("--patients", "2", "--tissues", "1", "--size", "128", "--format", "ome-tiff")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A list of jobs of this test alone; what still runs at its end is ended."""
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "jobs"
    for job in list_jobs():
        try:
            kill(job)
        except VirtuesError:
            continue


def simulate(*words: str, **options: object) -> Job:
    out = str(options.get("name") or f"out-{len(list_jobs())}")
    return submit(["simulate", "--out", out, *words], **options)  # type: ignore[arg-type]


def wait(job: Job, *states: str, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while (state := job.status.state) not in states:
        assert state not in ENDED and time.monotonic() < deadline, job.status
        time.sleep(0.05)
    return state


def at_work(job: Job) -> psutil.Process:
    """The job's process, in the midst of its work."""
    deadline = time.monotonic() + 60
    while not 0 < job.status.progress < 1:
        assert time.monotonic() < deadline and job.status.state != "failed", job.status
        time.sleep(0.05)
    return psutil.Process(job.status.pid)


def test_a_job_is_found_again_and_says_what_it_did(tmp_path: Path) -> None:
    job = simulate(*SHORT, name="first")
    assert [found.name for found in list_jobs()] == ["first"]
    assert "".join(follow(job)).endswith("2 tissues of 2 patients (0 respond, 1 die) in first\n")
    assert wait(job, "finished") == "finished"
    assert (tmp_path / "first" / "tissues.csv").is_file()  # relative to where it was submitted
    record = find_job("first").record
    assert record.command == "simulate"
    assert record.argv[:3] == ("simulate", "--out", "first")
    assert (record.executor, record.folder) == ("local", str(tmp_path))
    assert find_job(str(job.run_dir)) == job


PARENT = """
import os, signal, sys
from virtues_core.jobs import submit
submit(["simulate", "--out", "out", *sys.argv[1:]], name="orphan")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_outlives_whoever_started_it(tmp_path: Path) -> None:
    """The process that submits is killed, and with it all of its group, as by a closed terminal."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *FOREVER], start_new_session=True)
    assert parent.wait(timeout=60) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.killpg(parent.pid, signal.SIGHUP)  # nobody is left in that group
    job = find_job("orphan")
    process = at_work(job)
    assert os.getsid(process.pid) == process.pid
    cancel(job)
    assert wait(job, "stopped") == "stopped"


def test_a_killed_job_is_lost_and_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = simulate(*FOREVER)
    at_work(job).kill()
    assert wait(job, "lost", seconds=5) == "lost"
    assert not (tmp_path / "out-0").exists()
    # the same command in short, so that it comes to an end
    update_run(job.run_dir, argv=["simulate", "--out", "out-0", *SHORT])
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user')")
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    monkeypatch.chdir("/")
    monkeypatch.setenv("VIRTUES_JOBS", str(moved / "jobs"))
    job = Job(job.name, moved / "jobs" / job.name)
    resume(job)
    assert wait(job, "failed") == "failed"
    assert "folder that the job was submitted in" in job.status.message
    moved.rename(tmp_path)
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    job = Job(job.name, tmp_path / "jobs" / job.name)
    resume(job)
    assert wait(job, "finished") == "finished"
    assert (tmp_path / "out-0" / "tissues.csv").is_file()
    with pytest.raises(RunError, match="is finished"):
        resume(job)


TINY = """
model: {model_dim: 16, feedforward_dim: 32, num_heads: 2, encoder_pattern: hv, decoder_pattern: f}
max_steps: 2
batch_size: 2
micro_batch_size: 2
precision: 32-true
accelerator: cpu
"""


def test_a_training_killed_before_its_first_saved_state_starts_anew(tmp_path: Path) -> None:
    from infer_samples import CHANNELS, counts

    from virtues_core.read import write_ome_tiff

    write_ome_tiff(tmp_path / "r0.ome.tiff", counts(0), CHANNELS)
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["pretrain", "--images", "r0.ome.tiff", "--config", "tiny.yaml", "--quiet"]
    job = submit(words)
    assert job.record.argv[-2:] == ("--run-dir", str(job.run_dir))
    wait(job, "running")
    psutil.Process(job.status.pid).kill()
    assert wait(job, "lost", seconds=5) == "lost"
    assert not (job.run_dir / "checkpoints").exists()
    resume(job)
    assert wait(job, "finished", "failed", "lost") == "finished"
    assert "before its first saved state" in (job.run_dir / LOG).read_text()
    assert (job.run_dir / "checkpoint" / "model.safetensors").is_file()
    record = json.loads((job.run_dir / RUN).read_text())
    assert record["config"]["max_steps"] == 2  # the training's own story stands beside the job's
    assert (record["name"], record["images"]["train"][0]["name"]) == (job.name, "r0")


def test_a_cancelled_job_stops_and_is_resumed(tmp_path: Path) -> None:
    job = simulate(*FOREVER)
    at_work(job)
    with pytest.raises(RunError, match="is running"):
        resume(job)
    with pytest.raises(RunError, match="Cancel it first"):
        remove(job)
    cancel(job)
    assert wait(job, "stopped") == "stopped"
    assert job.status.message == "stopped; resume runs it again from the beginning"
    with pytest.raises(RunError, match="is stopped"):
        cancel(job)
    resume(job)
    at_work(job)  # the old wish to cancel is forgotten
    kill(job)
    assert job.status.state == "stopped"
    assert job.status.message == "ended at once; resume runs it again from the beginning"
    remove(job)
    assert not job.run_dir.exists()
    assert list_jobs() == ()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR2"])
def test_the_signals_of_a_cluster_are_a_cancel(name: str) -> None:
    """SIGTERM: its user or administrator ends the job; SIGUSR2: its time is nearly over."""
    job = simulate(*FOREVER)
    at_work(job).send_signal(getattr(signal, name))
    assert wait(job, "stopped") == "stopped"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["info", "nothing-here"], "nothing-here"),
        (["simulate", "--out", "x", "--size", "many"], "exit status 2"),
        (["simulatte"], "exit status 2"),
    ],
)
def test_a_failed_job_says_why(words: list[str], told: str) -> None:
    job = submit(words)
    assert wait(job, "failed") == "failed"
    assert told in job.status.message
    assert "Traceback" not in (job.run_dir / LOG).read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_takes_lines_of_the_log_but_not_the_job(tmp_path: Path) -> None:
    job = submit(["markers", "map", *["CD3"] * 40])
    wait(job, "finished")
    size = (job.run_dir / LOG).stat().st_size
    assert size > 2500
    command = [sys.executable, "-m", WORKER, str(job.run_dir)]
    limited = ["sh", "-c", 'ulimit -f 2; exec "$@" >> "$0"', str(job.run_dir / LOG)]  # of 512 bytes
    assert subprocess.run([*limited, *command], check=False).returncode == 0
    assert wait(job, "finished") == "finished"
    assert (job.run_dir / LOG).stat().st_size == size


def test_two_jobs_for_one_device_wait_their_turn() -> None:
    """Also a third: it was submitted last, and comes last."""
    first = simulate(*FOREVER, device="cuda:0")
    at_work(first)
    elsewhere = simulate(*SHORT, device="cuda:1")
    second = simulate(*FOREVER, device="cuda:0")
    third = simulate(*SHORT, device="cuda:0,cuda:1")
    assert wait(elsewhere, "finished") == "finished"
    assert "cuda:0" in _message(second, "waiting")
    assert third.status.state == "waiting"
    psutil.Process(first.status.pid).kill()  # the system gives its lock back
    at_work(second)
    assert third.status.state == "waiting"
    assert first.status.state == "lost"
    cancel(third)
    assert wait(third, "stopped") == "stopped"
    assert second.status.state == "running"
    free = simulate(*SHORT, device="cpu")
    assert wait(free, "finished") == "finished"  # the processor is shared
    assert second.status.state == "running"


def _message(job: Job, state: str) -> str:
    deadline = time.monotonic() + 30
    while not job.status.message:
        assert job.status.state == state
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job.status.message


def test_a_job_sees_the_devices_of_its_turn_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")  # what this process may see, as on a cluster
    assert present_devices() == ("cuda:2", "cuda:3")
    with StatusWriter(tmp_path / "a") as one, turn(RunRecord("embed", name="a"), one) as first:
        assert first == ("cuda:2",)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
        with turn(RunRecord("embed", name="b"), one) as second:  # the first device that is free
            assert second == ("cuda:3",)
    with StatusWriter(tmp_path / "b") as one, turn(RunRecord("x", device="cuda:1,cuda:0"), one):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert present_devices() == ()
    with StatusWriter(tmp_path / "c") as one, turn(RunRecord("embed"), one) as none:
        assert none == ()


def test_what_cannot_be_a_job_is_refused(tmp_path: Path, monkeypatch) -> None:
    for words in ([], ["jobs", "list"], ["demo"], ["--help"]):
        with pytest.raises(InputError, match="long command"):
            submit(words)
    with pytest.raises(ConfigError, match="executor"):
        submit(["simulate"], executor="cloud")
    with pytest.raises(ConfigError, match="device"):
        submit(["simulate"], device="gpu")
    with pytest.raises(ConfigError, match="name"):
        submit(["simulate"], name="../up")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(RunError, match="in use"):
        submit(["simulate"], run_dir=tmp_path / "full")
    with pytest.raises(RunError, match="in use"):
        submit(["pretrain", "--run-dir", "full"])
    with pytest.raises(InputError, match="two run directories"):
        submit(["pretrain", "--run-dir=a"], run_dir=tmp_path / "b")
    with pytest.raises(RunError, match="nothing to resume"):
        submit(["pretrain", "--run-dir", "none", "--resume"])
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="run directory"):
        submit(["simulate"], run_dir=tmp_path / "file" / "run")
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "file"))
    with pytest.raises(VirtuesError):
        submit(["simulate"])
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_damaged_jobs_are_listed_and_can_be_removed(tmp_path: Path, root: Path) -> None:
    ended = simulate(*SHORT, name="ended", run_dir=tmp_path / "elsewhere")
    wait(ended, "finished")
    with pytest.raises(ConfigError, match="already"):
        simulate(name="ended")
    (ended.run_dir / STATUS).write_text('{"state": "fini')
    (root / "broken.json").write_text("{")
    assert [job.name for job in list_jobs()] == ["ended"]
    with pytest.raises(RunError, match="half-written"):
        resume(ended)
    (ended.run_dir / RUN).rename(ended.run_dir / "kept.json")
    with pytest.raises(RunError, match="not the folder of a run"):
        remove(ended)
    (ended.run_dir / "kept.json").rename(ended.run_dir / RUN)
    remove(ended)
    assert not ended.run_dir.exists()
    gone = simulate(*SHORT, name="gone")
    wait(gone, "finished")
    shutil.rmtree(gone.run_dir)
    with pytest.raises(RunError, match="found no status"):
        _ = gone.status
    remove(find_job("gone"))
    with pytest.raises(RunError, match="virtues jobs list"):
        find_job("gone")


def test_a_folder_with_another_job_in_it_is_not_removed(tmp_path: Path) -> None:
    outer = simulate(*SHORT, run_dir=tmp_path / "runs", name="outer")
    wait(outer, "finished")
    inner = simulate(*SHORT, run_dir=tmp_path / "runs" / "inner", name="inner")
    wait(inner, "finished")
    with pytest.raises(RunError, match="other jobs: inner"):
        remove(outer)
    remove(inner)
    remove(outer)


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that one, later
def test_a_cluster_gets_the_same_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By submitit, on this machine in place of a cluster."""
    options = SlurmOptions(gpus=0, cpus=1, memory_gb=1, minutes=5, cluster="local")
    job = simulate(*FOREVER, executor="slurm", slurm=options)
    assert job.record.cluster_id
    at_work(job)
    cancel(job)
    assert wait(job, "stopped") == "stopped"
    update_run(job.run_dir, argv=["simulate", "--out", "short", *SHORT])
    monkeypatch.chdir("/")
    resume(job)  # with what was asked of the cluster before, in the folder of before
    assert wait(job, "finished") == "finished"
    assert "2 tissues of 2 patients" in (job.run_dir / LOG).read_text()
    assert (tmp_path / "short" / "tissues.csv").is_file()


def test_a_machine_without_slurm_says_so() -> None:
    if shutil.which("sbatch"):
        pytest.skip("there is a SLURM here")
    with pytest.raises(RunError, match="sbatch"):
        simulate(*SHORT, executor="slurm")
    (job,) = list_jobs()
    assert job.status.state == "failed"
    assert "sbatch" in job.status.message


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gpu=1"], "gpu"),
        (["gpus"], "key=value"),
        (["gpus=many"], "gpus"),
        (["minutes=0"], "minutes"),
        (["cluster=cloud"], "cluster"),
    ],
)
def test_what_a_cluster_cannot_be_asked_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SlurmOptions.from_words(words)
    good = SlurmOptions.from_words(["partition=gpu", "gpus=2"])
    assert (good.partition, good.gpus) == ("gpu", 2)


def test_commands_that_resume_are_those_that_say_so() -> None:
    from virtues_core.cli.main import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    resuming = {
        name
        for name, command in commands.items()
        if {"--resume", "--run-dir"} <= {text for p in command.params for text in p.opts}
    }
    assert resuming == RESUMABLE
    for words in KEEPING:
        command = commands[words[0]]
        assert all(word in command.commands for word in words[1:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pretrain", "--images", "none.tiff"), "goes on from the last saved state"),
        (("embed", "none.tiff", "--out", "x"), "goes on with what is not made yet"),
        (("db", "build", "none.tiff", "--out", "x.db"), "goes on with what is not made yet"),
        (("db", "evaluate", "none.db", "--out", "x"), "runs it again from the beginning"),
    ],
)
def test_what_resuming_does_is_said_as_it_is(words: tuple[str, ...], told: str) -> None:
    job = submit(words, executor="local")
    assert job.record.if_resumed == f"resume {told}"


def test_the_window_can_ask_for_jobs_without_pytorch() -> None:
    code = "import virtues_core.jobs, sys; assert not {'torch', 'submitit'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
