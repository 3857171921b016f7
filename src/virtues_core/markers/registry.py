"""The proteins, stains and background channels that the package knows, and how names find them."""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources

from virtues_core.errors import MarkerError
from virtues_core.markers import names

FORMS = (
    "",
    "phosphorylated",
    "cleaved",
    "methylated",
    "acetylated",
    "complex",
    "cocktail",
    "isoform",
    "carbohydrate",
    "stain",
    "background",
)
COLUMNS = ("symbol", "accession", "form", "aliases", "note")
_ACCESSION = re.compile(
    r"(?:[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:-[0-9]{1,2})?"
)
_PHOSPHO = re.compile(r"^(?:[Pp]hospho(?:rylated)?[-_ ]*|p[-_ ]+)(?=\w)|^p(?=[A-Z][A-Za-z0-9])")
_PHOSPHO_SITE = re.compile(r"(?:phospho[-_ ]?)?p?-?(?:ser|thr|tyr|[STY])[-_ ]?\d+(?:[-/,_ ]\w+)*")
_COUNTED = ("DNA", "Membrane")  # stains that panels number
_CLEAVED = re.compile(r"^cleaved[-_ ]*(?=\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """One row of the registry: something that a channel can measure."""

    symbol: str
    """Gene symbol, or the name of a complex, carbohydrate or stain."""
    accession: str | None
    """UniProt accession (human), with the isoform's number where one is meant; else None."""
    form: str = ""
    """One of `FORMS`; empty for the plain protein."""
    aliases: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Match:
    """How a name found its target."""

    target: Target
    source: str
    """``registry`` (the symbol or accession itself), ``alias``, or ``cocktail``."""


def is_accession(text: str) -> bool:
    """Whether a text has the form of a UniProt accession (``P08575``, ``P08575-8``)."""
    return _ACCESSION.fullmatch(text) is not None


@dataclass(frozen=True)
class Registry:
    """Targets, and the normalised names by which they are found."""

    targets: tuple[Target, ...]
    index: Mapping[str, Target]
    """`names.alias_key` of each symbol and alias → its target."""

    @classmethod
    def from_targets(cls, targets: Iterable[Target]) -> "Registry":
        """Index targets by their symbols and aliases.

        Raises
        ------
        MarkerError
            A name belongs to two targets, or a row is not well formed.
        """
        rows = tuple(targets)
        index: dict[str, Target] = {}
        for row in rows:
            if row.form not in FORMS or (row.accession and not is_accession(row.accession)):
                message = (
                    f"registry row {row.symbol!r} has accession {row.accession!r} and form "
                    f"{row.form!r}; expected a UniProt accession and one of {', '.join(FORMS[1:])}."
                )
                raise MarkerError(message)
            for alias in row.aliases:
                other = index.setdefault(names.alias_key(alias), row)
                if other is not row:
                    message = (
                        f"{alias!r} names both {other.symbol} ({other.form or 'protein'}) and "
                        f"{row.symbol} ({row.form or 'protein'}); a name may have one target only."
                    )
                    raise MarkerError(message)
        for row in sorted(rows, key=lambda row: bool(row.form)):  # a symbol is the plain protein
            index.setdefault(names.alias_key(row.symbol), row)
            if row.accession and not row.form:
                index.setdefault(names.alias_key(row.accession), row)
        return cls(rows, index)

    @classmethod
    def load(cls) -> "Registry":
        """Read the table that comes with the package."""
        text = resources.files("virtues_core.markers").joinpath("registry.csv")
        rows = csv.DictReader(io.StringIO(text.read_text("utf-8"), newline=""))
        return cls.from_targets(
            Target(
                row["symbol"],
                row["accession"] or None,
                row["form"],
                tuple(filter(None, row["aliases"].split("|"))),
                row["note"],
            )
            for row in rows
        )

    def find(self, text: str) -> Match | None:
        """Find what a name without metal tags means, exactly; None where it is not known.

        Tried in this order: the name as it is; without clone, lot, fluorophore; the name before
        brackets where what the brackets hold does not contradict it; a phosphorylated or cleaved
        form of a known protein; several names joined by ``+``, ``/`` or "and", all known.
        """
        if not text:
            return None
        for variant in dict.fromkeys((text, names.undecorated(text))):
            found = (
                self._exact(variant)
                or self._numbered_stain(variant)
                or self._bracketed(variant)
                or self._modified(variant)
                or self._joined(variant)
            )
            if found:
                return found
        return None

    def suggest(self, text: str, count: int = 3) -> tuple[str, ...]:
        """Symbols of targets with a similar name, best first: for a person to look at only."""
        key = names.alias_key(names.undecorated(text))
        pieces = [key, *(names.alias_key(p) for p in re.split(r"[\W_]+", text) if len(p) > 2)]
        near: list[str] = []
        for piece in pieces:
            near += [piece] if piece in self.index else []
            near += difflib.get_close_matches(piece, self.index, n=count, cutoff=0.75)
        symbols = (self.index[n].symbol for n in near if self.index[n].form != "background")
        return tuple(dict.fromkeys(symbols))[:count]

    def _exact(self, text: str) -> Match | None:
        target = self.index.get(names.alias_key(text))
        if target is None:
            return None
        itself = names.alias_key(text) in map(
            names.alias_key, (target.symbol, target.accession or "")
        )
        return Match(target, "registry" if itself else "alias")

    def _numbered_stain(self, text: str) -> Match | None:
        """DAPI2, DNA 3, Blank_7: stains and background channels carry running numbers."""
        stem = re.sub(r"[-_ ]*(?:R|C|cyc)?[-_ ]?\d+(?:[-_ ]\d+)*$", "", text)
        found = self._exact(stem) if len(stem) > 2 and stem != text else None
        counted = found and (found.target.form == "background" or found.target.symbol in _COUNTED)
        return found if counted else None

    def _bracketed(self, text: str) -> Match | None:
        outer, inner = names.parenthesised(text)
        found = (self._exact(outer) or self._joined(outer)) if inner and outer else None
        if found is None:
            return None
        others = [match.target for match in map(self._exact, inner) if match]
        if any(other.accession != found.target.accession for other in others):
            return None  # two different proteins: for a person to decide
        if any(_PHOSPHO_SITE.fullmatch(i) or i.lower().startswith("phospho") for i in inner):
            return _in_form(found, "phosphorylated")
        special = [other for other in others if other.form]
        return Match(special[0], "alias") if special else Match(found.target, "alias")

    def _modified(self, text: str) -> Match | None:
        for pattern, form in ((_PHOSPHO, "phosphorylated"), (_CLEAVED, "cleaved")):
            rest = pattern.sub("", text, count=1)
            found = self._exact(rest) if rest != text else None
            if found and found.target.accession and found.target.form in ("", "cocktail", form):
                return _in_form(found, form)
        return None

    def _joined(self, text: str) -> Match | None:
        pieces = names.parts(text)
        found = [self._exact(p) or self._exact(names.undecorated(p)) for p in pieces]
        if len(pieces) < 2 or not all(found):
            return self._exact(pieces[0]) if len(pieces) == 1 and pieces[0] != text else None
        targets = [match.target for match in found if match]
        first = targets[0]
        if all((t.accession, t.form) == (first.accession, first.form) for t in targets):
            return Match(first, "alias")
        if not all(t.accession for t in targets):
            return None
        note = f"measures {' + '.join(pieces)}; stands under the first"
        return Match(replace(first, form="cocktail", note=note), "cocktail")


def _in_form(match: Match, form: str) -> Match:
    return Match(replace(match.target, form=form), "alias")
