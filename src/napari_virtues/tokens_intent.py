"""Images of a cohort, as chosen in the *Cohort* dock → their tokens, by a job. Knows no Qt."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from virtues_core.cohort.patients.wording import counted, some
from virtues_core.errors import CheckpointError, InputError
from virtues_core.files import check_writable
from virtues_core.infer.listing import Listed, list_images, mask_of
from virtues_core.infer.signed import REQUESTS
from virtues_core.infer.token_table import EmbedRequest
from virtues_core.jobs import Job, submit
from virtues_core.model.hub import PUBLISHED, WEIGHTS, cached
from virtues_core.read import can_read

COMMAND = "embed"


@dataclass(frozen=True)
class TokensIntent:
    """What tokens were asked for."""

    images: tuple[Path, ...]
    """Image files, or spora folders."""
    out: Path
    """The folder of tables that is written."""
    masks: Path | None = None
    """Folder of masks of the cells, named as the images; a spora folder has its own."""
    checkpoint: str = "demo"
    device: str = "auto"
    level: Literal["cell", "niche"] = "cell"
    stride_px: int | None = None
    """Step from tile to tile, px; as `EmbedRequest` has it by default."""

    @property
    def request(self) -> EmbedRequest:
        """Level and stride, checked.

        Raises
        ------
        InputError
            The stride is out of range.
        """
        return EmbedRequest(level=self.level, stride_px=self.stride_px)


def tokens_argv(intent: TokensIntent) -> list[str]:
    """Give what follows ``virtues`` in the command that makes these tokens."""
    words: list[Any] = [COMMAND, *intent.images, "--out", intent.out]
    if intent.level == "cell":
        words += ["--cells", intent.masks] if intent.masks is not None else []
    else:
        words += ["--level", intent.level]
    words += ["--checkpoint", intent.checkpoint]
    if intent.request.stride != EmbedRequest(level=intent.level).stride:
        words += ["--stride", intent.request.stride]
    words += ["--device", intent.device] if intent.device != "auto" else []
    return [str(word) for word in words]


def tokens_command(intent: TokensIntent) -> str:
    """Write the command that does the same in a terminal."""
    return shlex.join(["virtues", *tokens_argv(intent)])


def start_tokens(intent: TokensIntent) -> Job:
    """Look for what would go wrong, then start the job, which outlives this process.

    Raises
    ------
    VirtuesError
        As `check_tokens`, or the job cannot be started; the text says why.
    """
    check_tokens(intent)
    device = intent.device if intent.device in {"cpu", "mps"} else "auto"
    return submit(tokens_argv(intent), device=device)


def check_tokens(intent: TokensIntent) -> tuple[Listed, ...]:
    """Look at images, masks, checkpoint and folder. Opens files: not for the window's thread.

    Returns
    -------
    tuple of Listed
        The images of which tokens will be made.

    Raises
    ------
    VirtuesError
        What would go wrong; the text says what to do.
    """
    unread = [path.name for path in intent.images if not can_read(path)]
    if unread:
        message = (
            "expected image files, or folders in the spora layout; found "
            f"{counted(len(unread), 'path')} that cannot be read as one: {some(unread)}. Take "
            "them out, and add the images themselves."
        )
        raise InputError(message)
    found = list_images(intent.images)
    _ = intent.request  # a stride out of range
    if intent.level == "cell":
        _check_masks(found, intent.masks)
    _check_checkpoint(intent.checkpoint)
    _check_folder(intent.out, found)
    return found


def _check_masks(images: Sequence[Listed], folder: Path | None) -> None:
    remedy = "choose the folder of their masks, or make tokens of niches"
    if folder is None:
        without = [image.name for image in images if not image.has_mask]
        if without:
            message = (
                "expected masks of the cells, found none for "
                f"{counted(len(without), 'image')}: {some(without)}; {remedy}"
            )
            raise InputError(message)
        return
    if not folder.is_dir():
        message = f"expected a folder of masks, found none at {str(folder)!r}; {remedy}"
        raise InputError(message)
    without = [image.name for image in images if not mask_of(image, folder).exists()]
    if without:
        message = (
            f"expected a mask named as each image in {str(folder)!r}, found none for "
            f"{counted(len(without), 'image')}: {some(without)}; rename the masks, or {remedy}"
        )
        raise InputError(message)


def _check_checkpoint(name: str) -> None:
    path = Path(name).expanduser()
    if name == "demo" or path.is_file() or (path / WEIGHTS).is_file() or cached(name):
        return
    if name in PUBLISHED:
        message = (
            f"expected {name} on this computer, it was not downloaded yet; type `virtues download "
            f"{name}` in a terminal, or choose another checkpoint"
        )
    else:
        message = (
            f"expected a checkpoint, found no {WEIGHTS} at {name!r}; open a checkpoint's folder, "
            "or a weights file"
        )
    raise CheckpointError(message)


def _check_folder(out: Path, images: Sequence[Listed]) -> None:
    """Refuse a folder with other files: all tables of it would be taken for these images'."""
    if out.suffix == ".zarr" or (out.suffix and not out.is_dir()):
        message = (
            f"expected a folder for the tokens, found the name of a file, {out.name!r}; give a "
            "name without an ending"
        )
        raise InputError(message)
    if out.exists() and not out.is_dir():
        message = f"expected a folder for the tokens, found a file, {str(out)!r}; choose another"
        raise InputError(message)
    ours = {REQUESTS, *(f"{image.name}.h5ad" for image in images)}
    others = [
        path.name
        for path in (out.iterdir() if out.is_dir() else ())
        if path.name[0] != "." and path.name.removesuffix(".tokens") not in ours
    ]
    if others:
        message = (
            "expected a new or empty folder, or one with tokens of these images, found something "
            f"else in {str(out)!r}: {some(others)}. Choose another folder."
        )
        raise InputError(message)
    check_writable(out)
