"""A panel: what each channel of an image measures."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from virtues_core.errors import MarkerError
from virtues_core.markers.entry import DNA_KEY, DNA_SYMBOL, PanelEntry, Status, check_entry
from virtues_core.markers.isotopes import is_bare_cadmium, is_bare_element
from virtues_core.markers.names import parse_channel
from virtues_core.markers.panel_csv import read_panel, write_panel
from virtues_core.markers.registry import Match, Registry

_CARRIERS_OF_STAINS = {"Ir": DNA_SYMBOL, "Ru": "Ruthenium"}
_NUMBER = re.compile(r"(?:c|ch|chan|channel|image|page)?[-_ ]?[0-9]{1,3}", re.IGNORECASE)


@dataclass(frozen=True)
class PanelReport:
    """What a person should look at in a panel."""

    duplicates: tuple[str, ...]
    """Names that more than one channel has."""
    blank: tuple[int, ...]
    """Positions, from 0, of channels without a name."""
    review: tuple[PanelEntry, ...]
    """Named channels of which nobody knows what they measure."""
    shared: dict[str, tuple[str, ...]]
    """Accession → names, where several channels show the same protein (two forms, two clones)."""

    @property
    def ok(self) -> bool:
        """Whether nothing stops an analysis: no duplicates, no blanks, nothing to review."""
        return not (self.duplicates or self.blank or self.review)

    def __str__(self) -> str:
        lines = []
        if self.duplicates:
            lines.append(f"more than one channel is called {', '.join(self.duplicates)}")
        if self.blank:
            lines.append(f"no name: channel number {', '.join(str(i + 1) for i in self.blank)}")
        for entry in self.review:
            near = f" (similar: {', '.join(entry.suggestions)})" if entry.suggestions else ""
            lines.append(
                f"not known: {entry.name!r}{near}{f'; {entry.note}' if entry.note else ''}"
            )
        for accession, names in self.shared.items():
            lines.append(f"the same protein {accession} in {', '.join(names)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Panel:
    """The channels of an image, in their order."""

    entries: tuple[PanelEntry, ...]

    @classmethod
    def from_names(cls, names: Iterable[str], registry: Registry | None = None) -> "Panel":
        """Say what each channel measures, from its name alone.

        Parameters
        ----------
        names
            Channel names as an instrument or a person wrote them.
        registry
            Known targets; those of the package by default.

        Examples
        --------
        >>> panel = Panel.from_names(["CD8a(Dy162Di)", "131Xe", "DNA1_Ir191"])
        >>> [(e.status, e.key) for e in panel.entries]
        [('resolved', 'P01732'), ('background', None), ('stain', 'stain:dna')]
        """
        known = registry if registry is not None else Registry.load()
        return cls(tuple(_entry(name, known) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names, as the file gives them."""
        return tuple(entry.name for entry in self.entries)

    @property
    def keys(self) -> tuple[str | None, ...]:
        """Embedding key of each channel; None = not for the model."""
        return tuple(entry.key for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> PanelEntry:
        return self.entries[self.position(name)]

    def position(self, name: str) -> int:
        """Position of the channel with this name.

        Raises
        ------
        MarkerError
            No channel, or more than one, has that name.
        """
        found = [i for i, entry in enumerate(self.entries) if entry.name == name]
        if len(found) != 1:
            what = "no channel" if not found else f"{len(found)} channels"
            message = (
                f"{what} named {name!r} in the panel; its channels are: {', '.join(self.names)}"
            )
            raise MarkerError(message)
        return found[0]

    def assign(
        self,
        name: str | int,
        *,
        accession: str | None = None,
        symbol: str = "",
        status: Status | None = None,
        note: str = "",
    ) -> "Panel":
        """Return the panel with a person's word on one channel (source ``user``).

        Parameters
        ----------
        name
            The channel's name, or its position where names repeat.
        accession
            UniProt accession of the protein; ``stain:dna`` for a DNA stain.
        symbol
            What to call it; looked up in the registry, or the accession, when left out.
        status
            Only needed where there is no accession: ``stain``, ``background`` or ``review``.

        Raises
        ------
        MarkerError
            The accession is not one, the channel does not exist, or accession and status
            contradict each other.
        """
        position = name if isinstance(name, int) else self.position(name)
        old = self.entries[position]
        if accession == DNA_KEY:
            accession, symbol, status = None, DNA_SYMBOL, "stain"
        status = status or ("resolved" if accession else "review")
        check_entry(old.name, accession, status)
        if accession and not symbol:
            rows = Registry.load().targets
            symbol = next((t.symbol for t in rows if t.accession == accession), accession)
        new = replace(
            old,
            accession=accession,
            symbol=symbol,
            status=status,
            source="user",
            form="",
            note=note,
            suggestions=(),
            keep=status != "background",
        )
        return Panel((*self.entries[:position], new, *self.entries[position + 1 :]))

    def report(self) -> PanelReport:
        """Duplicates, blanks, unknown names, and proteins shown by more than one channel."""
        counts = Counter(name for name in self.names if name.strip())
        by_accession: dict[str, list[str]] = {}
        for entry in self.entries:
            if entry.accession and entry.status == "resolved":
                by_accession.setdefault(entry.accession, []).append(entry.name)
        return PanelReport(
            duplicates=tuple(name for name, n in counts.items() if n > 1),
            blank=tuple(i for i, name in enumerate(self.names) if not name.strip()),
            review=tuple(e for e in self.entries if e.status == "review" and e.name.strip()),
            shared={a: tuple(names) for a, names in by_accession.items() if len(names) > 1},
        )

    def to_csv(self, path: str | Path) -> None:
        """Write steinbock's panel columns and ours; see `virtues_core.markers.panel_csv`."""
        write_panel(self.entries, Path(path))

    @classmethod
    def from_csv(cls, path: str | Path, registry: Registry | None = None) -> "Panel":
        """Read a panel that `to_csv` wrote, or steinbock's own.

        Rows without our columns are looked up by their name, as in `from_names`.

        Raises
        ------
        MarkerError
            The file is missing, is no panel, or a row contradicts itself.
        """
        known = registry if registry is not None else Registry.load()
        return cls(read_panel(Path(path), lambda name: _entry(name, known)))


def _entry(name: str, registry: Registry) -> PanelEntry:
    if not name.strip():
        return PanelEntry(name, note="the channel has no name")
    if is_bare_element(name):  # as it is spelled: SI and CA may be proteins
        return PanelEntry(name, None, name.strip(), "background", "isotope", keep=False)
    parsed = parse_channel(name)
    metal = "+".join(parsed.metals)
    match = registry.find(parsed.target)
    doubt = _doubt(name, match)
    if doubt:
        near = (match.target.symbol,) if match else ()
        return PanelEntry(name, note=doubt, suggestions=near, metal=metal)
    if match:
        return _known(name, match, metal)
    if parsed.metals and not parsed.target:
        return _bare_metal(name, metal)
    return PanelEntry(name, suggestions=registry.suggest(parsed.target), metal=metal)


def _doubt(name: str, match: Match | None) -> str:
    """Why a name that may match is left to a person; empty where nothing speaks against it."""
    if is_bare_cadmium(name):
        return f"{name.strip()} may be the metal or the CD number"
    if _NUMBER.fullmatch(name.strip()) and (match is None or match.target.accession):
        return "looks like a channel's number, not its name"  # C3 is no complement here
    return ""


def _known(name: str, match: Match, metal: str) -> PanelEntry:
    target = match.target
    status: Status = "resolved" if target.accession else "review"
    form = target.form
    if form in ("stain", "background"):
        status, form = cast("Status", form), ""
    return PanelEntry(
        name,
        target.accession,
        target.symbol,
        status,
        match.source,
        form,
        target.note,
        metal=metal,
        keep=status != "background",
    )


def _bare_metal(name: str, metal: str) -> PanelEntry:
    stain = _CARRIERS_OF_STAINS.get(metal.split("+", maxsplit=1)[0].rstrip("0123456789"))
    if stain:
        return PanelEntry(name, None, stain, "stain", "isotope", metal=metal)
    note = "no antibody is named beside the metal; if it carries one, say which"
    return PanelEntry(name, None, metal, "background", "isotope", "", note, metal=metal, keep=False)
