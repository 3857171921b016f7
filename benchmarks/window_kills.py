"""Kill a training, the window that shows it, or both, at random moments; compare the weights.

    xvfb-run -a python benchmarks/window_kills.py [--moments 20] [--steps 3000] [--write]

A real job and a real napari with the Jobs dock, killed (SIGKILL) by turns. A killed training must
be lost and is resumed, one whose window was killed must go on untouched. In the end its weights
are those of an undisturbed job.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import yaml
from model import write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
from train_samples import TINY, write_images

from virtues_core import jobs
from virtues_core.model import load_checkpoint

KINDS = ("training", "window", "both")
WINDOW = """
import napari
viewer = napari.Viewer(show=True)
viewer.window.add_plugin_dock_widget("napari-virtues", "Jobs")
print("up", flush=True)
napari.run()
"""


@contextmanager
def window() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", WINDOW], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.wait()


def wait(job: jobs.Job, *states: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while job.status.state not in states:
        if time.monotonic() > deadline:
            sys.exit(f"{job.name}: {job.status}")
        time.sleep(0.05)


def kill_once(job: jobs.Job, kind: str, pause_s: float) -> int | None:
    """Kill what is said some seconds after it is at work; give the step that it was at."""
    with window() as shown:
        wait(job, "running")
        time.sleep(pause_s)
        before = job.status
        if before.state != "running":
            sys.exit(f"{job.name} ended before all moments had come: give more --steps")
        if kind != "training":
            shown.send_signal(signal.SIGKILL)
            shown.wait()
        if kind != "window":
            os.kill(int(before.pid or 0), signal.SIGKILL)
            wait(job, "lost")
            jobs.resume(job)
        else:
            time.sleep(0.5)
            assert (job.status.state, job.status.pid) == ("running", before.pid)
    return before.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable, place in (("VIRTUES_JOBS", "jobs"), ("VIRTUES_CONFIG_DIR", "config"),
                                ("NAPARI_CONFIG", "napari.yaml")):  # fmt: skip
            os.environ[variable] = str(folder / place)
        write_images(folder / "images")
        config = TINY.to_dict() | {"max_steps": options.steps, "checkpoint_every_steps": 20}
        config |= {"crop_px": 64, "subimage_px": 64, "batch_size": 2, "validation_fraction": 0.0}
        (folder / "config.yaml").write_text(yaml.safe_dump(_plain(config)))
        words = ["pretrain", "--images", str(folder / "images" / "*.tiff"),
                 "--config", str(folder / "config.yaml")]  # fmt: skip
        whole = jobs.submit(words, name="whole", device="cpu")
        wait(whole, "finished")
        job = jobs.submit(words, name="killed", device="cpu")
        pauses = np.random.default_rng(options.moments).uniform(0, 8, options.moments)
        for i, pause in enumerate(pauses):
            kind = KINDS[i % 3]
            print(f"{i + 1}: {kind} killed at step {kill_once(job, kind, pause)}", flush=True)
        wait(job, "finished")
        weights = [
            load_checkpoint(j.run_dir / "checkpoint").model.state_dict() for j in (whole, job)
        ]
        same = all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    counts = ", ".join(f"{k} {len(range(i, options.moments, 3))}" for i, k in enumerate(KINDS))
    ended = "the same weights, bit for bit" if same else "OTHER WEIGHTS"
    text = f"Killed {options.moments} times ({counts}), {options.steps} steps: {ended}."
    print(text)
    if options.write:
        command = "xvfb-run -a python benchmarks/window_kills.py"
        write_section("a training and its window, killed", command, text)
    if not same:
        sys.exit(1)


def _plain(value: object) -> object:
    """Make tuples lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    main()
