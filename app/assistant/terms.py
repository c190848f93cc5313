"""Words as search sees them: one spelling a word, one token a number, abbreviations with what they stand for."""

import re
import unicodedata
from functools import lru_cache

_STOP_TEXT = """
a about above after again all also am an and any are as at be because been before being between both but by can
could did do does doing done down during each either else ever for from further get gets give given gives go had
has have having he her here him his how however i if in into is it its just let like many may me might more most
much must my no nor not now of off on one only or other our out over own per please same shall she should so
some such tell than that the their them then there these they this those through to too under up upon us use
used uses using very via was we were what when where whether which while who whom whose why will with within
without would you your
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())

_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"sixteen": "16", "hundred": "100", "thousand": "1000"}
_SPELLINGS = (
    (re.compile(r"\bfine[- ]tun"), "finetun"),
    (re.compile(r"\bpre[- ]train"), "pretrain"),
    (re.compile(r"\bblock[- ]size"), "blocksize"),
    (re.compile(r"\bdata ?types?\b"), "datatype"),
    (re.compile(r"\bdata ?sets?\b"), "dataset"),
    (re.compile(r"\bhyper[- ]param"), "hyperparam"),
    (re.compile(r"\bcheck[- ]point"), "checkpoint"),
    (re.compile(r"\bchat[- ]bot"), "chatbot"),
    (re.compile(r"(\d)[- ]?billion\b"), r"\1b"),
    (re.compile(r"(\d)[- ]?million\b"), r"\1m"),
    (re.compile(r"\bgiga ?bytes?\b"), "gb"),
    (re.compile(r"\bmega ?bytes?\b"), "mb"),
    (re.compile(r"\bper ?cent(age)?s?\b|%"), " percent "),
    (re.compile(r"\bhyper-"), "hyper"),
    (re.compile(r"\brouge[- ]l\b"), "rougel"),
    (re.compile(r"isation"), "ization"),
    (re.compile(r"(?<=[a-z]{3})is(e|ed|es|ing)\b"), r"iz\1"),
    (re.compile(r"\bfloat(ing)?[- ]?point\b"), "float"),
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_WITH_UNIT = re.compile(r"\b(\d+(?:\.\d+)?)[- ]?(gb|mb|gib|mib|bits?|bytes?|k)\b")
_TOKEN = re.compile(r"\d+(?:\.\d+)?e-?\d+|[a-z]+\d[a-z0-9]*|\d+(?:\.\d+)?[a-z]*|[a-z]+(?:'[a-z]+)?|[α-ω]")
_COMPOUND = re.compile(r"[a-z0-9]+(?:\.\d+)?(?:-[a-z0-9]+(?:\.\d+)?)+")
_DATA_TYPE = re.compile(r"\b([a-z]{3,})(2|3|4|8|16|32)\b")
"""Int8, Float4: a type and its bits."""
UNITS = r"(?:gb|mb|gib|mib|bits?|bytes?)"
NUMBERED = re.compile(rf"\b(?:(\d+(?:\.\d+)?) {UNITS}|[a-z]+-\d+(?:\.\d+)?)\b(?![\w.]*\d)")
"""What a number makes one thing of, in :func:`plain` text: 48 GB, 4 bits, GPT-4."""
# Endings and what takes their place, longest first.
_SUFFIXES = tuple(
    tuple(pair.split(":"))
    for pair in [
        "izations:iz",
        "ization:iz",
        "izers:iz",
        "izer:iz",
        "izing:iz",
        "ized:iz",
        "izes:iz",
        "ize:iz",
        "ational:at",
        "ations:at",
        "ation:at",
        "ators:at",
        "ator:at",
        "ating:at",
        "ated:at",
        "ates:at",
        "ate:at",
        "fulness:",
        "ments:",
        "ment:",
        "ness:",
        "ically:ic",
        "ical:ic",
        "ingly:",
        "ings:",
        "ing:",
        "edly:",
        "ed:",
        "ies:y",
        "ers:",
        "er:",
        "es:",
        "ly:",
        "s:",
        "e:",
    ]
)
_GREEK = str.maketrans({"α": " alpha ", "β": " beta ", "κ": " kappa ", "τ": " tau ", "σ": " sigma "})


def plain(text: str) -> str:
    """Lower case, without accents, with one spelling for what is written in several ways (fine-tune, 65 billion)."""
    text = (
        unicodedata.normalize("NFKC", text)
        .lower()
        .replace("’", "'")
        .replace("−", "-")
        .replace("–", "-")
        .translate(_GREEK)
    )
    text = _THOUSANDS.sub("", text)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return _WITH_UNIT.sub(r"\1 \2", text)


@lru_cache(maxsize=1 << 16)  # a paper has the same few thousand words in every sentence
def stem(word: str) -> str:
    """The word without its ending: enough to let quantize, quantized and quantization meet."""
    if len(word) < 4 or any(character.isdigit() for character in word):
        return word
    if word.endswith("ss"):
        return word
    for suffix, replacement in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) + len(replacement) >= 3:
            word = word[: len(word) - len(suffix)] + replacement
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word


def words(text: str) -> list[str]:
    """The text's words in order, unstemmed, compounds taken apart."""
    return _words(plain(text))


def _words(simple: str) -> list[str]:
    found = (token.removesuffix("'s") for token in _TOKEN.findall(simple.replace("-", " ")))
    return [_NUMBER_WORDS.get(token, token) for token in found]


def tokens(text: str) -> list[str]:
    """Stems of the text's words without stop words; a compound (end-to-end, GPT-4, 48 GB) counts in its parts and as
    one."""
    simple = plain(text)
    found = [stem(word) for word in _words(simple) if word not in STOP_WORDS]
    joined = {stem(match.group().replace("-", "")) for match in _COMPOUND.finditer(simple)}
    joined |= {as_one(match.group()) for match in NUMBERED.finditer(simple)}
    for name, bits in _DATA_TYPE.findall(simple):
        joined |= {stem(name), f"{bits}bit"}
    return found + sorted(joined)


def as_one(numbered: str) -> str:
    """The token for a match of :data:`NUMBERED`: 48gb, 4bit, gpt4."""
    joined = numbered.replace("-", "").replace(" ", "")
    return joined.removesuffix("s") if joined[:1].isdigit() else joined


_DEFINED = re.compile(r"((?:[\w-]+[ ]){1,7}[\w-]+)[ ]?\(([A-Za-z][A-Za-z0-9]{1,7})\)")


def abbreviations(text: str) -> dict[str, str]:
    """Short forms that the text defines in brackets, "Double Quantization (DQ)", with what they stand for.

    After Schwartz and Hearst (2003): going back from the bracket, every letter of the short form is found in order,
    the first one at the start of a word.
    """
    found: dict[str, str] = {}
    for match in _DEFINED.finditer(text):
        short = match[2].removesuffix("s") if match[2][-1] == "s" and match[2][:-1].isupper() else match[2]
        if sum(character.isupper() for character in short) < 2:
            continue
        if long := _long_form(match[1], short):
            found.setdefault(short.lower(), long.lower())
    return found


def _long_form(before: str, short: str) -> str:
    position = len(before) - 1
    letters = [character.lower() for character in short if character.isalpha()]
    for index, letter in enumerate(reversed(letters)):
        first = index == len(letters) - 1
        while position >= 0 and not (
            before[position].lower() == letter and (not first or position == 0 or not before[position - 1].isalnum())
        ):
            position -= 1
        if position < 0:
            return ""
        position -= 1
    start = position + 1
    # "4-bit NormalFloat (NF4)": a number that belongs to the short form stands before the letters.
    digits = "".join(character for character in short if character.isdigit())
    if digits and digits not in before[start:]:
        lead = before[:start].rstrip().rsplit(" ", 1)[-1]
        start = before.rfind(lead, 0, start) if lead.startswith(digits) else start
    return before[start:]


def listed(names: list[str]) -> str:
    """Each name once, in quotation marks: “a”, “b” and “c”."""
    quoted = [f"“{name}”" for name in dict.fromkeys(names)]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
