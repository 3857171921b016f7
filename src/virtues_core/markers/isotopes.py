"""Metal tags in channel names: which element and mass, in every order that instruments write."""

import re

_ISOTOPES: dict[str, frozenset[int]] = {
    element: frozenset(map(int, masses.split()))
    for element, masses in {
        "Ar": "36 38 40",
        "ArAr": "76 78 80",
        "As": "75",
        "Kr": "83 84",
        "Sr": "87 88",
        "Y": "89",
        "Zr": "90 91 92 94 96",
        "Ru": "96 98 99 100 101 102 104",
        "Rh": "103",
        "Pd": "102 104 105 106 108 110",
        "Ag": "107 109",
        "Cd": "106 108 110 111 112 113 114 116",
        "In": "113 115",
        "Sn": "112 114 115 116 117 118 119 120 122 124",
        "Te": "120 122 123 124 125 126 128 130",
        "I": "127",
        "Xe": "124 126 128 129 130 131 132 134 136",
        "Cs": "133",
        "Ba": "130 132 134 135 136 137 138",
        "La": "138 139",
        "Ce": "136 138 140 142",
        "Pr": "141",
        "Nd": "142 143 144 145 146 148 150",
        "Sm": "144 147 148 149 150 152 154",
        "Eu": "151 153",
        "Gd": "152 154 155 156 157 158 160",
        "Tb": "159",
        "Dy": "156 158 160 161 162 163 164",
        "Ho": "165",
        "Er": "162 164 166 167 168 170",
        "Tm": "169",
        "Yb": "168 170 171 172 173 174 176",
        "Lu": "175 176",
        "Hf": "176 177 178 179 180",
        "Ta": "181",
        "W": "182 183 184 186",
        "Re": "185 187",
        "Os": "184 186 187 188 189 190 192",
        "Ir": "191 193",
        "BCKG": "190",
        "Pt": "190 192 194 195 196 198",
        "Au": "197",
        "Hg": "196 198 199 200 201 202 204",
        "Tl": "203 205",
        "Pb": "204 206 207 208",
        "Bi": "209",
    }.items()
}
_BARE_ELEMENTS = frozenset("C Na Si P Ca Fe Ta Au Xe ArAr Ar Ba Hg Pb Os I Y Ce Bi".split())
_SPELLING = {element.lower(): element for element in _ISOTOPES}
_MASS_FIRST = re.compile(r"(?<![A-Za-z0-9])(\d{2,3})([A-Za-z]{1,4}?)(D[id])?(?![A-Za-z0-9])")
_ELEMENT_FIRST = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{1,4})(\d{2,3})(D[id])?(?![A-Za-z0-9])")
_BARE_CADMIUM = re.compile(r"Cd(106|108|110|111|112|113|114|116)")


def split_isotopes(text: str) -> tuple[str, tuple[str, ...]]:
    """Take the metal tags out of a channel name.

    Only isotopes that exist are taken, so ``CD45`` or ``S100`` are left alone. Cadmium written as
    ``Cd111`` looks like the protein CD111: it counts as a metal where it is spelled with a small
    d beside something else, or ends in ``Di``; ``111Cd`` always does.

    Parameters
    ----------
    text
        A channel name, for example ``CD8a(Dy162Di)`` or ``131Xe_Xe131``.

    Returns
    -------
    tuple
        What is left of the name (its separators untouched), and the tags as ``Dy162``, each once.
    """
    tags: list[str] = []
    alone = re.sub(r"[^A-Za-z0-9]", "", text)

    def take(element: str, mass: str, match: re.Match[str]) -> str:
        spelled = _SPELLING.get(element.lower())
        if spelled is None or int(mass) not in _ISOTOPES[spelled]:
            return match.group()
        tag = f"{spelled}{mass}"
        if tag not in tags:
            tags.append(tag)
        return " "

    def mass_first(match: re.Match[str]) -> str:
        return take(match[2], match[1], match)

    def element_first(match: re.Match[str]) -> str:
        if match[1].lower() == "cd" and not match[3]:
            known = f"Cd{match[2]}" in tags
            if match[1] != "Cd" or (alone == match[1] + match[2] and not known):
                return match.group()
        return take(match[1], match[2], match)

    rest = _MASS_FIRST.sub(mass_first, text)
    rest = _ELEMENT_FIRST.sub(element_first, rest)
    return rest, tuple(tags)


def is_bare_element(text: str) -> bool:
    """Whether a name is only an element that MIBI and IMC record beside the antibodies."""
    return text.strip() in _BARE_ELEMENTS


def is_bare_cadmium(text: str) -> bool:
    """Whether a name is only ``Cd111`` or the like: a metal, or a CD number written oddly."""
    return _BARE_CADMIUM.fullmatch(text.strip()) is not None
