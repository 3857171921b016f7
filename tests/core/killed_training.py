"""A training whose process is killed at random moments and resumed, beside an undisturbed one.

    python tests/core/killed_training.py FOLDER MOMENTS

Prints one line of JSON: how often it was killed, at which steps the last saved state was then,
and whether both ended with the same weights, bit for bit. Each attempt is a process of its own,
forked from this one, which has PyTorch loaded and no thread started.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from train_samples import TINY, train, write_images

from virtues_core.model import load_checkpoint
from virtues_core.train.record import saved_steps

STEPS = 8
"""Of the run for each moment."""


def attempt(folder: Path, name: str, steps: int) -> int:
    """Start or resume a run in a process of its own, and give its number."""
    process = os.fork()
    if process:
        return process
    log = os.open(folder / f"{name}.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        torch.set_num_threads(1)
        config = dataclasses.replace(TINY, max_steps=steps)
        train(folder, name, config, resume=(folder / name / "run.json").is_file())
    except BaseException as error:  # noqa: BLE001 - the child ends here whatever it is
        os.write(log, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


def ended_well(process: int, within_s: float = 300) -> bool:
    """Wait for a process: True where it ended by itself, without an error."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def wait_for_training(run_dir: Path, since_ns: int) -> None:
    """Wait until an attempt has written what it trains on, which it does just before."""
    record = run_dir / "run.json"
    while not record.is_file() or record.stat().st_mtime_ns < since_ns:
        time.sleep(0.01)


def main(folder: Path, moments: int) -> dict[str, object]:
    write_images(folder / "images")
    steps = STEPS * moments
    began = time.monotonic()
    process = attempt(folder, "whole", steps)
    wait_for_training(folder / "whole", 0)
    prepared = time.monotonic() - began
    assert ended_well(process), (folder / "whole.txt").read_text()
    trained = time.monotonic() - began - prepared
    generator = np.random.default_rng(moments)
    killed, states = 0, []
    for _ in range(moments):
        before = time.time_ns()
        process = attempt(folder, "killed", steps)
        if generator.random() < 0.25:  # while it starts
            time.sleep(generator.uniform(0, prepared))
        else:  # while it trains
            wait_for_training(folder / "killed", before)
            time.sleep(generator.uniform(0, 2 * trained / moments))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        killed += os.WIFSIGNALED(status)
        states.append(saved_steps(folder / "killed"))
    assert ended_well(attempt(folder, "killed", steps)), (folder / "killed.txt").read_text()
    whole, other = (
        load_checkpoint(folder / name / "checkpoint").model.state_dict()
        for name in ("whole", "killed")
    )
    same = all(torch.equal(value, other[key]) for key, value in whole.items())
    return {"killed": killed, "states": states, "same": same}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
