"""One child process, from its start to its end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_virtues.engine import messages, transfer

_LOG_CHARACTERS = 4000


@dataclass(frozen=True)
class Reason:
    """Why the child ended."""

    what: str
    """In a few words, for the window."""
    log: str
    """The end of what it printed."""


class Session:
    """A running child, its pipes, and the folder that big arrays cross through.

    Parameters
    ----------
    heard
        Called with this session and each event, from the reading thread.
    died
        Called once with this session when the child is gone, from the reading thread.
    """

    def __init__(
        self,
        heard: Callable[["Session", messages.Event], None],
        died: Callable[["Session"], None],
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="virtues-engine-"))
        self._log = self._folder / "log.txt"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "napari_virtues.engine", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        self._clean_up = weakref.finalize(self, _clean_up, self._process, self._folder)
        self._reader = threading.Thread(
            target=self._read, args=(heard, died), name="engine events", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, command: Any) -> None:
        """Write a command to the child.

        Raises
        ------
        OSError
            The child is gone, or the disk is full.
        """
        if self._process.stdin is None:
            raise BrokenPipeError
        transfer.send(self._process.stdin, command, self._folder)

    def kill(self) -> None:
        """End the child at once; its death is then told by ``died``."""
        self._process.kill()

    def end(self) -> Reason:
        """Make sure that the child is gone, tidy up, and say why it ended."""
        self._process.kill()
        code = self._process.wait()
        log = self._log.read_text(errors="replace") if self._log.is_file() else ""
        if self._reader is not threading.current_thread():
            self._reader.join()
        self._clean_up()
        return Reason(_why(code), log[-_LOG_CHARACTERS:])

    def _read(
        self,
        heard: Callable[["Session", messages.Event], None],
        died: Callable[["Session"], None],
    ) -> None:
        try:
            while self._process.stdout is not None:
                heard(self, transfer.receive(self._process.stdout, self._folder))
        except (EOFError, OSError, ValueError):
            self.kill()  # the pipe is closed, or a message was cut short
        finally:
            died(self)


def _clean_up(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # unsent bytes of a pipe that broke
                pipe.close()
    shutil.rmtree(folder, ignore_errors=True)


def _why(code: int) -> str:
    """Say in words what an exit code means.

    Examples
    --------
    >>> _why(-9)
    'the system ended it (SIGKILL), most often because memory ran out'
    """
    if code == -9:
        return "the system ended it (SIGKILL), most often because memory ran out"
    if code < 0:
        try:
            return f"it crashed ({signal.Signals(-code).name})"
        except ValueError:
            return f"it crashed (signal {-code})"
    return f"it left with exit code {code}"
