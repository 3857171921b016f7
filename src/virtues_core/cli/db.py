"""``virtues db``: a database of tissues, and the tissues in it that are like a given one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtues_core.cli._cohort import checkpoint_anywhere
from virtues_core.cli._db_evaluate import DatabaseFile, evaluate
from virtues_core.cli._options import DeviceName, ImageName, PanelFile, TilesAtOnce
from virtues_core.errors import InputError, VirtuesError

if TYPE_CHECKING:
    from virtues_core.cohort.retrieval import (
        Added,
        Known,
        Match,
        Search,
        Settings,
        TissueDatabase,
    )

OwnCheckpoint = Annotated[
    str,
    typer.Option("--checkpoint", help="Folder, file, hub name, or demo; the database's own by "
                 "default."),
]  # fmt: skip
ClinicalTable = Annotated[
    Path | None,
    typer.Option(
        "--clinical", help="Clinical table: CSV, TSV or Parquet, a row a patient or a tissue."
    ),
]
PatientColumn = Annotated[str, typer.Option("--patient", help="Its column that names the patient.")]
TissueColumn = Annotated[
    str,
    typer.Option("--tissue", help="Its column that names the tissue, if it has a row a tissue."),
]
CellTypes = Annotated[
    Path | None,
    typer.Option(
        "--types",
        help="Types of cells: CSV or Parquet with tissue_id and cell_type, or tables by `virtues "
        "embed` (a file or a folder). A spora data set may have its own.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``db`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True, help="A database of tissues; the tissues in it that are like one."
    )
    for command in (build, add, remove, query, evaluate):
        group.command(command.__name__)(command)
    app.add_typer(group, name="db")


def build(
    cohort: Annotated[
        list[str],
        typer.Argument(
            metavar="COHORT...",
            help="Images, a spora folder, or tables by `virtues embed --level niche` (a folder).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    checkpoint: Annotated[
        str,
        typer.Option(
            "--checkpoint",
            help="Folder, file, hub name; demo by default, of tables what they say.",
        ),
    ] = "",
    crops: Annotated[
        str,
        typer.Option("--crops", help="4: the central 4 × 4 tiles of 128 px; all: all with tissue."),
    ] = "4",
    small: Annotated[
        str,
        typer.Option(
            "--small", help="Tissues with fewer than 4 × 4 tiles: refuse them, or take them whole."
        ),
    ] = "refuse",
    clinical: ClinicalTable = None,
    patient: PatientColumn = "",
    tissue: TissueColumn = "",
    types: CellTypes = None,
    panel: PanelFile = None,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
) -> None:
    """Store niche tokens, thumbnails and clinical values of tissues; goes on where it was."""
    from virtues_core.cli._options import expand, open_checkpoint, show_progress
    from virtues_core.cohort.patients import open_cells
    from virtues_core.cohort.retrieval import Settings, add_images, add_tables
    from virtues_core.infer import checkpoint_signature
    from virtues_core.infer.listing import list_images

    paths, known = expand(cohort), _known(clinical, patient, tissue, types)
    if all(map(_is_table, paths)):
        tables = open_cells(paths, ("y_px", "x_px"), level="niche")
        said = tables.files[0].made_with.checkpoint
        name = checkpoint_anywhere(checkpoint) if checkpoint else said
        settings = Settings(name, tables.signature, tables.dim, crops, small)
        database = _opened(out, settings)
        _tell(add_tables(database, tables, known, progress=show_progress), database)
        return
    name = checkpoint_anywhere(checkpoint or "demo")
    model = open_checkpoint(name, device)
    signature = checkpoint_signature(model)
    settings = Settings(name, signature, model.config.model_dim, crops, small)
    images = list_images(paths)
    database = _opened(out, settings)
    found = add_images(
        database,
        images,
        model,
        known,
        panel=panel,
        batch_size=batch_size,
        progress=show_progress,
    )
    _tell(found, database)


def add(
    path: DatabaseFile,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Images, or spora folders.")
    ],
    checkpoint: OwnCheckpoint = "",
    clinical: ClinicalTable = None,
    patient: PatientColumn = "",
    tissue: TissueColumn = "",
    types: CellTypes = None,
    panel: PanelFile = None,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
) -> None:
    """Add tissues to a database."""
    from virtues_core.cli._options import expand, open_checkpoint, show_progress
    from virtues_core.cohort.retrieval import TissueDatabase, add_images
    from virtues_core.infer.listing import list_images

    database = TissueDatabase.open(path)
    found = add_images(
        database,
        list_images(expand(images)),
        open_checkpoint(checkpoint or database.settings.checkpoint, device),
        _known(clinical, patient, tissue, types),
        panel=panel,
        batch_size=batch_size,
        progress=show_progress,
    )
    _tell(found, database)


def remove(
    path: DatabaseFile,
    tissues: Annotated[list[str], typer.Argument(metavar="TISSUE...", help="Their names.")],
) -> None:
    """Take tissues out of a database."""
    from virtues_core.cohort.retrieval import TissueDatabase

    database = TissueDatabase.open(path)
    database.remove(tissues)
    typer.echo(f"{path}: {len(tissues)} removed, {len(database)} left")


def query(
    path: DatabaseFile,
    image_path: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE", help="An image file or folder, or a tissue of the database."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--json", help="JSON file to write the matches to.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="How many.")] = 3,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Only tissues with COLUMN=VALUE; may be given several times."),
    ] = None,
    patient: Annotated[
        str, typer.Option("--patient", help="Whose tissue it is, where its files do not say.")
    ] = "",
    same_patient: Annotated[
        bool, typer.Option("--same-patient", help="Other tissues of this patient may match too.")
    ] = False,
    checkpoint: OwnCheckpoint = "",
    image: ImageName = None,
    panel: PanelFile = None,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
) -> None:
    """Find the tissues nearest to one by the 2-Wasserstein distance of their niches, exactly."""
    from virtues_core.cohort.retrieval import TissueDatabase

    database = TissueDatabase.open(path)
    asked = _where(where or [])
    if Path(image_path).exists():
        tokens, said, own = _of_image(
            database, Path(image_path), image, panel, checkpoint, device, batch_size
        )
    else:
        tokens, said = database.tokens(image_path), database.tissue(image_path).patient_id
        own = (image_path,)
    patient = patient or said
    found = database.search(
        tokens,
        top,
        where=asked,
        exclude_patient="" if same_patient else patient,
        exclude_tissues=own,
    )
    matches = database.matches(found)
    if out is not None:
        told = {
            "query": image_path, "image": image, "patient_id": patient, "where": asked, "top": top,
            "same_patient": same_patient, "niches": len(tokens),
        }  # fmt: skip
        _write_json(out, database, told, found, matches)
    for rank, match in enumerate(matches, start=1):
        clinical = ", ".join(f"{name} {value}" for name, value in match.clinical.items())
        whose = f" of {match.patient_id}" if match.patient_id else ""
        typer.echo(f"{rank}  {match.distance:.4f}  {match.tissue_id}{whose}  {clinical}".rstrip())
    typer.echo(
        f"{found.candidates} candidates, {found.solved} of them solved exactly; the others are "
        "farther by a proven bound"
    )


def _of_image(
    database: "TissueDatabase",
    path: Path,
    image: str | None,
    panel: Path | None,
    checkpoint: str,
    device: str,
    batch_size: int,
) -> tuple[Any, str, tuple[str, ...]]:
    """Compute the tokens of an image, say whose it is, and which tissue where it is stored."""
    from virtues_core.cli._options import open_checkpoint
    from virtues_core.cohort.retrieval import niche_tokens
    from virtues_core.infer import checkpoint_signature
    from virtues_core.markers import Panel
    from virtues_core.read import read_image
    from virtues_core.read.spora import SporaDataset, claims, tissues_by_name

    opened = read_image(path, image)
    name = checkpoint or database.settings.checkpoint
    model = open_checkpoint(name, device)
    database.check_checkpoint(checkpoint_signature(model), name)
    channels = None if panel is None else Panel.from_csv(panel)
    tokens = niche_tokens(opened, channels, model, database.settings, batch_size=batch_size)
    spora = path.is_dir() and claims(path)
    patient = tissues_by_name(SporaDataset(path))[opened.name].patient_id if spora else None
    stored = [one for one in database.tissues() if one.is_of(path, opened.name)]
    known = next((one.patient_id for one in stored), "")
    return tokens, patient or known, tuple(one.tissue_id for one in stored)


def _where(words: Sequence[str]) -> dict[str, str]:
    """Read COLUMN=VALUE."""
    found: dict[str, str] = {}
    for word in words:
        column, equals, value = (part.strip() for part in word.partition("="))
        if not (column and equals and value) or column in found:
            message = (
                "expected --where COLUMN=VALUE, each column once, found "
                f"{word!r}{' again' if column in found else ''}."
            )
            raise InputError(message)
        found[column] = value
    return found


def _write_json(
    out: Path,
    database: "TissueDatabase",
    query: dict[str, Any],
    found: "Search",
    matches: "Sequence[Match]",
) -> None:
    from virtues_core import __version__
    from virtues_core.files import replacing

    told = {
        "query": query,
        "matches": [
            {
                "rank": rank,
                "tissue_id": match.tissue_id,
                "distance": match.distance,
                "patient_id": match.patient_id,
                "clinical": dict(match.clinical),
                "composition": match.composition,
                "source": match.source,
                "image": match.image,
            }
            for rank, match in enumerate(matches, start=1)
        ],
        "candidates": found.candidates,
        "compared": found.compared,
        "solved": found.solved,
        "database": str(database.path),
        "settings": database.settings.to_dict(),
        "version": __version__,
    }
    with replacing(out) as new:
        new.write_text(json.dumps(told, indent=1, ensure_ascii=False), "utf-8")


def _is_table(path: Path) -> bool:
    """Tell tables of tokens, and folders of them, from images."""
    if path.suffix == ".zarr":
        return (path / "obsm").is_dir()
    if path.is_dir():
        return any(map(_is_table, (*path.glob("*.h5ad"), *path.glob("*.zarr"))))
    return path.suffix == ".h5ad"


def _known(clinical: Path | None, patient: str, tissue: str, types: Path | None) -> "Known":
    """Read the clinical table and the types of cells."""
    from virtues_core.cli._clinical import tell_notes
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
    cells = open_cells([types]).cells if _is_table(types) else read_table(types)
    return Known(table, compositions(cells))


def _opened(out: Path, settings: "Settings") -> "TissueDatabase":
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


def _tell(added: "Added", database: "TissueDatabase") -> None:
    """Say what became of the tissues.

    Raises
    ------
    VirtuesError
        Some failed.
    """
    if added.small:
        typer.echo(
            f"note: {len(added.small)} tissues are smaller than 4 × 4 tiles of 128 px and left out "
            f"(--small whole takes them): {', '.join(added.small)}",
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
