"""Protein sequences by accession: from FASTA files, or from UniProt over HTTP, kept on disk."""

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from virtues_core.errors import MarkerError
from virtues_core.files import replacing
from virtues_core.markers.registry import is_accession

UNIPROT_URL = "https://rest.uniprot.org"
UNIPROT_URL_VARIABLE = "VIRTUES_UNIPROT_URL"
CACHE_VARIABLE = "VIRTUES_CACHE"
_OFFLINE = (
    "Check the network, or give the sequences as a FASTA file (`virtues markers embed --fasta`), "
    "or use a ready safetensors file of embeddings."
)


def cache_folder() -> Path:
    """Folder for sequences and embeddings: ``$VIRTUES_CACHE``, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "napari-virtues"
    variable, default = (
        ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    )
    return Path(os.environ.get(variable) or Path.home() / default) / "napari-virtues"


def read_fasta(path: str | Path) -> dict[str, str]:
    """Read a FASTA file: accession (or the header's first word) → sequence, in the file's order.

    Headers are UniProt's (``>sp|P08575|PTPRC_HUMAN …``) or start with the accession itself.

    Raises
    ------
    MarkerError
        The file cannot be read, holds no sequence, repeats one, or has letters that no protein
        has.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"could not read the FASTA file {str(path)!r}: {error}."
        raise MarkerError(message) from error
    return parse_fasta(text, path.name)


def parse_fasta(text: str, origin: str) -> dict[str, str]:
    """Take FASTA text apart; ``origin`` names it in errors. See `read_fasta`."""
    found: dict[str, str] = {}
    head, *records = re.split(r"^>", text.lstrip("\ufeff"), flags=re.MULTILINE)
    if head.strip() or not records:
        message = (
            f"{origin!r} is not FASTA: expected a line that starts with '>' before each sequence, "
            f"found {(text.strip().splitlines() or ['nothing'])[0][:60]!r}."
        )
        raise MarkerError(message)
    for record in records:
        header, _, body = record.partition("\n")
        key = _accession(header)
        if key in found:
            message = f"{origin!r} has more than one sequence for {key!r}; keep one of them."
            raise MarkerError(message)
        found[key] = checked_sequence(body, key)
    return found


def checked_sequence(sequence: str, key: str) -> str:
    """Return a sequence in capitals, without blanks and final stop.

    Raises
    ------
    MarkerError
        It is empty, or holds something that is not an amino acid.
    """
    clean = re.sub(r"\s+", "", sequence).upper().removesuffix("*")
    if not clean:
        message = f"the sequence of {key!r} is empty."
        raise MarkerError(message)
    odd = re.search(r"[^A-Z]", clean)
    if odd:
        message = (
            f"the sequence of {key!r} holds {odd.group()!r} at position {odd.start() + 1}; "
            "expected one-letter amino acids only."
        )
        raise MarkerError(message)
    return clean


def fetch_sequences(
    accessions: Iterable[str],
    *,
    cache: Path | None = None,
    base_url: str | None = None,
    timeout_s: float = 30.0,
    on_done: Callable[[str, int, int], None] = lambda accession, done, total: None,
) -> dict[str, str]:
    """Sequences from UniProt, one request each; what was fetched once is read from disk.

    Parameters
    ----------
    accessions
        UniProt accessions, also of isoforms (``P08575-8``).
    cache
        Folder to keep them in; `cache_folder` by default.
    base_url
        Where UniProt's REST interface is; ``$VIRTUES_UNIPROT_URL``, or UniProt itself.
    timeout_s
        How long to wait for each answer.
    on_done
        Called after each sequence with accession, count so far, and total.

    Raises
    ------
    MarkerError
        A text is no accession, UniProt does not have it, or cannot be reached.
    """
    wanted = list(dict.fromkeys(accessions))
    wrong = [a for a in wanted if not is_accession(a)]
    if wrong:
        message = f"not UniProt accessions: {', '.join(wrong)}; expected some like P08575."
        raise MarkerError(message)
    folder = (cache or cache_folder()) / "uniprot"
    base = (base_url or os.environ.get(UNIPROT_URL_VARIABLE) or UNIPROT_URL).rstrip("/")
    found: dict[str, str] = {}
    for done, accession in enumerate(wanted, start=1):
        file = folder / f"{accession}.fasta"
        kept = _kept(file, accession)
        if kept:
            found[accession] = kept
        else:
            text = _download(f"{base}/uniprotkb/{accession}.fasta", accession, timeout_s)
            found[accession] = _only(text, accession)
            with replacing(file) as new:
                new.write_text(text, "utf-8")
        on_done(accession, done, len(wanted))
    return found


def _accession(header: str) -> str:
    word = (header.split() or [""])[0]
    fields = word.split("|")
    return fields[1] if len(fields) > 1 and is_accession(fields[1]) else word


def _only(text: str, accession: str) -> str:
    sequences = parse_fasta(text, f"UniProt's answer for {accession}")
    if tuple(sequences) != (accession,):
        message = (
            f"asked for {accession}, got {', '.join(sequences)}: the entry was merged or moved. "
            "Give the channel its present accession."
        )
        raise MarkerError(message)
    return sequences[accession]


def _kept(file: Path, accession: str) -> str | None:
    """Sequence in a file of the cache; None where it is not there or damaged."""
    if not file.is_file():
        return None
    try:
        return _only(file.read_text("utf-8"), accession)
    except (MarkerError, UnicodeDecodeError):
        return None


def _download(url: str, accession: str, timeout_s: float) -> str:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        message = f"expected an http or https address for UniProt, found {url!r}."
        raise MarkerError(message)
    try:
        with urlopen(url, timeout=timeout_s) as answer:
            body: bytes = answer.read()
        text = body.decode("utf-8")
    except HTTPError as error:
        code = error.code
        error.close()
        why = "there is no such entry" if code in (400, 404, 410) else f"it answered {code}"
        message = f"could not fetch {accession} from {url}: {why}. {_OFFLINE}"
        raise MarkerError(message) from error
    except (OSError, HTTPException, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or error
        message = f"could not fetch {accession} from {url}: {reason}. {_OFFLINE}"
        raise MarkerError(message) from error
    if not text.strip():  # UniProt's answer for an entry that was deleted
        message = f"UniProt has no sequence for {accession} (the entry was deleted)."
        raise MarkerError(message)
    return text
