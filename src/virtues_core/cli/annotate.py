"""``virtues annotate``: learn types from labelled cells, type others, and say how well."""

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``annotate`` to the command line."""
    group = typer.Typer(help="Learn types from labelled cells, type others, say how well.")
    group.callback()(_annotate)
    group.command("fit")(fit)
    group.command("predict")(predict)
    group.command("evaluate")(evaluate)
    app.add_typer(group, name="annotate")


def _annotate() -> None:
    """Learn types from labelled cells, type others, say how well."""


def fit(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="REF...", help="Tables by `virtues embed`, .h5ad or .zarr."),
    ],
    label: Annotated[str, typer.Option("--label", help="Column of obs with the labels.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="forest: to carry types to another cohort; logistic: for more of this one.",
        ),
    ] = "forest",
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out", min=0, max=1, help="Share of patients to measure it on first; 0 for none."
        ),
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Draws patients, cells and trees.")] = 0,
) -> None:
    """Learn types from the labelled cells of one or more tables."""
    from virtues_core.cli._options import expand
    from virtues_core.cohort import check_method, fit_classifier, read_table, save_classifier
    from virtues_core.cohort.scores import told

    chosen = check_method(method)
    tables = [read_table(path) for path in expand(paths)]
    found = fit_classifier(tables, label, chosen, held_out=held_out, seed=seed)
    save_classifier(found.classifier, out)
    if found.held_out is not None:
        typer.echo(f"on patients kept out:\n{told({'F1': found.held_out})}")
    _note(found.warnings)
    cells = sum(found.classifier.cells.values())
    typer.echo(f"{out}: {method} of {len(found.classifier.classes)} classes, {cells} cells")


def predict(
    path: Annotated[Path, typer.Argument(metavar="TABLE", help="By `virtues embed`.")],
    model: Annotated[Path, typer.Option("--model", help="By `virtues annotate fit`.")],
    out: Annotated[Path, typer.Option("--out", help="The .h5ad or .zarr to write.")],
    unsure_below: Annotated[
        float,
        typer.Option("--unsure-below", help="Cells less probable than this are 'unsure'."),
    ] = 0.0,
) -> None:
    """Type the cells of a table: cell_type_predicted, and cell_type where it has no labels."""
    from virtues_core.cohort import (
        annotate,
        load_classifier,
        read_table,
        write_annotation,
        write_table,
    )

    classifier = load_classifier(model)
    table = read_table(path)
    found = annotate(table, classifier, unsure_below=unsure_below)
    write_annotation(table, found, classifier)
    write_table(table, out)
    _note(found.warnings)
    counts = table.obs[f"{classifier.level}_type_predicted"].value_counts()
    said = ", ".join(f"{name} {n}" for name, n in counts.items() if n)
    typer.echo(f"{out}: {len(found.types)} typed ({said})")


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="TABLE", help="By `virtues annotate predict`.")],
    label: Annotated[str, typer.Option("--label", help="Column of obs with the truth.")],
    out: Annotated[Path, typer.Option("--json", help="The JSON file to write.")],
) -> None:
    """Set types against labels: F1 by class, confusion matrix, calibration curve."""
    from virtues_core.cohort import read_table, score_annotation
    from virtues_core.cohort.scores import told
    from virtues_core.files import replacing

    scores, notes = score_annotation(read_table(path), label)
    with replacing(out) as new:
        new.write_text(json.dumps(scores.to_dict(), indent=1, ensure_ascii=False), "utf-8")
    typer.echo(told({"F1": scores}))
    _note(notes)


def _note(warnings: tuple[str, ...]) -> None:
    for text in warnings:
        typer.echo(f"note: {text}", err=True)
