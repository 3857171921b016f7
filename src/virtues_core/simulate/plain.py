"""A simulated cohort → plain files: OME-TIFF images, label images and CSV tables."""

from pathlib import Path

from virtues_core.files import replacing
from virtues_core.read import write_labels, write_ome_tiff
from virtues_core.simulate.cohort import Cohort
from virtues_core.simulate.spora import OnTissue, new_folder

PIXEL_SIZE_UM = (1.0, 1.0)


def write_ome_tiffs(
    cohort: Cohort, folder: Path | str, *, on_tissue: OnTissue | None = None
) -> Path:
    """Write a cohort as OME-TIFFs, one folder a dataset; it appears when it is complete.

    ``DATASET/TISSUE.ome.tiff`` is the image, ``TISSUE_cells.tiff`` its cells,
    ``TISSUE_niches.tiff`` its niches (both labels, in ``DATASET/masks``);
    ``tissues.csv``, ``cells.csv``, ``clinical.csv`` (a row a patient) and ``truth.csv`` are the
    tables.

    Parameters
    ----------
    cohort
        From `simulate_cohort`; its tissues are made one after the other.
    folder
        Where to; new or empty.
    on_tissue
        Called after each tissue.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    InputError
        There is something in the folder.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    folder = new_folder(Path(folder))
    with replacing(folder) as root:
        root.mkdir()
        cohort.tissues.to_csv(root / "tissues.csv", index=False)
        cohort.truth.to_csv(root / "truth.csv", index=False)
        cohort.clinical.to_csv(root / "clinical.csv", index=False)
        datasets = dict(zip(cohort.tissues["tissue_id"], cohort.tissues["dataset"], strict=True))
        for number, tissue in enumerate(cohort, start=1):
            place = root / datasets[tissue.name]
            masks = place / "masks"
            image = place / f"{tissue.name}.ome.tiff"
            write_ome_tiff(image, tissue.pixels, tissue.channels, PIXEL_SIZE_UM)
            write_labels(masks / f"{tissue.name}_cells.tiff", tissue.cell_mask, PIXEL_SIZE_UM)
            write_labels(masks / f"{tissue.name}_niches.tiff", tissue.niches, PIXEL_SIZE_UM)
            cells = tissue.cells.copy()
            cells.insert(0, "tissue_id", tissue.name)
            first = number == 1
            cells.to_csv(root / "cells.csv", mode="w" if first else "a", header=first, index=False)
            if on_tissue is not None:
                on_tissue(number, len(cohort), tissue.name)
    return folder
