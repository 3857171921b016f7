"""Checkpoints from the Hugging Face hub: the licence is shown first, then they are kept here.

``HF_ENDPOINT`` names another server, ``HF_HOME`` and ``HF_HUB_CACHE`` another place to keep them;
all are read at each call. Nothing but the files asked for is requested from the server.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtues_core.errors import CheckpointError

WEIGHTS = "model.safetensors"
BESIDE = (
    "config.json",
    "markers.safetensors",
    "statistics.parquet",
    "calibration.json",
    "segmentation-head.safetensors",
    "README.md",
)
"""What a checkpoint may have beside its weights."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Licence:
    """What may be done with a checkpoint; ``str()`` is the text to show."""

    name: str
    """As its author gives it, for example ``CC BY-NC 4.0``."""
    conditions: str
    """In a sentence."""
    url: str = ""
    """The full text; empty where its author gives none."""

    def __str__(self) -> str:
        return f"{self.name}. {self.conditions}" + (f" {self.url}" if self.url else "")


@dataclass(frozen=True)
class Variant:
    """A published checkpoint: a folder of a hub repository."""

    repository: str
    folder: str
    licence: Licence


_MIT = Licence(
    "MIT",
    "Free to use, change and pass on, with the copyright notice.",
    "https://opensource.org/license/mit",
)
_NON_COMMERCIAL = Licence(
    "CC BY-NC 4.0",
    "Not for commercial use; name the authors when you use it or pass it on.",
    "https://creativecommons.org/licenses/by-nc/4.0/",
)
PUBLISHED: dict[str, Variant] = {
    "sp31": Variant("bunnelab/virtues", "virtues-sp31", _MIT),
    "sp32": Variant("bunnelab/virtues", "virtues-sp32", _NON_COMMERCIAL),
    "imc14": Variant("bunnelab/virtues", "virtues-imc14", _NON_COMMERCIAL),
}
"""The published models by the names that `load_checkpoint` takes."""


def cached(name: str) -> Path | None:
    """Folder of a checkpoint that was downloaded before; asks no server.

    Parameters
    ----------
    name
        A published variant (``sp31``, ``sp32``, ``imc14``) or ``owner/repository``.

    Returns
    -------
    pathlib.Path or None
        None where it is not here, or ``name`` is no such name.
    """
    place = _place(name)
    if place is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    repository, folder = place
    found = try_to_load_from_cache(repository, folder + WEIGHTS, cache_dir=_cache_folder())
    return Path(found).parent if isinstance(found, str) else None


def licence(name: str) -> Licence:
    """Licence of a checkpoint: known for the published ones, else asked from its card on the hub.

    Raises
    ------
    CheckpointError
        ``name`` is no such name, or the hub does not answer.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].licence
    repository, _ = _require_place(name)
    with _talking_to_hub(name):
        card = _download(repository, "README.md")
        return _licence_of_card(card)


def fetch(name: str, *, accept: Callable[[str], bool]) -> Path:
    """Download a checkpoint once; from then on it is opened without a network.

    Parameters
    ----------
    name
        A published variant (``sp31``, ``sp32``, ``imc14``) or ``owner/repository``.
    accept
        Gets the licence as text to show, and says whether it is accepted. Not asked for a
        checkpoint that is here already.

    Returns
    -------
    pathlib.Path
        Its folder, for `load_checkpoint`.

    Raises
    ------
    CheckpointError
        The licence was declined, the hub does not answer, has no such checkpoint, or the disk is
        full. What was here before is untouched, and no partial file stays.
    """
    here = cached(name)
    if here is not None:
        return here
    repository, folder = _require_place(name)
    terms = licence(name)
    if not accept(f"{name} ({repository} on the Hugging Face hub) has this licence: {terms}"):
        message = (
            f"{name} was not downloaded, because its licence ({terms.name}) was not accepted. "
            "Accept it, or choose another checkpoint."
        )
        raise CheckpointError(message)
    with _talking_to_hub(name):
        for beside in BESIDE:
            _download(repository, folder + beside)
        weights = _download(repository, folder + WEIGHTS)  # last: where it is, all the rest is
    if weights is None:
        message = (
            f"{repository} on the hub has no {folder + WEIGHTS}. Expected a VirTues checkpoint; "
            f"the published ones are {', '.join(PUBLISHED)}."
        )
        raise CheckpointError(message)
    return weights.parent


def _place(name: str) -> tuple[str, str] | None:
    """Repository, and the prefix of the checkpoint's files in it."""
    if name in PUBLISHED:
        variant = PUBLISHED[name]
        return variant.repository, f"{variant.folder}/"
    if not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name:
        return None
    return name, ""


def _require_place(name: str) -> tuple[str, str]:
    place = _place(name)
    if place is None:
        message = (
            f"{name!r} is no checkpoint on the hub. Expected one of {', '.join(PUBLISHED)}, "
            "or a repository as 'owner/name'."
        )
        raise CheckpointError(message)
    return place


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _cache_folder() -> Path:
    from huggingface_hub import constants

    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    return Path(home).expanduser() / "hub" if home else Path(constants.HF_HUB_CACHE)


def _download(repository: str, filename: str) -> Path | None:
    """Fetch one file into the cache; None where the repository does not have it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    endpoint = _endpoint()
    url = hf_hub_url(repository, filename, endpoint=endpoint)
    try:
        # asked first because it fails at once without a network, and tells the size
        about = get_hf_file_metadata(url)
    except EntryNotFoundError:
        return None
    _require_space(filename, about.size or 0)
    path = hf_hub_download(
        repository, filename, cache_dir=_cache_folder(), endpoint=endpoint, revision="main"
    )
    return Path(path)


def _require_space(filename: str, size: int) -> None:
    folder = _cache_folder()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        message = (
            f"not enough space for {filename}: expected {size / 1e6:.1f} MB in {folder}, found "
            f"{free / 1e6:.1f} MB. Free some, or set HF_HOME to a folder on a larger disk."
        )
        raise CheckpointError(message)


@contextmanager
def _talking_to_hub(name: str) -> Iterator[None]:
    """Tell what went wrong in words; send no telemetry meanwhile."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    telemetry = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    except GatedRepoError as error:
        message = (
            f"{name}: its authors ask for a login. Ask for access on {_endpoint()}, log in by "
            "`hf auth login`, then try again."
        )
        raise CheckpointError(message) from error
    except RepositoryNotFoundError as error:
        message = (
            f"{_endpoint()} has no repository for {name!r}, or it is private. Expected one of "
            f"{', '.join(PUBLISHED)}, or a repository as 'owner/name'; check the spelling."
        )
        raise CheckpointError(message) from error
    except HfHubHTTPError as error:
        message = f"{_endpoint()} refused {name!r} ({_first_line(error)}). Try again later."
        raise CheckpointError(message) from error
    except _failures() as error:
        raise CheckpointError(_why_not_downloaded(name, error)) from error
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry


def _failures() -> tuple[type[Exception], ...]:
    """List what a broken connection or a full disk raises, the HTTP client's own error too."""
    from huggingface_hub import errors

    clients = [base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    xet = getattr(errors, "XetDownloadError", OSError)  # younger than the oldest we support
    return (OSError, RuntimeError, xet, *clients)


def _why_not_downloaded(name: str, error: Exception) -> str:
    written = isinstance(error, OSError) and error.errno is not None and error.filename is not None
    full = isinstance(error, OSError) and error.errno in _FULL
    if written or full:
        return (
            f"{name} could not be written to {_cache_folder()} ({_first_line(error)}). Free some "
            "space there, or set HF_HOME to a folder on another disk, then try again."
        )
    return (
        f"{name} could not be downloaded from {_endpoint()}, where a Hugging Face hub was expected "
        f"({_first_line(error)}). Check the network and try again, or copy a checkpoint's folder "
        "here and open that."
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _licence_of_card(card: Path | None) -> Licence:
    """Read the licence from the metadata at the head of a model card."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        metadata = (metadata_load(card) if card is not None else None) or {}
    except (ValueError, yaml.YAMLError):  # a card that cannot be read states no licence
        metadata = {}
    name = metadata.get("license_name") or metadata.get("license")
    if not name or name == "other":
        return Licence(
            "not stated",
            "Its authors gave no licence that a program can read: ask them what you may do.",
        )
    return Licence(
        str(name),
        "As its authors state on its card; read the full text before you use it.",
        str(metadata.get("license_link") or ""),
    )
