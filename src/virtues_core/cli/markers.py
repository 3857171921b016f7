"""``virtues markers``: channel names to proteins, and proteins to embeddings."""

import json
from pathlib import Path
from typing import Annotated

import typer

from virtues_core.cli._options import tell_job
from virtues_core.errors import MarkerError

ESM2_150M = "facebook/esm2_t30_150M_UR50D"


def register(app: typer.Typer) -> None:
    """Add the command's group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Channel names → proteins → embeddings.")
    group.command("map")(map_names)
    group.command("embed")(embed)
    app.add_typer(group, name="markers")


def map_names(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Channel names.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which protein, stain or background each channel name stands for."""
    from virtues_core.markers import Panel

    panel = Panel.from_names(names)
    if as_json:
        fields = ("name", "accession", "symbol", "status", "source")
        rows = [{field: getattr(e, field) for field in fields} for e in panel.entries]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    table = [("name", "protein", "accession", "status", "source", "")]
    for e in panel.entries:
        near = f"similar: {', '.join(e.suggestions)}" if e.suggestions else ""
        remark = "; ".join(filter(None, (e.form, e.note, near)))
        table.append((e.name, e.symbol or "–", e.accession or "–", e.status, e.source, remark))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def embed(
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME…]", help="Channel names or accessions.")
    ] = None,
    panel: Annotated[Path | None, typer.Option(help="A panel's CSV file.")] = None,
    fasta: Annotated[
        Path | None,
        typer.Option(help="Sequences by accession; UniProt is asked only for what it lacks."),
    ] = None,
    model: Annotated[str, typer.Option(help="ESM-2: name on the hub, or folder.")] = ESM2_150M,
    device: Annotated[str, typer.Option(help="Where ESM-2 runs: cpu, cuda, mps.")] = "cpu",
    uniprot_url: Annotated[
        str | None, typer.Option(envvar="VIRTUES_UNIPROT_URL", help="Another UniProt server.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps sequences and embeddings.")
    ] = None,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="No ESM-2: vectors that only tell markers apart.")
    ] = False,
) -> None:
    """Write marker embeddings for named channels, a panel, or all sequences of a FASTA file."""
    from virtues_core.markers import DNA_KEY, MarkerEmbeddings
    from virtues_core.markers.sequences import fetch_sequences, read_fasta

    given = read_fasta(fasta) if fasta else {}
    keys = _keys(names or [], panel) or list(given)
    if not keys:
        message = "nothing to embed: give marker names, --panel or --fasta."
        raise MarkerError(message)
    proteins = [key for key in keys if key != DNA_KEY]
    if stand_in or not proteins:
        made = MarkerEmbeddings.stand_in(keys)
    else:
        from virtues_core.markers.esm import embed_sequences

        missing = [key for key in proteins if key not in given]
        fetched = fetch_sequences(missing, cache=cache, base_url=uniprot_url)
        sequences = {key: (given | fetched)[key] for key in proteins}
        made = embed_sequences(
            sequences, model=model, device=device, cache=cache, on_done=_print_progress
        )
        if DNA_KEY in keys:
            made = made.merge(MarkerEmbeddings.stand_in([DNA_KEY], dim=made.dim))
    made.save(out)
    drawn = f", {len(made.stand_ins)} of them stand-ins" if made.stand_ins else ""
    typer.echo(f"wrote {out}: {len(made)} markers of {made.dim} values{drawn}")


def _keys(names: list[str], panel: Path | None) -> list[str]:
    """Marker keys of names and of a panel's channels, each once; unknown names are an error."""
    from virtues_core.markers import DNA_KEY, Panel
    from virtues_core.markers.registry import is_accession

    direct = [name for name in names if is_accession(name) or name == DNA_KEY]
    named = Panel.from_names(name for name in names if name not in direct)
    unknown = [e for e in named.entries if e.key is None]
    if unknown:
        told = ", ".join(f"{e.name!r} ({e.status})" for e in unknown)
        message = (
            f"no protein to embed for {told}. Give UniProt accessions instead, or leave them out; "
            "`virtues markers map` shows similar names."
        )
        raise MarkerError(message)
    keys: list[str | None] = [*direct, *named.keys]
    if panel is not None:
        entries = [e for e in Panel.from_csv(panel).entries if e.keep]
        keys += [e.key for e in entries]
        left_out = ", ".join(e.name for e in entries if e.key is None)
        if left_out:
            typer.echo(f"left out, no protein known: {left_out}", err=True)
    return list(dict.fromkeys(key for key in keys if key))


def _print_progress(key: str, done: int, total: int) -> None:
    tell_job(done, total, f"protein {done} of {total}")
    typer.echo(f"{done}/{total} {key}", err=True)
