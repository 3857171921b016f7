"""The child process: one job at a time, the checkpoint kept between them.

The main thread computes. A second thread reads the pipe, so that a request to stop is heard while
the model runs, and so that the process ends when the window is gone, however it went.
"""

import faulthandler
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from napari_virtues.engine import messages, transfer
from virtues_core.errors import DeviceError, VirtuesError


def main(folder: str) -> None:
    """Serve the window over stdin and stdout until the window closes them.

    Parameters
    ----------
    folder
        Where big arrays cross.
    """
    commands, events = _take_over_standard_streams()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the window
    _be_nice()
    ChildWorker(commands, events, Path(folder)).serve()


def _take_over_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for messages; what libraries print goes to the log instead."""
    commands = os.fdopen(os.dup(0), "rb")
    events = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, events


def _be_nice() -> None:
    """Leave the processor to the window when both want it."""
    process = psutil.Process()
    try:
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            process.nice(5)
    except (psutil.Error, OSError) as error:
        print(f"priority left as it is: {error}", file=sys.stderr)


class ChildWorker:
    """Runs jobs; jobs see it as `messages.Worker`."""

    def __init__(self, commands: BinaryIO, events: BinaryIO, folder: Path) -> None:
        self._commands = commands
        self._events = events
        self._folder = folder
        self._jobs: queue.SimpleQueue[messages.Run] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._number = 0
        self._loaded: tuple[tuple[str, str], Any] | None = None

    def serve(self) -> None:
        """Run jobs until the process is ended by the reading thread."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        self.emit(messages.Ready(os.getpid(), _devices()))
        while True:
            command = self._jobs.get()
            self._number = command.number
            self._tell_outcome(command)

    def emit(self, event: messages.Event) -> None:
        """Send an event to the window."""
        try:
            transfer.send(self._events, event, self._folder)
        except BrokenPipeError:
            os._exit(0)  # the window is gone

    def cancelled(self) -> bool:
        """Whether the window asked to stop the job that runs."""
        return self._number in self._cancelled

    def checkpoint(self, name: str, device: str) -> Any:
        """Return the checkpoint on the device: the one at hand, or read anew.

        Parameters
        ----------
        name
            "demo", a folder, or a name on the hub.
        device
            "auto", "cpu", "cuda" or "mps".
        """
        from virtues_core.model import demo_checkpoint, load_checkpoint

        device = _devices()[0] if device == "auto" else device
        if device.split(":")[0] not in _devices():
            message = (
                f"expected a device that PyTorch finds here ({', '.join(_devices())}), "
                f"found {device!r}; choose another device"
            )
            raise DeviceError(message)
        if self._loaded is not None and self._loaded[0] == (name, device):
            return self._loaded[1]
        self._loaded = None
        self.emit(messages.Loading("checkpoint"))
        folder = demo_checkpoint() if name == "demo" else name
        loaded = load_checkpoint(folder, device=device)
        self._loaded = ((name, device), loaded)
        return loaded

    def _listen(self) -> None:
        while True:
            try:
                command = transfer.receive(self._commands, self._folder)
            except EOFError:
                os._exit(0)  # the window is gone: nothing here is worth keeping
            except Exception:  # noqa: BLE001 - a thread that died would leave the window waiting
                traceback.print_exc()
                os._exit(70)  # "internal software error"
            if isinstance(command, messages.Cancel):
                self._cancelled.add(command.number)
            else:
                self._jobs.put(command)

    def _tell_outcome(self, command: messages.Run) -> None:
        try:
            self.emit(self._outcome(command))
        except OSError as error:
            message = (
                f"the result could not be handed over in {str(self._folder)!r}: "
                f"{error.strerror or error}. Free some space there, then run again."
            )
            self.emit(messages.Failed(command.number, message))

    def _outcome(self, command: messages.Run) -> messages.Event:
        number = command.number
        try:
            result = command.job.run(self)
        except Exception as error:  # noqa: BLE001 - the window says what went wrong, then goes on
            if self.cancelled():
                return messages.Cancelled(number)
            if isinstance(error, VirtuesError):
                return messages.Failed(number, str(error))
            if _is_out_of_memory(error):
                self._loaded = None
                _empty_cache()
                return messages.OutOfMemory(number, str(error).splitlines()[0])
            return messages.Failed(
                number,
                f"the engine met an error that it did not expect: {type(error).__name__}: {error}",
                detail="".join(traceback.format_exception(error)),
            )
        return messages.Finished(number, result)


def _devices() -> tuple[str, ...]:
    import torch

    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, PyTorch or its CPU allocator says so (the last one only by its words)."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
