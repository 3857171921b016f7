"""What a channel's name says, as an instrument or a person wrote it."""

import re
import unicodedata
from dataclasses import dataclass

from virtues_core.markers.isotopes import split_isotopes

_GREEK = {
    "α": "alpha", "β": "beta", "ß": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon",
    "ζ": "zeta", "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu",
    "σ": "sigma", "ω": "omega",
}  # fmt: skip
_FLUOROPHORE = (
    r"(?:AF|ALEXA ?(?:FLUOR)? ?)(?:350|405|430|488|514|532|546|555|568|594|633|647|660|680|700|"
    r"750|790)|FITC|CY ?(?:2|3|3\.5|5|5\.5|7)|ATTO ?(?:425|488|490LS|532|550|594|647N?)|"
    r"BV ?(?:421|480|510|605|650|711|786)|OPAL ?(?:480|520|540|570|620|650|690|780)|TRITC"
)
_DECORATIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"[_ ]*\d*\(\([^()]*\)\)",  # an IMC lot: CD3_1841((3356))
        r"^(?:anti|hu|human)[-_ ]+",
        r"^\d{1,3}_",  # a number before the name in a folder of TIFFs
        r"[-_ ]+clone\b.*$",
        rf"[-_ ]+(?:{_FLUOROPHORE})(?![A-Za-z0-9])",
        rf"^(?:{_FLUOROPHORE})[-_ ]+",
        r"[-_ ]+(?:cyc|cycle|round|reg|ch)[-_ ]?\d+(?![A-Za-z0-9])",
        # rabbit clones and catalogue names that are no protein's name
        r"[-_ ]+(?:EPR?\d{3,}[A-Z]?(?:-\d+)?|D\d{1,2}[A-Z]\d{1,2}[A-Z]?|SP\d{1,3}|MRQ-?\d+|UMAB\d+|"
        r"RM\d{3}|C8/144B|QBEND/?10|UCHL1/?2?|PGM1?-?R?1|KP1|L26)$",
    )
)
_TRIM = " \t_-.:;,|/\\+&()[]{}"


@dataclass(frozen=True)
class ChannelName:
    """A channel's name, taken apart."""

    raw: str
    """As the file gives it."""
    target: str
    """What is left when the metal tags are taken out; empty for a bare metal or a blank name."""
    metals: tuple[str, ...] = ()
    """Metal tags, as ``Dy162``, each once."""


def parse_channel(name: str) -> ChannelName:
    """Split a channel's name into its target and its metal tags.

    Examples
    --------
    >>> parse_channel("CD8a(Dy162Di)")
    ChannelName(raw='CD8a(Dy162Di)', target='CD8a', metals=('Dy162',))
    >>> parse_channel("131Xe_Xe131").target
    ''
    """
    text = unicodedata.normalize("NFKC", name)
    rest, metals = split_isotopes(text)
    return ChannelName(name, _trimmed(rest), metals)


def alias_key(text: str) -> str:
    """Return the form in which names are compared: exactly, but for case and punctuation.

    Greek letters are spelled out; spaces, hyphens, underscores and dots are dropped, except
    between two digits (so that ``CD3_4`` is not ``CD34``); ``+``, ``/``, ``&`` and commas stay.

    Examples
    --------
    >>> alias_key("α-SMA"), alias_key("HLA-DR"), alias_key("14-3-3"), alias_key("CD3/4")
    ('alphasma', 'hladr', '14_3_3', 'cd3/4')
    """
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(_GREEK.get(c, c) for c in plain.lower())
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    plain = re.sub(r"[^a-z0-9+/&,]+", "_", plain)
    plain = re.sub(r"(?<=\d)_(?=\d)", "\0", plain).replace("_", "").replace("\0", "_")
    return plain.strip("+/&,")


def undecorated(text: str) -> str:
    """Take off what is said of the antibody and not of its target.

    Lot numbers of IMC panels, ``anti-``, clones (after the word, or of a vendor's pattern),
    fluorophores, cycle numbers, and a file's running number.
    """
    before = None
    while before != text:
        before = text
        for pattern in _DECORATIONS:
            text = _trimmed(pattern.sub("", text)) or text
    return text


def parenthesised(text: str) -> tuple[str, tuple[str, ...]]:
    """Split ``CD279 (PD-1)`` into ``CD279`` and ``("PD-1",)``; without brackets: text and ()."""
    inner = tuple(p for p in map(_trimmed, re.findall(r"[(\[{]([^()\[\]{}]+)[)\]}]", text)) if p)
    outer = _trimmed(re.sub(r"[(\[{][^()\[\]{}]*[)\]}]", " ", text))
    return outer, inner


def parts(text: str) -> tuple[str, ...]:
    """Split a cocktail's name at ``+``, ``/``, ``&``, ``,`` and the word "and"."""
    found = re.split(r"[+/&,]|\s+and\s+", text)
    return tuple(p for p in map(_trimmed, found) if p)


def _trimmed(text: str) -> str:
    text = re.sub(r"[(\[{]\s*[)\]}]", " ", text)  # brackets that a metal left empty
    text = re.sub(r"\s+", " ", text)
    outer = text.strip(_TRIM.translate(str.maketrans("", "", "()[]{}")))
    if outer.startswith(("(", "[", "{")) and outer.endswith((")", "]", "}")):
        inside = outer[1:-1]
        if not re.search(r"[()\[\]{}]", inside):
            return _trimmed(inside)
    return outer
