"""``virtues classify``: learn to tell an outcome by tissues, and tell those of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._clinical import (
    CellPaths,
    ClinicalFile,
    OutFolder,
    PatientColumn,
    Seed,
    TissueColumn,
)
from virtues_core.cli._options import DeviceName

if TYPE_CHECKING:
    from virtues_core.cohort.patients import Columns, PatientCells

Level = Annotated[
    str, typer.Option("--level", help="cell, niche or patch: what the tables' rows are.")
]


def register(app: typer.Typer) -> None:
    """Add ``classify`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True, help="Tell an outcome by tissues: gated attention over their tokens."
    )
    group.command("fit")(fit)
    group.command("predict")(predict)
    app.add_typer(group, name="classify")


def fit(
    context: typer.Context,
    paths: CellPaths,
    clinical: ClinicalFile,
    patient: PatientColumn,
    outcome: Annotated[
        str, typer.Option("--outcome", help="Its column to be told: two classes or more.")
    ],
    out: OutFolder,
    tissue: TissueColumn = "",
    split: Annotated[
        str,
        typer.Option("--split", help="Its column that says train or test; else folds of patients."),
    ] = "",
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against", metavar="NAME=TABLES", help="Other tokens of the same tissues to compare."
        ),
    ] = None,
    level: Level = "cell",
    heads: Annotated[int, typer.Option("--heads", help="Attention heads.")] = 8,
    hidden: Annotated[int, typer.Option("--hidden", help="Width of a head.")] = 256,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Adam's.")] = 1e-4,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Tissues a step.")] = 16,
    epochs: Annotated[int, typer.Option("--epochs", help="At the most.")] = 100,
    patience: Annotated[
        int, typer.Option("--patience", help="Epochs without gain after which it ends.")
    ] = 10,
    validation: Annotated[
        float, typer.Option("--validation", help="Share of training patients to stop by.")
    ] = 0.2,
    runs: Annotated[int, typer.Option("--runs", help="Trainings with other seeds.")] = 5,
    folds: Annotated[int, typer.Option("--folds", help="Of patients, to test on.")] = 5,
    instances: Annotated[
        int, typer.Option("--instances", help="Of a tissue, at the most, to train on.")
    ] = 1024,
    device: DeviceName = "auto",
    seed: Seed = 0,
) -> None:
    """Learn to tell an outcome, and measure how well on patients kept out."""
    from virtues_core.cli._clinical import joined_cells, tell_notes, this_command
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import Columns
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.cohort.tissue_level import MilConfig, MilModel, results_of, save_mil
    from virtues_core.cohort.tissue_level import tissue_level as learn
    from virtues_core.cohort.tissue_level.model_file import FOLDER
    from virtues_core.cohort.tissue_level.results import told
    from virtues_core.model.device import device_named
    from virtues_core.report import write_report

    config = MilConfig(
        heads=heads, hidden=hidden, learning_rate=learning_rate, batch_size=batch_size,
        epochs=epochs, patience=patience, validation=validation, runs=runs, folds=folds,
        split=split, instances=instances, seed=seed,
    )  # fmt: skip
    check_out(out)
    used = tuple(name for name in (outcome, split) if name)
    columns = Columns(patient, tissue=tissue, covariates=used)
    joined = joined_cells(paths, clinical, columns, level=level)
    found = learn(
        joined,
        config,
        outcome=outcome,
        against=_others(against or [], clinical, columns, level),
        device=device_named(device),
        announce=typer.echo,
        progress=show_progress,
    )
    results = results_of(found, joined, this_command(context))
    write_results(results, out)
    said = told(dict(results.summary))
    save_mil(MilModel.of(found, said), out / FOLDER)
    page = write_report(out)
    tell_notes([note for note in found.notes if note not in joined.notes])
    typer.echo(f"{outcome}, {said}")
    typer.echo(f"{page}: {', '.join(found.tissues.classes)}, {len(found.tissues)} tissues")


def predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of virtues classify fit.")],
    paths: CellPaths,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write, a row a tissue.")],
    attention: Annotated[
        Path | None,
        typer.Option("--attention", help="Parquet: the weight of each cell or niche, and where."),
    ] = None,
) -> None:
    """Tell tissues: probabilities, with the least and the most that a run says."""
    from virtues_core.cli._clinical import tell_notes
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import open_cells
    from virtues_core.cohort.tissue_level import load_mil
    from virtues_core.cohort.tissue_level import predict as tell
    from virtues_core.errors import InputError
    from virtues_core.files import replacing

    for path, ending in ((out, ".csv"), (attention, ".parquet")):
        if path is not None and path.suffix != ending:
            message = f"expected a name that ends in {ending}, found {path.name!r}."
            raise InputError(message)
    known = load_mil(model)
    cells = open_cells(paths, level=known.level, progress=show_progress)
    found = tell(known, cells, progress=show_progress)
    with replacing(out) as new:
        found.tissues.to_csv(new, index=False)
    if attention is not None:
        number = f"{known.level}_id"
        rows = cells.cells[["tissue_id", number, "patient_id", "x_um", "y_um"]]
        with replacing(attention) as new:
            rows.assign(attention=found.attention).to_parquet(new, index=False)
    tell_notes(found.notes)
    counts = found.tissues["predicted"].value_counts()
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    typer.echo(f"{out}: {len(found.tissues)} tissues ({said})")


def _others(
    against: Sequence[str], clinical: Path, columns: "Columns", level: str
) -> "dict[str, PatientCells]":
    """Open what is compared with, by name.

    Raises
    ------
    InputError
        No name, or one that is there twice; tokens that are not finite.
    """
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients import check_values, join, open_cells, read_clinical
    from virtues_core.errors import InputError

    found: dict[str, PatientCells] = {}
    for text in against:
        name, _, tables = text.partition("=")
        if not name or not tables or name in found:
            message = (
                f"--against: expected NAME=TABLES, each name once, found {text!r}. Such as "
                "kronos=tokens/kronos."
            )
            raise InputError(message)
        cells = open_cells([tables], level=level, progress=show_progress)
        check_values(cells, "tokens", show_progress)  # they are read last, after the training
        found[name] = join(cells, read_clinical(clinical, columns))
    return found
