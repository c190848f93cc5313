"""The sentences of a paper that say what it is about, chosen without a language model.

A sentence counts by where it stands (abstract and conclusions first), by what it says of itself ("we find", "our method
reduces"), and by how near it is to the middle of all that the paper says. A sentence that names the paper's terms gains
as long as no chosen one names them; one that repeats a chosen one loses (maximal marginal relevance, Carbonell and
Goldstein 1998).
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.assistant.chunking import Chunk
from app.assistant.index import Index
from app.assistant.key_terms import KeyTerm, key_terms
from app.assistant.readers.page import FRONT_MATTER
from app.assistant.terms import tokens

MOST_POINTS = 8
FEWEST_POINTS = 5
MAX_WORDS = 75
"""In one point; what is longer is no longer a point."""
_FEWEST_WORDS = 8
_BEST_WORDS = (12, 60)

# Parts of a sentence's merit. Set on the QLoRA paper, on our notes on it and on small papers of other fields.
_SECTION, _CUE, _CENTRAL, _NUMBER, _TERM, _FIRST = 0.9, 0.4, 0.6, 0.2, 0.15, 0.3
_REPEATS = 1.5
"""What a sentence loses for its likeness to a chosen one past :data:`_UNLIKE`; past :data:`_SAME` it says the same."""
_UNLIKE, _SAME = 0.5, 0.8
_POORER = 0.5
"""A point past the fifth must come this near to the first one's merit."""

_ABSTRACT = re.compile(r"\babstract\b", re.IGNORECASE)
_SECTIONS = (
    (_ABSTRACT, 1.0),
    (re.compile(r"\b(conclusions?|concluding|summary|limitations?|discussion)\b", re.IGNORECASE), 0.75),
    (re.compile(r"\bintroduction\b|^Section 1\b", re.IGNORECASE), 0.6),
    (re.compile(r"\b(results?|findings?|evaluation|experiments?|analysis)\b", re.IGNORECASE), 0.45),
    (re.compile(r"\b(related work|background|acknowledge?ments?|references|bibliography|set-?up|appendix)\b"
                r"|^[A-Z](\.\d+)* ", re.IGNORECASE), 0.0),
)  # fmt: skip
_ELSEWHERE = 0.35
_FINAL = 0.7
_MOST = {"abstract": 5, "introduction": 2, "1": 2}
"""Points that a section may have; others one."""

_CUES = (
    re.compile(
        r"\b(?:we|the authors|this (?:paper|work|study)) (?:also )?"
        r"(?:finds?|found|shows?|demonstrates?|observes?|concludes?|proves?|highlights?)\b"
        r"|\b(?:introduces?|proposes?|presents?|invent(?:s|ions?)|innovations?)\b"
    ),
    re.compile(r"\b(?:our|the) (?:results?|findings?|experiments?|evidence|analysis|method|approach|best)\b"),
    re.compile(
        r"\b(?:outperform|state-of-the-art|surpass|improv|reduc|enabl|match|replicat|preserv|reach"
        r"|without (?:any )?(?:loss|degrad|sacrific))"
    ),
    re.compile(
        r"\b(?:more|less|better|worse|rather) (?:\w+ )?than\b|\b(?:not trustworthy|required to|is enough)\b"
    ),
    re.compile(r"\b(?:limitations?|did not|does not imply|cannot be trusted)\b"),
)  # fmt: skip
_AGAINST = re.compile(
    r"\b(?:did not|do(?:es)? not|cannot|not (?:trustworthy|reliable|clear)|unclear|limitations?|weakness|fails? to)\b",
    re.IGNORECASE,
)
_ABOUT_ITSELF = re.compile(
    r"\b(?:in (?:this|the (?:next|following)) section|following sections?|we (?:now|then) (?:describe|discuss|turn)"
    r"|(?:is|are|can be) (?:shown|seen|found|given|listed|outlined) in|described in|(?:full|more) details|as follows"
    r"|for example|for instance|we thank|remainder of|have discussed|we provide"
    r"|future (?:work|research)|later research|remains? open|we hope|we leave)\b",
    re.IGNORECASE,
)
_OUR_OWN = re.compile(r"^(?:Inconsistency|Our (?:reading|derivation|arithmetic|note))\b")
"""What the companion notes add to the paper and mark as added."""
_POINTS_BACK = re.compile(
    r"^(?:This|These|That|Those|It|Its|They|Their|Such|He|She|Both|Here|Thus|Hence|Therefore|Moreover|Furthermore"
    r"|However|Also|Additionally|Similarly|Second|Third|Finally|But|And|Again|Then|To this end|In addition"
    r"|In comparison|As such|More specifically|Another|An additional)\b"
)
_LIGHT_OPENING = re.compile(
    r"^(?:Furthermore|Moreover|Additionally|Finally|Second|Third|However|Thus|Therefore|Hence)\b"
)
"""Such a sentence leans on the one before, but can be understood alone."""
_LIST_PIECE = re.compile(r"^\(?(?:\d|[a-z]|[ivx]+)\)|^[“\"‘]|^(?:User|Q|A)\b:|^\S+:")
_CITED = re.compile(r"\[\d+(?:,\s*\d+)*\]")


@dataclass(frozen=True)
class Candidate:
    """One sentence, or two neighbours, of passage number ``chunk`` with their merit. ``text`` is verbatim, without a
    run-in title in front."""

    chunk: int
    orders: tuple[int, ...]
    text: str
    merit: float
    vector: np.ndarray
    terms: frozenset[str]
    section: str
    place: float


def spoken_passages(index: Index) -> list[int]:
    """Numbers of the running text's passages: the paper's own, or the notes' while there is no paper."""
    own = [number for number, chunk in enumerate(index.chunks) if chunk.source == "paper"]
    return [
        number
        for number in own or range(len(index.chunks))
        if index.chunks[number].kind == "text" and not index.chunks[number].label.startswith(("Table", "Figure"))
    ]


def choose(index: Index, most: int = MOST_POINTS) -> list[Candidate]:
    """The paper's key points, at most ``most``, in the paper's order; fewer than five only where it has no more.

    Two places are kept for what it warns of or has not shown, where its abstract, conclusion or limitations say it.
    """
    candidates = list(_candidates(index))
    even = -(-most // max(len({item.section for item in candidates}), 1))  # a few pages have few sections
    chosen: list[Candidate] = []
    for item in sorted(candidates, key=lambda item: -item.merit):
        warns = item.place >= _FINAL and _AGAINST.search(item.text)
        if warns and len(chosen) < 2 and item.section not in [other.section for other in chosen]:
            chosen.append(item)
    sections = Counter(item.section for item in chosen)
    while candidates and len(chosen) < most:
        named = frozenset().union(*(item.terms for item in chosen))
        gains = [
            item.merit
            + _TERM * min(len(item.terms - named), 3)
            - _REPEATS * max(_likeness(item, chosen) - _UNLIKE, 0.0)
            for item in candidates
        ]
        best = int(np.argmax(gains))
        item = candidates.pop(best)
        if _likeness(item, chosen) > _SAME or sections[item.section] >= max(_MOST.get(item.section, 1), even):
            continue
        if len(chosen) >= FEWEST_POINTS and gains[best] < _POORER * max(point.merit for point in chosen):
            break
        chosen.append(item)
        sections[item.section] += 1
    return sorted(chosen, key=lambda item: (item.chunk, item.orders))


def top_section(chunk: Chunk) -> str:
    """The section that a passage's section belongs to: "5" for "5.3 Results" and for "Section 5.3: …" of the notes."""
    name = re.sub(r"^(?:Section|Appendix)\s+", "", chunk.section)
    match = re.match(r"(\d+|[A-Z])(?:\.\d+)*(?=[\s:.]|$)", name)
    return match[1] if match else name.partition(":")[0].strip().lower()


def _likeness(item: Candidate, chosen: list[Candidate]) -> float:
    return max((float(item.vector @ other.vector) for other in chosen), default=0.0)


def _candidates(index: Index) -> Iterator[Candidate]:
    vectors = sentence_vectors(index)
    passages = spoken_passages(index)
    spoken = [key for key in vectors if key[0] in set(passages)]
    counted = [vectors[key] for key in spoken if _place(index.chunks[key[0]]) > 0] or [vectors[key] for key in spoken]
    if not counted:
        return
    middle = np.mean(counted, axis=0)
    middle /= np.linalg.norm(middle) or 1.0
    central = [float(vector @ middle) for vector in counted]
    low, high = np.quantile(central, (0.05, 0.95))
    terms = key_terms(index, passages)
    seen: set[str] = set()
    opening = _FIRST  # the abstract's first statement about the work says what it is
    name = index.paper.title.partition(":")[0]
    for number in passages:
        chunk = index.chunks[number]
        section, place = top_section(chunk), _place(chunk)
        for order in range(len(chunk.sentences)):
            orders = _with_neighbour(chunk, order)
            if not orders or (text := _text(chunk, orders)) in seen:
                continue
            seen.add(text)
            own = [vectors[number, o] for o in orders if (number, o) in vectors]
            if not own:
                continue
            vector = np.mean(own, axis=0)
            vector /= np.linalg.norm(vector) or 1.0
            merit = _SECTION * place + _CENTRAL * (float(vector @ middle) - low) / max(high - low, 1e-6)
            manner = _manner(text)
            if place == 1.0 and (manner > _NUMBER or name in text):
                merit, opening = merit + opening, 0.0
            yield Candidate(number, orders, text, merit + manner, vector, _named(text, terms), section, place)


def sentence_vectors(index: Index) -> dict[tuple[int, int], np.ndarray]:
    """(passage, sentence) -> vector; a passage's only sentence has the passage's."""
    found = dict(zip(map(tuple, index.sentence_of), index.vectors("sentences"), strict=True))
    for number, vector in enumerate(index.vectors("passages")):
        if len(index.chunks[number].sentences) == 1:
            found.setdefault((number, 0), vector)
    return found


def _place(chunk: Chunk) -> float:
    heading = chunk.heading
    return next((weight for pattern, weight in _SECTIONS if pattern.search(heading)), _ELSEWHERE)


def _named(text: str, terms: list[KeyTerm]) -> frozenset[str]:
    stems = frozenset(tokens(text))
    return frozenset(term.name for term in terms if term.stems <= stems or term.short.lower() in stems)


def _manner(text: str) -> float:
    """What the sentence says of itself: findings and limits count, announcements and other people's work do not."""
    count = len(text.split())
    simple = text.lower()
    merit = _CUE * min(sum(bool(cue.search(simple)) for cue in _CUES), 3)
    merit += _NUMBER * bool(re.search(r"\d", _CITED.sub("", text)))
    merit -= _CUE * (2.5 * bool(_ABOUT_ITSELF.search(text)) + min(len(_CITED.findall(text)), 3))
    merit -= 0.5 * _CUE * bool(_LIGHT_OPENING.search(text))
    return merit - (0.0 if _BEST_WORDS[0] <= count <= _BEST_WORDS[1] else 0.2)


def _with_neighbour(chunk: Chunk, order: int) -> tuple[int, ...]:
    """The sentence, with the one before where it cannot be understood without; empty when it is no point. A short
    paragraph of the notes is one thought."""
    if chunk.source == "notes" and len(chunk.sentences) == 2 and _fits(chunk.text):
        return (0, 1) if order == 0 and _whole(chunk, 0) and _whole(chunk, 1) else ()
    if not _whole(chunk, order) or _LIST_PIECE.search(chunk.sentences[order].text):
        return ()
    text = _text(chunk, (order,))
    if not _POINTS_BACK.search(text) or _LIGHT_OPENING.search(text):
        return (order,) if _fits(text) else ()
    pair = (order - 1, order)
    joined = order > 0 and chunk.sentences[order].follows and _whole(chunk, order - 1)
    if not joined or _POINTS_BACK.search(_text(chunk, (order - 1,))) or not _fits(_text(chunk, pair)):
        return ()
    return pair


def _fits(text: str) -> bool:
    return _FEWEST_WORDS <= len(text.split()) <= MAX_WORDS


def _whole(chunk: Chunk, order: int) -> bool:
    """Whether it is a sentence of running text with its beginning and its end."""
    sentence = chunk.sentences[order]
    text = sentence.text
    if sentence.formula or sentence.row or _OUR_OWN.search(text) or "@" in text:
        return False
    if chunk.section == FRONT_MATTER and len(text.split()) < 12:
        return False
    enumerated = re.search(r"\s\((?:1|a|i)\)\s", text) and not re.search(r"\((?:2|b|ii)\)", text)
    begins, ends = text[:1].isupper() or text[:1].isdigit(), re.search(r"[.!][)\]”\"’']*\d{0,2}$", text)
    letters = sum(map(str.isalpha, text)) + text.count(" ")
    return bool(begins and ends and not enumerated and letters > 0.75 * len(text))


def _text(chunk: Chunk, orders: tuple[int, ...]) -> str:
    text = " ".join(chunk.sentences[order].text for order in orders)
    rest = text.removeprefix(chunk.lead).lstrip(" .:") if chunk.lead else text
    return rest if rest != text and rest[:1].isupper() else text
