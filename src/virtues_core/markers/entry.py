"""One channel of a panel: what it measures, and how that was found out."""

from dataclasses import dataclass
from typing import Literal, get_args

from virtues_core.errors import MarkerError
from virtues_core.markers.registry import is_accession

Status = Literal["resolved", "stain", "background", "review"]
DNA_KEY = "stain:dna"
"""Marker key of every DNA stain: DAPI, Hoechst, iridium intercalator, anti-dsDNA."""
DNA_SYMBOL = "DNA"


@dataclass(frozen=True)
class PanelEntry:
    """What one channel measures, and how that was found out."""

    name: str
    """The channel's name, as the file gives it."""
    accession: str | None = None
    """UniProt accession of the protein; None for what is not a protein or not known."""
    symbol: str = ""
    """Gene symbol, or the name of the complex, stain or background; empty when not known."""
    status: Status = "review"
    """``resolved`` (a protein), ``stain``, ``background`` (not for the model), or ``review``: a
    person has to say."""
    source: str = ""
    """``registry`` (the symbol itself), ``alias``, ``cocktail``, ``isotope`` (a bare metal or
    gas), ``user``, or empty when nothing was found."""
    form: str = ""
    """What about the protein is measured: phosphorylated, cleaved, isoform, complex, cocktail…"""
    note: str = ""
    suggestions: tuple[str, ...] = ()
    """Symbols with a similar name, for a person to look at; never applied."""
    metal: str = ""
    """Metal tag in the name, as ``Dy162``; several are joined by ``+``."""
    keep: bool = True
    """steinbock's column: whether the channel is used at all."""
    ilastik: int | None = None
    """steinbock's column: group for ilastik; None = not used there."""
    deepcell: int | None = None
    """steinbock's column: 1 = nuclear, 2 = cytoplasmic for DeepCell; None = not used there."""

    @property
    def key(self) -> str | None:
        """Key of the marker's embedding: accession, ``stain:dna``, or None = not for the model."""
        if self.status == "resolved":
            return self.accession
        return DNA_KEY if self.status == "stain" and self.symbol == DNA_SYMBOL else None


def check_entry(name: str, accession: str | None, status: str) -> None:
    """Raise a MarkerError where a person's word about a channel cannot be right."""
    if status not in get_args(Status):
        message = f"{name!r}: status {status!r} is none of {', '.join(get_args(Status))}."
        raise MarkerError(message)
    if accession and not is_accession(accession):
        message = (
            f"{name!r}: {accession!r} is not a UniProt accession; expected one like P08575 or "
            "P08575-8 (an isoform). Look the protein up at uniprot.org."
        )
        raise MarkerError(message)
    if bool(accession) != (status == "resolved"):
        message = (
            f"{name!r}: a channel is 'resolved' exactly when it has an accession; found status "
            f"{status!r} with accession {accession or 'none'}."
        )
        raise MarkerError(message)
