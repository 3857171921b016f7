"""Run the model on tiles: in batches, halved when memory runs out, stopped when asked to."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from virtues_core.errors import DeviceError, VirtuesError
from virtues_core.model import Checkpoint, VirTues

_T = TypeVar("_T")
_ASK_EVERY_S = 0.05


class Cancelled(VirtuesError):
    """The one who asked for it has called it off; nothing was written."""


def never() -> bool:
    """Say that nobody cancels."""
    return False


class Runner:
    """Predicts tiles with one checkpoint.

    Parameters
    ----------
    checkpoint
        The model, on its device and in its type.
    batch_size
        Tiles that go through the model at once; halved for good when memory runs out.
    cancelled
        Asked between and within batches.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        batch_size: int = 8,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        self.batch_size = max(1, batch_size)
        self.patch_px = checkpoint.config.patch_size
        self._model = checkpoint.model
        self._cancelled = cancelled
        self._asked = 0.0

    def predict(
        self,
        tiles: Sequence[NDArray[np.float32]],
        embeddings: NDArray[np.float32],
        masks: Sequence[NDArray[np.bool_]],
        channels: Sequence[int],
    ) -> NDArray[np.float32]:
        """Reconstruct some channels of some tiles.

        Parameters
        ----------
        tiles
            T × (C, S, S) model units.
        embeddings
            (C, E) marker embeddings.
        masks
            T × (C, S/p, S/p) bool, True = hidden from the model.
        channels
            K positions to decode.

        Returns
        -------
        numpy.ndarray
            (T, K, S, S) float32, model units.

        Raises
        ------
        Cancelled
            ``cancelled()`` said so.
        DeviceError
            Not even one tile fits in memory.
        """
        done = self.predict_each(tiles, embeddings, masks, [channels] * len(tiles))
        side = tiles[0].shape[-1] if len(tiles) else 0
        return np.stack(done) if done else np.empty((0, len(channels), side, side), "f4")

    def predict_each(
        self,
        tiles: Sequence[NDArray[np.float32]],
        embeddings: NDArray[np.float32],
        masks: Sequence[NDArray[np.bool_]],
        channels: Sequence[Sequence[int]],
    ) -> list[NDArray[np.float32]]:
        """Reconstruct channels that differ from tile to tile.

        As `predict`, but ``channels`` holds K_t positions for each tile; returns T × (K_t, S, S).
        """
        return self._in_batches(
            len(tiles),
            lambda part: self._forward(tiles[part], embeddings, masks[part], channels[part]),
        )

    def each(
        self,
        tiles: Sequence[NDArray[np.float32]],
        embeddings: NDArray[np.float32],
        look: Callable[[VirTues, list[Tensor], list[Tensor]], Iterable[Tensor]],
    ) -> list[Tensor]:
        """Look at tiles with any part of the model; nothing is hidden from it.

        Parameters
        ----------
        tiles
            T × (C, S, S) model units.
        embeddings
            (C, E) marker embeddings.
        look
            Gets the model, B tiles (C, S, S) and B times the embeddings, on the model's device and
            in its type; gives B tensors.

        Returns
        -------
        list of Tensor
            T of them, on the CPU.

        Raises
        ------
        Cancelled, DeviceError
            As `predict`.
        """

        def run(part: slice) -> list[Tensor]:
            batch = [self._moved(tile) for tile in tiles[part]]
            markers = [self._moved(embeddings)] * len(batch)
            with torch.inference_mode():
                return [seen.cpu() for seen in look(self._model, batch, markers)]

        return self._in_batches(len(tiles), run)

    def _in_batches(self, count: int, run: Callable[[slice], list[_T]]) -> list[_T]:
        """Run batch after batch; a batch that memory does not hold is run again in halves."""
        done: list[_T] = []
        with self._interruptible():
            while len(done) < count:
                self._ask(at_once=True)
                try:
                    done += run(slice(len(done), len(done) + self.batch_size))
                except (torch.OutOfMemoryError, RuntimeError) as error:
                    self._halve(error)
        return done

    def _moved(self, values: NDArray[np.float32]) -> Tensor:
        """Give an array to the model's device, in its type."""
        weight = next(self._model.parameters())
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        return tensor.to(device=weight.device, dtype=weight.dtype)

    def _forward(
        self,
        tiles: Sequence[NDArray[np.float32]],
        embeddings: NDArray[np.float32],
        masks: Sequence[NDArray[np.bool_]],
        channels: Sequence[Sequence[int]],
    ) -> list[NDArray[np.float32]]:
        markers = self._moved(embeddings)
        with torch.inference_mode():
            output = self._model(
                [self._moved(tile) for tile in tiles],
                [markers] * len(tiles),
                [torch.from_numpy(np.ascontiguousarray(m)).to(markers.device) for m in masks],
                [list(wanted) for wanted in channels],
            )
        return [painted.to("cpu", torch.float32).numpy() for painted in output.reconstruction]

    def _halve(self, error: RuntimeError) -> None:
        """Go on with half the batch where memory ran out; pass any other error on."""
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate" not in str(error):
            raise error
        if self.batch_size == 1:
            message = (
                "the device's memory does not hold one tile "
                f"({str(error).splitlines()[0]}). Close other programs, use fewer channels, or "
                "run on the CPU."
            )
            raise DeviceError(message) from error
        self.batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _ask(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._asked >= _ASK_EVERY_S:
            self._asked = now
            if self._cancelled():
                message = "cancelled before it was done; nothing was written"
                raise Cancelled(message)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ask for cancellation before every linear layer, so that a long batch ends soon."""

        def before(_module: nn.Module, _inputs: Any) -> None:
            self._ask()

        linear = [m for m in self._model.modules() if isinstance(m, nn.Linear)]
        hooks = [module.register_forward_pre_hook(before) for module in linear]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
