"""Comparison questions: whether a question is one, and what it asks of each paper."""

import re
from collections.abc import Iterable

from app.assistant.paper import Paper
from app.assistant.terms import STOP_WORDS, plain, stem, words

_COMPARING = re.compile(
    r"\b(compar(?:e[sd]?|ing|ison|isons)|contrast\w*|versus|vs|differ(?:s|ed|ence|ences|ently)?|different from"
    r"|are (?:\S+ ){1,12}different|distinguish\w*|in common|both papers"
    r"|(?:each|either|all)(?: of the| of these)? papers?)\b",
    re.IGNORECASE,
)
_PAPERS = re.compile(
    r"\b(?:(?:both|each|either|all|any)(?: of)? )?(?:the |these |those |my )?(?:two |three |four |\d+ |other )?"
    r"papers?\b"
    r"|\b(?:both|each|all|the two) of (?:them|these)\b",
    re.IGNORECASE,
)
_P = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for papers that are named."""
_RUN = re.compile(rf"{_P}(?:(?:'s)?(?:\s*,|\s+and|\s+or|\s+with|\s+to|\s+from|\s+versus|\s+vs\.?|\s*&|\s*/)+\s*{_P})+")
_MANNER = re.compile(rf"\b(?:how|where|in (?:what|which) (?:way|ways|respect))\s+(?:do|does|did|are|is|were)\s+{_P}\s+"
                     r"(?:differ(?:ent)?|compare|contrast|relate)\b(?:\s+from each other)?", re.IGNORECASE)  # fmt: skip
_COMMON = re.compile(rf"\b(?:what\s+(?:do|does)\s+{_P}\s+have\s+)?in common\b", re.IGNORECASE)
_OPENING = re.compile(
    r"\b(?:what (?:is|are) )?(?:the )?(?:(?:main|biggest|key|most important) )?"
    r"(?:differences?|comparisons?|contrasts?|similarit(?:y|ies))\b"
    r"|\b(?:please )?(?:compare(?:d)?|contrast)(?: and (?:compare|contrast))?\b"
    r"|\b(?:differ(?:s|ed|ent|ently)?|versus|vs\.?)(?: from| to| with)?(?=\s|\W|$)",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    rf"(?:\b(?:of|between|in|from|by|for|across|among|according to|do|does|did|are|is|with|to|and|or)\s+)*{_P}(?:'s?)?",
    re.IGNORECASE,
)
_TREATED = re.compile(
    r"\b(?:(?:the|their) ways? (?:that |in which )?|how |what )?(?:they|each|it) "
    r"(?:treats?|handles?|deals? with|approach(?:es)?|discuss(?:es)?|describes?|views?|sees?|says?(?: about)?)\b"
    r"|\b(?:treatment|handling|discussion|description|view)s? of\b|\btheir approach(?:es)? to\b",
    re.IGNORECASE,
)
"""How a thing is dealt with, which no paper says of itself."""
_LEADS = re.compile(
    r"^(?:[\s,;:.]|(?:and|or|in|on|about|as to|regarding|concerning|with respect to|with regard to|when it comes to"
    r"|of|by|what|say|says|the way|the ways|in which|that|they|each)\b)+",
    re.IGNORECASE,
)


def compares(text: str) -> bool:
    """Whether the question sets things against one another."""
    return bool(_COMPARING.search(text))


def names_of(paper: Paper) -> list[str]:
    """By what a question may call the paper: its title, what stands before its colon, its identifier, an author's
    surname."""
    surnames = [author.split()[-1] for author in paper.authors if author.strip()]
    names = [paper.title, paper.title.split(":")[0], paper.id, paper.id.replace("-", " "), *surnames]
    return [name for name in dict.fromkeys(names) if words(name)]


def is_named(text: str, paper: Paper) -> bool:
    """Whether the text calls the paper by one of its names."""
    said = f" {' '.join(words(text))} "
    return any(f" {' '.join(words(name))} " in said for name in names_of(paper) if plain(name).strip())


def subject(text: str, papers: Iterable[Paper], known: Iterable[str]) -> str:
    """What a comparison asks about, as it is put to one of the papers: "How do QLoRA and LoRA differ in memory?" asks
    about "memory". Empty when it names nothing beside the papers.

    Args:
        text: the question.
        papers: all that are compared.
        known: stems of the words that this paper has. A word that it lacks, and that stands in another one's title, is
            what that one is about and is left out, unless nothing else is asked about.
    """
    for name in sorted((name for paper in papers for name in names_of(paper)), key=len, reverse=True):
        pattern = r"[\s\W]+".join(map(re.escape, re.findall(r"\w+", name)))
        text = re.sub(rf"(?<!\w)(?:the )?{pattern}(?:'s)?(?!\w)", _P, text, flags=re.IGNORECASE)
    text = _RUN.sub(_P, _PAPERS.sub(_P, text))
    for pattern in (_MANNER, _COMMON, _BESIDE, _OPENING, _TREATED):
        text = pattern.sub(" ", text)
    stems, titles = set(known), {stem(word) for paper in papers for word in words(paper.title)}
    telling = [word for word in words(text) if word not in STOP_WORDS]
    strange = [word for word in telling if stem(word) in titles - stems]
    for word in strange if len(strange) < len(telling) else ():
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", " ", text, flags=re.IGNORECASE)
    text = " ".join(_LEADS.sub("", " ".join(text.split())).split())
    return re.sub(r"\s+([?.,;:])", r"\1", text).strip(" ,;:.?")
