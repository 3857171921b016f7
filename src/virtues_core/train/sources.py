"""Where training images come from: plain files or spora folders, normalised once to disk."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.files import replacing
from virtues_core.image import MultiplexImage
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.markers.registry import is_accession
from virtues_core.preprocess import (
    Statistics,
    dataset_statistics,
    normalise,
    tissue_mask,
    upper_quantiles,
)
from virtues_core.read import image_names, read_image
from virtues_core.read.spora import SporaDataset, Tissue
from virtues_core.train.dataset import TrainingImage


@dataclass(frozen=True, eq=False)
class Source:
    """One image to train on, not read yet."""

    image: MultiplexImage
    keys: tuple[str | None, ...]
    """Marker key of each channel; None for channels that are no marker."""
    patient: str
    dataset: str
    tissue: NDArray[np.bool_] | None = None
    """(Y, X) where the dataset brings one; else it is found by Otsu's threshold."""

    @property
    def panel(self) -> Panel:
        """What its channels are, as the dataset says."""
        panel = Panel.from_names(self.image.channels)
        for position, key in enumerate(self.keys):
            if key is None:
                panel = panel.assign(position, status="background")
            elif is_accession(key) and panel.keys[position] != key:
                panel = panel.assign(position, accession=key)
        return panel

    def normalised(self, folder: Path) -> Path:
        """Name the file in ``folder`` that `prepare` writes."""
        identity = f"{self.dataset}|{self.patient}|{self.image.name}|{self.image.source}"
        return folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npy"


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run trains on."""

    images: tuple[TrainingImage, ...]
    statistics: tuple[Statistics, ...]
    keys: tuple[str, ...]
    """All marker keys, sorted."""


def sources_of_images(paths: Sequence[Path]) -> list[Source]:
    """Take plain images; those with the same channels are one dataset, each its own patient.

    Raises
    ------
    InputError
        No image, or one without a channel that the registry knows.
    """
    found = []
    for path in paths:
        for name in image_names(path):
            image = read_image(path, name)
            keys = tuple(entry.key for entry in Panel.from_names(image.channels).entries)
            if not any(keys):
                message = (
                    f"{path.name}: none of its channels is a known marker "
                    f"({', '.join(image.channels[:8])}). Map them: virtues markers map NAME"
                )
                raise InputError(message)
            panel = hashlib.sha256("\n".join(image.channels).encode()).hexdigest()[:8]
            found.append(Source(image, keys, f"{path.name}:{name}", f"panel-{panel}"))
    if not found:
        message = "no image to train on; expected one file or folder at least"
        raise InputError(message)
    return found


def sources_of_spora(folders: Sequence[Path]) -> list[Source]:
    """Take the training split of spora folders; channels that failed quality control stay out."""
    found = []
    for folder in folders:
        dataset = SporaDataset(folder)
        for tissue in dataset.tissues:
            if tissue.split == "test":
                continue
            found.append(source_of_tissue(dataset, tissue))
    if not found:
        message = "no tissue of a training split in: " + ", ".join(str(f) for f in folders)
        raise InputError(message)
    return found


def source_of_tissue(dataset: SporaDataset, tissue: Tissue) -> Source:
    """Take one tissue of a spora folder; channels that failed quality control stay out."""
    image = dataset.image(tissue)
    known = Panel.from_names(image.channels).entries
    keys = tuple(
        (channel.uniprot_id or entry.key) if channel.qc_pass else None
        for channel, entry in zip(dataset.channels(tissue), known, strict=True)
    )
    return Source(
        image,
        keys,
        tissue.patient_id or tissue.tissue_id,
        tissue.dataset or dataset.path.name,
        dataset.tissue_mask(tissue, image.shape[1:]),
    )


def prepare(sources: Sequence[Source], folder: Path) -> TrainingData:
    """Normalise every image by its dataset's statistics and write it to ``folder``.

    Channels without a marker key are left out. Files that a run before this one wrote are kept.

    Raises
    ------
    InputError
        An image has NaN or negative values, or a dataset has no tissue.
    """
    datasets: dict[str, list[Source]] = {}
    for source in sources:
        channels = "\n".join(source.image.channels)
        digest = hashlib.sha256(channels.encode()).hexdigest()[:8]
        datasets.setdefault(f"{source.dataset}/{digest}", []).append(source)
    images: list[TrainingImage] = []
    statistics: list[Statistics] = []
    for members in datasets.values():
        made, measured = _prepare_dataset(members, folder)
        images += made
        statistics.append(measured)
    keys = sorted({key for image in images for key in image.keys})
    return TrainingData(tuple(images), tuple(statistics), tuple(keys))


def embeddings_for(
    keys: Sequence[str], given: MarkerEmbeddings | None, dim: int
) -> tuple[MarkerEmbeddings, tuple[str, ...]]:
    """Complete embeddings with stand-ins for the keys that have none.

    Returns
    -------
    tuple
        Embeddings of all keys, and the keys that got a stand-in.
    """
    known = MarkerEmbeddings({}) if given is None else given
    missing = tuple(key for key in keys if key not in known)
    if not missing:
        return known, ()
    return known.merge(MarkerEmbeddings.stand_in(missing, dim)), missing


def _prepare_dataset(
    members: Sequence[Source], folder: Path
) -> tuple[list[TrainingImage], Statistics]:
    first = members[0]
    kept = [i for i, key in enumerate(first.keys) if key is not None]
    keys = tuple(str(first.keys[i]) for i in kept)
    channels = tuple(first.image.channels[i] for i in kept)
    tissues = []
    for member in members:
        pixels = member.image.compute(kept)
        tissues.append(tissue_mask(pixels) if member.tissue is None else member.tissue)
    statistics = dataset_statistics(
        first.dataset,
        ((m.image.compute(kept), t) for m, t in zip(members, tissues, strict=True)),
        channels,
        keys,
    )
    made = []
    for member, tissue in zip(members, tissues, strict=True):
        path = member.normalised(folder)
        pixels = member.image.compute(kept)
        upper = upper_quantiles(pixels, tissue)
        normal = normalise(pixels, upper, statistics.mean, statistics.std).astype(np.float16)
        with replacing(path) as new:
            np.save(new, normal)
        made.append(
            TrainingImage(
                path, tissue, keys, member.image.name, member.patient, member.dataset, channels
            )
        )
    return made, statistics
