"""``virtues train-label``: fine-tune a checkpoint to tell a label of a cohort's tissues."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import CheckpointName, DeviceName

if TYPE_CHECKING:
    from virtues_core.cohort.tissue_scores import TissueScores
    from virtues_core.model.label_file import LabelModel
    from virtues_core.train.label import Epoch
    from virtues_core.train.labels import LabelledTissues

EPOCHS, CROPS_PER_TISSUE, BATCH_SIZE, LEARNING_RATE = 20, 4, 8, 1e-4
"""Defaults of `LabelConfig`, which takes PyTorch to import; a test holds them to it."""
PARTS = ("train", "validation", "test")


def register(app: typer.Typer) -> None:
    """Add ``train-label`` to the command line."""
    app.command("train-label")(train_label)


def train_label(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="A spora folder.")],
    label: Annotated[
        str, typer.Option("--label", help="Clinical column of metadata/tissues.parquet.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    checkpoint: CheckpointName = "demo",
    epochs: Annotated[int, typer.Option("--epochs", help="At the most.")] = EPOCHS,
    crops: Annotated[
        int, typer.Option("--crops", help="Crops of each tissue in an epoch.")
    ] = CROPS_PER_TISSUE,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Crops at once.")] = BATCH_SIZE,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Highest, of the encoder.")
    ] = LEARNING_RATE,
    device: DeviceName = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Draws patients, weights, crops.")] = 0,
) -> None:
    """Fine-tune for a label of tissues, for virtues attention --label-model.

    Patients are parted into those to train on, to stop by and to test on. Ctrl-C ends the training
    after the step in hand and keeps the best weights so far.
    """
    from virtues_core.cli._options import open_checkpoint
    from virtues_core.files import replacing
    from virtues_core.model.label_file import check_place, save_label_model
    from virtues_core.run_dir import StatusWriter
    from virtues_core.train.label import LabelConfig
    from virtues_core.train.labels import labelled_tissues, tune_for_label
    from virtues_core.train.signals import noted_signals

    config = LabelConfig(
        epochs=epochs,
        crops_per_tissue=crops,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    check_place(out)
    tissues = labelled_tissues(cohort, label, seed=seed)
    counts = ", ".join(f"{len(tissues.of(part))} {part}" for part in PARTS)
    typer.echo(f"{label}: {', '.join(tissues.classes)}; tissues: {counts} ({tissues.split})")
    for text in tissues.notes:
        typer.echo(f"note: {text}")
    start = open_checkpoint(checkpoint, device)

    def told(epoch: "Epoch") -> None:
        status = StatusWriter.current()
        if status is not None:
            status.update(epoch.number / epochs, f"epoch {epoch.number} of {epochs}")
        _told(epoch)

    with replacing(out) as new, noted_signals() as stopped:
        cache = new.with_name("normalised")
        tuned = tune_for_label(config, tissues, label, start, cache, on_epoch=told, stopped=stopped)
        save_label_model(tuned.model, new)
    if tuned.stand_ins:
        typer.echo(f"note: known by name only, without an embedding: {', '.join(tuned.stand_ins)}")
    if tuned.fitted.stopped:
        typer.echo(f"stopped; the best weights so far are in {out}", err=True)
        raise typer.Exit(130)
    scores = held_out_scores(tuned.model, tissues, batch_size=batch_size, seed=seed)
    model = replace(tuned.model, held_out=scores.to_dict())
    save_label_model(model, out)
    typer.echo(model.told())
    typer.echo(f"{out}: {', '.join(tissues.classes)}, epoch {tuned.fitted.best.number}")


def held_out_scores(
    model: "LabelModel", tissues: "LabelledTissues", *, batch_size: int, seed: int
) -> "TissueScores":
    """Tell the label of the tissues to test on, as virtues attention does, and score that."""
    from virtues_core.cli._options import tile_progress
    from virtues_core.cohort.tissue_scores import score_tissues
    from virtues_core.infer.spatial import spatial_attention

    test = tissues.of("test")
    said = []
    for tissue in test:
        found = spatial_attention(
            tissue.source.image,
            tissue.source.panel,
            model,
            stride_px=128,
            batch_size=batch_size,
            on_tile=tile_progress,
        )
        said.append(model.classes[int(found.probabilities.argmax())])
    labels = [tissues.classes[tissue.label] for tissue in test]
    patients = [f"{tissue.source.dataset}/{tissue.source.patient}" for tissue in test]
    return score_tissues(labels, said, patients, seed=seed)


def _told(epoch: "Epoch") -> None:
    """Print one line an epoch."""
    typer.echo(
        f"epoch {epoch.number}: loss {epoch.loss:.4f}, validation {epoch.validation_loss:.4f}"
    )
