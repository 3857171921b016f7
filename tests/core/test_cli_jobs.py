"""``virtues jobs`` and ``--executor``, on the whole command line."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtues_core.cli.jobs import asked_of
from virtues_core.cli.main import main
from virtues_core.errors import ConfigError, VirtuesError
from virtues_core.jobs import find_job, jobs_root, kill, list_jobs
from virtues_core.run_dir import STATUS

SIMULATE = ("simulate", "--tissues", "1", "--size", "128", "--out")


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A list of jobs of this test alone; what still runs at its end is ended."""
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    yield
    for job in list_jobs():
        try:
            kill(job)
        except VirtuesError:
            continue


@pytest.fixture
def virtues(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command line; give its exit status and what it printed on both streams."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["virtues", *words])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_a_job_from_the_command_line_to_its_removal(virtues, tmp_path: Path) -> None:
    status, said = virtues(*SIMULATE, "out", "--patients", "2", "--executor", "local",
                           "--job-name", "night")  # fmt: skip
    assert status == 0
    assert "virtues jobs follow night" in said
    status, said = virtues("jobs", "follow", "night")
    assert "2 tissues of 2 patients" in said
    assert said.endswith("night: finished\n")
    (folder,) = (job.run_dir for job in list_jobs())
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "map.png").touch()
    _, said = virtues("jobs", "show", "night", "--lines", "1")
    assert "argv: virtues simulate --tissues 1" in said
    assert "state: finished" in said
    assert f"artifact: {folder / 'artifacts' / 'map.png'}" in said
    assert said.splitlines()[-1].startswith("2 tissues of 2 patients")
    _, said = virtues("jobs", "list", "--json")
    (told,) = json.loads(said)
    assert (told["name"], told["state"], told["executor"]) == ("night", "finished", "local")
    _, said = virtues("jobs", "list")
    assert said.splitlines()[1].split()[:4] == ["night", "finished", "100", "%"]
    (folder / STATUS).write_text("{")
    _, said = virtues("jobs", "list")
    assert "night  unreadable" in said
    assert "half-written" in virtues("jobs", "show", "night")[1]
    assert virtues("jobs", "remove", "night") == (0, f"night: removed, with {folder}\n")
    assert virtues("jobs", "list") == (0, "job  state  done  left  submitted\n")


def test_cancel_now_and_resume(virtues) -> None:
    virtues(*SIMULATE, "out", "--patients", "2000", "--executor=local", "--job-name=long",
            "--job-device", "cuda:0")  # fmt: skip
    job = find_job("long")
    assert job.record.device == "cuda:0"
    while job.status.pid is None:
        time.sleep(0.02)
    assert virtues("jobs", "cancel", "long", "--now") == (
        0, "long: ended; resume runs it again from the beginning\n"
    )  # fmt: skip
    assert job.status.state == "stopped"
    status, said = virtues("jobs", "resume", "long")
    assert (status, job.status.state) == (0, "waiting"), said
    while job.status.pid is None:
        time.sleep(0.02)
    assert virtues("jobs", "cancel", str(job.run_dir))[0] == 0
    virtues("jobs", "follow", "long")
    assert job.status.state == "stopped"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("jobs", "show", "none"), "virtues jobs list"),
        (("jobs", "cancel", "none"), "virtues jobs list"),
        (("embed", "--executor", "local"), "Missing argument 'IMAGE...'"),
        (("embed", "x", "--no", "--executor", "local"), "No such option"),
        (("evaluate", "--executor", "local"), "a command after virtues evaluate"),
        (("evaluate", "nothing", "--executor", "local"), "found nothing"),
        (("--executor", "local"), "a command after virtues"),
        (("jobs", "list", "--executor", "local"), "long command"),
        (("info", "x", "--executor", "moon"), "'moon'"),
        (("info", "x", "--executor", "local", "--job-name", "a/b"), "name"),
        (("info", "x", "--executor"), "expected a value"),
        (("info", "x", "--job-name", "a"), "--executor local or slurm"),
        (("info", "x", "--executor", "local", "--job-device", "gpu"), "cuda:0"),
        (("info", "x", "--executor", "slurm", "--job-device", "cpu"), "--executor local"),
        (("info", "x", "--executor", "local", "--slurm", "gpus=1"), "--executor slurm"),
        (("info", "x", "--executor", "slurm", "--slurm", "gpu=1"), "partition"),
    ],
)
def test_mistakes_are_one_line_and_start_nothing(virtues, words, told: str) -> None:
    status, said = virtues(*words)
    assert status == 1
    assert said.startswith("virtues: ")
    assert told in said
    assert "Traceback" not in said
    assert list_jobs() == ()
    assert not jobs_root().exists()


def test_here_is_the_terminal(virtues) -> None:
    status, said = virtues("markers", "map", "CD3", "--executor", "here")
    assert (status, "P07766" in said) == (0, True)
    assert list_jobs() == ()


def test_a_training_need_not_name_its_folder() -> None:
    asked = asked_of(["pretrain", "--executor=slurm", "--slurm", "gpus=2", "--slurm=minutes=60"])
    assert asked.argv == ("pretrain",)
    assert asked.slurm == ("gpus=2", "minutes=60")
    with pytest.raises(ConfigError, match="value"):
        asked_of(["pretrain", "--executor", "--job-name", "a"])


def test_help_says_how_to_make_a_job(virtues) -> None:
    assert "--executor local" in virtues("--help")[1]
    assert "--executor local" in virtues("jobs", "--help")[1].replace("\n", " ")
