"""What goes into a database of tissues: images or tables, clinical values, types of cells."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.errors import CheckpointError, InputError, VirtuesError

if TYPE_CHECKING:
    from virtues_core.cohort.patients import CellTables
    from virtues_core.cohort.retrieval import Added, Known, Settings, TissueDatabase
    from virtues_core.infer.listing import Listed
    from virtues_core.model import Checkpoint

ClinicalTable = Annotated[
    Path | None,
    typer.Option(
        "--clinical", help="Clinical table: CSV, TSV or Parquet, a row a patient or a tissue."
    ),
]
CellTypes = Annotated[
    Path | None,
    typer.Option(
        "--types",
        help="Types of cells: CSV or Parquet with tissue_id and cell_type, or tables by `virtues "
        "embed` (a file or a folder). A spora data set may have its own.",
    ),
]


def checkpoint_of(database: "TissueDatabase", name: str, device: str) -> "Checkpoint":
    """Open a checkpoint that was named, or else the one that made the database.

    Raises
    ------
    CheckpointError
        It cannot be opened.
    """
    from virtues_core.cli._options import open_checkpoint

    try:
        return open_checkpoint(name or database.settings.checkpoint, device)
    except CheckpointError as error:
        if name:
            raise
        message = (
            f"{error} It made the database {database.path.name!r}: say where it is now with "
            "--checkpoint."
        )
        raise CheckpointError(message) from error


def images_in(paths: Sequence[Path]) -> "tuple[Listed, ...]":
    """List images, those of a folder that is no image itself too."""
    from virtues_core.infer.listing import list_images
    from virtues_core.read import can_read

    found: list[Path] = []
    for path in paths:
        inside = (
            [] if not path.is_dir() or can_read(path) else sorted(filter(can_read, path.iterdir()))
        )
        found += inside or [path]
    return list_images(found)


def tables_in(paths: Sequence[Path]) -> "CellTables":
    """Open tables of niches."""
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import open_cells

    return open_cells(paths, ("y_px", "x_px"), level="niche", progress=show_progress)


def store_images(
    database: "TissueDatabase",
    images: "Sequence[Listed]",
    model: "Checkpoint",
    known: "Known",
    panel: Path | None,
    batch_size: int,
) -> None:
    """Store tissues from their images, and say what became of them."""
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.retrieval import add_images

    _check_known([name for one in images for name in (one.name, one.image)], known)
    found = add_images(
        database,
        images,
        model,
        known,
        panel=panel,
        batch_size=batch_size,
        progress=show_progress,
    )
    _tell(found, database, known)


def store_tables(database: "TissueDatabase", tables: "CellTables", known: "Known") -> None:
    """Store tissues from tables of their niches, and say what became of them."""
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.retrieval import add_tables

    _check_known(tables.cells["tissue_id"].cat.categories, known)
    _tell(add_tables(database, tables, known, progress=show_progress), database, known)


def _check_known(names: Iterable[str | None], known: "Known") -> None:
    """See that a clinical table that names tissues names some of these.

    Raises
    ------
    InputError
        It names others alone.
    """
    from virtues_core.cohort.patients.wording import some

    if known.clinical is None or known.clinical.tissues is None:
        return
    ours, theirs = {str(name) for name in names if name}, set(known.clinical.tissues.index)
    if not ours & theirs:
        message = (
            f"expected tissues that the clinical table names, found {some(ours)}, where it names "
            f"{some(theirs)}. Name them alike, or another column (--tissue)."
        )
        raise InputError(message)


def is_table(path: Path) -> bool:
    """Tell tables of tokens, and folders of them, from images."""
    if path.suffix == ".zarr":
        return (path / "obsm").is_dir()
    if path.is_dir():
        return any(map(is_table, (*path.glob("*.h5ad"), *path.glob("*.zarr"))))
    return path.suffix == ".h5ad"


def known_of(clinical: Path | None, patient: str, tissue: str, types: Path | None) -> "Known":
    """Read the clinical table and the types of cells."""
    from virtues_core.cli._clinical import tell_notes
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import Columns, open_cells, read_clinical
    from virtues_core.cohort.retrieval import Known, compositions
    from virtues_core.infer.embed_file import read_table

    table = None
    if clinical is not None and patient:
        table = read_clinical(clinical, Columns(patient=patient, tissue=tissue))
        tell_notes(table.notes)
    elif clinical is not None or patient or tissue:
        message = (
            "expected --clinical with --patient, the column that names the patient, found one "
            "without the other."
        )
        raise InputError(message)
    if types is None:
        return Known(table)
    if is_table(types):
        cells = open_cells([types], progress=show_progress).cells
    else:
        cells = read_table(types)
    return Known(table, compositions(cells))


def opened(out: Path, settings: "Settings") -> "TissueDatabase":
    """Make the database, or open the one that is there, if it was built alike."""
    from virtues_core.cohort.retrieval import TissueDatabase

    if not out.exists():
        return TissueDatabase.create(out, settings)
    found = TissueDatabase.open(out)
    found.check_checkpoint(settings.signature, settings.checkpoint)
    if (found.settings.crops, found.settings.small) != (settings.crops, settings.small):
        message = (
            f"expected --crops {found.settings.crops} --small {found.settings.small}, as the "
            f"database {str(out)!r} was built with, found --crops {settings.crops} --small "
            f"{settings.small}. Build another one, or leave the options as they were."
        )
        raise InputError(message)
    return found


def _tell(added: "Added", database: "TissueDatabase", known: "Known") -> None:
    """Say what became of the tissues.

    Raises
    ------
    VirtuesError
        Some failed.
    """
    from virtues_core.cohort.patients.wording import counted, some

    if added.small:
        typer.echo(
            f"note: {len(added.small)} tissues are smaller than 4 × 4 tiles of 128 px and left out "
            f"(--small whole takes them): {', '.join(added.small)}",
            err=True,
        )
    if known.clinical is not None:
        there, own = set(known.clinical.table.index), {*added.made, *added.kept}
        nobody = [t.tissue_id for t in database.tissues() if t.patient_id not in there]
        nobody = [name for name in nobody if name in own]
        if nobody:
            typer.echo(
                f"note: {counted(len(nobody), 'tissue')} of no patient of the clinical table: "
                f"{some(nobody)}.",
                err=True,
            )
    for name, why in added.failed.items():
        typer.echo(f"{name}: failed: {why}", err=True)
    typer.echo(
        f"{database.path}: {len(added.made)} tissues added, {len(added.kept)} there already, "
        f"{len(added.small)} too small; {len(database)} in all"
    )
    if added.failed:
        names = ", ".join(added.failed)
        message = (
            f"{len(added.failed)} tissues failed: {names}. Why is said above. Run the same command "
            "again: only what is missing is computed."
        )
        raise VirtuesError(message)
