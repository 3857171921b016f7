"""``virtues db``: a database of tissues, and the tissues in it that are like a given one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtues_core.cli._clinical import PatientColumn, TissueColumn
from virtues_core.cli._cohort import checkpoint_anywhere
from virtues_core.cli._db_evaluate import DatabaseFile, evaluate
from virtues_core.cli._db_tissues import (
    CellTypes,
    ClinicalTable,
    checkpoint_of,
    images_in,
    is_table,
    known_of,
    opened,
    store_images,
    store_tables,
    tables_in,
)
from virtues_core.cli._options import DeviceName, ImageName, PanelFile, TilesAtOnce
from virtues_core.errors import InputError

if TYPE_CHECKING:
    from virtues_core.cohort.retrieval import Match, Search, TissueDatabase

OwnCheckpoint = Annotated[
    str,
    typer.Option("--checkpoint", help="Folder, file, hub name, or demo; the database's own by "
                 "default."),
]  # fmt: skip


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
            help="Images or a folder of them, a spora folder, or tables by `virtues embed --level "
            "niche` (a folder).",
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
    from virtues_core.cli._options import expand, open_checkpoint
    from virtues_core.cohort.retrieval import Settings
    from virtues_core.infer import checkpoint_signature

    paths, known = expand(cohort), known_of(clinical, patient, tissue, types)
    if all(map(is_table, paths)):
        tables = tables_in(paths)
        said = tables.files[0].made_with.checkpoint
        name = checkpoint_anywhere(checkpoint) if checkpoint else said
        database = opened(out, Settings(name, tables.signature, tables.dim, crops, small))
        store_tables(database, tables, known)
        return
    images = images_in(paths)
    name = checkpoint_anywhere(checkpoint or "demo")
    model = open_checkpoint(name, device)
    signature = checkpoint_signature(model)
    database = opened(out, Settings(name, signature, model.config.model_dim, crops, small))
    store_images(database, images, model, known, panel, batch_size)


def add(
    path: DatabaseFile,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="As of build: images, folders, tables.")
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
    from virtues_core.cli._options import expand
    from virtues_core.cohort.retrieval import TissueDatabase

    database = TissueDatabase.open(path)
    paths, known = expand(images), known_of(clinical, patient, tissue, types)
    if all(map(is_table, paths)):
        store_tables(database, tables_in(paths), known)
        return
    listed = images_in(paths)
    model = checkpoint_of(database, checkpoint, device)
    store_images(database, listed, model, known, panel, batch_size)


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
    from virtues_core.cli._clinical import tell_notes
    from virtues_core.cohort.retrieval import TissueDatabase

    database = TissueDatabase.open(path)
    asked = _where(where or [])
    if Path(image_path).exists():
        tokens, said, own = _of_image(
            database, Path(image_path), image, panel, checkpoint, device, batch_size
        )
    else:
        try:
            tokens, said = database.tokens(image_path), database.tissue(image_path).patient_id
        except InputError as error:
            message = f"{error} There is no image at {image_path!r} either."
            raise InputError(message) from error
        own = (image_path,)
    if patient and said and patient != said:
        message = (
            f"expected the patient {said!r}, whose tissue {image_path!r} is known to be, found "
            f"--patient {patient!r}: tissues of {said!r} would match. Leave --patient out."
        )
        raise InputError(message)
    patient = patient or said
    found = database.search(
        tokens,
        top,
        where=asked,
        exclude_patient="" if same_patient else patient,
        exclude_tissues=own,
    )
    matches = database.matches(found)
    tell_notes(_doubts(database, patient, matches, same_patient=same_patient))
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


def _doubts(
    database: "TissueDatabase", patient: str, matches: "Sequence[Match]", *, same_patient: bool
) -> list[str]:
    """Say what keeps matches from being what they seem: tissue of the query's own patient."""
    from virtues_core.cohort.patients.wording import some
    from virtues_core.cohort.retrieval import SAME

    found = []
    if not patient and not same_patient:
        found.append(
            "whose tissue the query is, is not known, so that other tissues of this patient may be "
            "among the matches (--patient)."
        )
    nobody = [one.tissue_id for one in matches if not one.patient_id]
    if patient and nobody and not same_patient:
        found.append(f"matches of no known patient, maybe of {patient}: {some(nobody)}.")
    same = [one.tissue_id for one in matches if one.distance < SAME]
    if same:
        found.append(f"at a distance of 0, so the same tissue under another name: {some(same)}.")
    return found


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
    from virtues_core.cohort.retrieval import niche_tokens
    from virtues_core.infer import checkpoint_signature
    from virtues_core.markers import Panel
    from virtues_core.read import read_image
    from virtues_core.read.spora import SporaDataset, claims, tissues_by_name

    tissue = read_image(path, image)
    model = checkpoint_of(database, checkpoint, device)
    database.check_checkpoint(checkpoint_signature(model), checkpoint)
    channels = None if panel is None else Panel.from_csv(panel)
    tokens = niche_tokens(tissue, channels, model, database.settings, batch_size=batch_size)
    spora = path.is_dir() and claims(path)
    patient = tissues_by_name(SporaDataset(path))[tissue.name].patient_id if spora else None
    stored = [one for one in database.tissues() if one.is_of(path, tissue.name)]
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
