"""What counts as a number in a text, which of them claim nothing, and when a shown number is a value rounded."""

import re
from collections.abc import Iterator
from types import ModuleType

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
WORDS = {
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "tenfold": 10,
    "eleven": 11, "twelve": 12, "sixteen": 16, "twenty": 20, "hundred": 100,
}  # fmt: skip
NUMBER = re.compile(
    r"2[⁰¹²³⁴-⁹]+"
    r"|(?<![\w.,-])[−±+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[−-]?\d+)?(?!\w|[.,]\d)"
    rf"|\b(?:{'|'.join(WORDS)})\b",
    re.IGNORECASE,
)

#: Numbers that are part of a name or of a way to count, so that there is nothing to trace: pattern -> why.
PLAIN_LANGUAGE = {
    r"\b(?:4|8|16|32|64)(?:, \d+ or \d+)?[- ]bits?\b|\bfour bits\b": "names of precisions",
    r"\b(?:Q4_1|FP4 \(E[23]M[01]\)|PCIe \d\.0 x16)": "names of formats and buses",
    r"\b(?:Figures?|Tables?|[Ss]ections?|Appendix|Equations?) \d+(?:\.\d)?(?:(?:,| and|–| to) \d+\b)*(?:, page \d+)?": (
        "places in the paper"
    ),
    r"\barXiv:? \d{4}\.\d{5}(?:v\d)?|^\d{4}\.\d{5}$": "arXiv numbers",
    r"^\d (?=[A-Z])(?![KMG]i?B)": "numbers of the steps of a stepper",
    r"\bLevel \d+": "numbers of columns",
    r"(?<=: )1(?= passage)|^1(?= (?:page|thread)$)": "one of something, beside its plural",
    r"\b1 ?/ ?place\b": "a reciprocal",
    r"\bfirst (?:five|one)\b(?= by)|\b(?:the |: )first five\b": "the name of a measure, recall among the first five",
}
_PLAIN = re.compile("|".join(f"(?:{pattern})" for pattern in PLAIN_LANGUAGE))


def numbers(text: str) -> list[str]:
    """The numbers of a text that need a source, digits and words from three on, in order."""
    found = (match.group() for match in NUMBER.finditer(_PLAIN.sub("\N{SECTION SIGN}", text)))
    return [number.lower() if number.isalpha() else number for number in found]


def value_of(shown: str) -> float:
    """The value that is written."""
    if shown in WORDS:
        return WORDS[shown]
    if shown[-1] in "⁰¹²³⁴⁵⁶⁷⁸⁹":
        return float(int(shown[0]) ** int(shown[1:].translate(_SUPERSCRIPTS)))
    return float(shown.replace(",", "").replace("−", "-").lstrip("±+"))


def agrees(shown: str, value: float) -> bool:
    """Whether ``shown`` is ``value`` rounded to the digits that are shown."""
    if not shown[-1].isdecimal():
        return value_of(shown) == value
    mantissa, _, exponent = shown.replace("−", "-").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(value_of(shown) - value) <= 0.5 * unit * (1 + 1e-6)


def sentences(module: ModuleType) -> Iterator[tuple[str, str]]:
    """(key, text) of every string in the module's public names, templates without their fields.

    A key is the module's last name, the constant and the place in it: ``memory.UNEXPLAINED.1``.
    """
    for name, value in vars(module).items():
        if not name.startswith("_") and name.isupper():
            yield from _strings(f"{module.__name__.rpartition('.')[2]}.{name}", value)


def without_fields(template: str) -> str:
    """A template's own words; a field leaves a mark, so that what stands beside it does not grow together."""
    return re.sub(r"\{[^{}]*\}", "\N{LOZENGE}", template)


def _strings(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for place, each in value.items():
            yield from _strings(f"{key}.{place}", each)
    elif isinstance(value, tuple | list):
        for place, each in enumerate(value):
            yield from _strings(f"{key}.{place}", each)
