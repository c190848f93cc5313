"""Follow-up questions: "and for 33B?" becomes the question that it stands for, from the words of the one before.

No model is asked. A question with a subject of its own is left alone; of one without, the earlier question's subject
takes the place of "it", a name or size that is new takes the place of the earlier one of its kind, and "why?" asks for
the reason of what was asked before.
"""

import re
from collections.abc import Sequence

from app.assistant.question import Question, parse
from app.assistant.terms import STOP_WORDS, words
from qlora.errors import InputError

_AUXILIARY = r"(?:is|are|was|were|does|do|did|can|could|has|have|had|will|would|should)"
_WHY = re.compile(
    r"^(?:and |but |so )?(?:why|how come|how so)(?: (?:is|was|not|does|do|did)\b)*(?: (?:that|this|it|so|they|not))*"
    r"\s*\?*$",
    re.I,
)
_ABOUT = re.compile(
    r"^(?:(?:and|but|or|also|so)\s+)?(?:(?:what|how)\s+about\s+|(?:and|or)\s+)?"
    r"(?P<rest>(?:(?:it|that|this)\s+)?(?P<preposition>for|on|in|with|at|without|of|from|by|under|after)?\s*(?P<new>.*?))\s*\?*$",
    re.I,
)
_OPENS = re.compile(r"^(?:and|but|or|what about|how about|also)\b", re.I)
_LEADS = re.compile(r"^(?:and|but|or|so|also)[\s,]+", re.I)
_PRONOUN = re.compile(r"\b(its?|they|them|their|he|she|(?:this|that|these|those)(?!\s+(?:\d|(?-i:[A-Z]))))\b", re.I)
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.I)
_POSSESSIVE = {"its", "their"}
_DETERMINES = re.compile(
    r"\b(?:this|that|these|those)\s+(?=[a-z])(?!(?:is|are|was|were|does|do|did|has|have|in|on|for|mean|work|not|to|so)\b)",
    re.I,
)
_SUBORDINATE = re.compile(
    r"\w.*\b(?:when|if|because|while|although|since|which|after|before|and|so|that|unless)\b", re.I
)
_FRAGMENT = re.compile(
    r"^(?:[a-z]+ (?:to |with )?)?(?:which|what|how (?:many|much|long|often|far))\b(?:\s+[\w-]+){0,3}\s*\?*$", re.I
)
_SIZE = re.compile(r"\b\d+(?:\.\d+)?\s?[BM]\b", re.I)
_LABEL = re.compile(r"\b(?:table|figure|section|appendix)\s+[\dA-Z][\d.]*", re.I)
_NAME = re.compile(r"\b(?:[A-Z][\w.+-]*|[a-z]*\d[\w.+-]*[A-Za-z][\w.+-]*)(?:\s+(?:[A-Z\d][\w.+-]*|v\d))*")
_ASKED = re.compile(
    rf"^(?:how (?:much|many)|what|which)\s+(?P<thing>(?:(?!{_AUXILIARY}\b)[\w%-]+\s+){{0,5}}?)"
    rf"(?P<verb>{_AUXILIARY})\s+(?P<rest>.+?)\s*\?*$",
    re.I,
)
_WHO = re.compile(rf"^who (?!{_AUXILIARY}\b)(.+?)\s*\?*$", re.I)
_MANNER = re.compile(rf"^(?:how(?: \w+)?|why|when|where)\s+(?P<verb>{_AUXILIARY})\s+(?P<rest>.+?)\s*\?*$", re.I)
_YES_NO = re.compile(rf"^(?P<verb>{_AUXILIARY})\s+(?P<rest>.+?)\s*\?*$", re.I)
_DO = re.compile(r"\b(?:does|do|did|can|will)\s+$", re.I)
_ACTS = re.compile(
    r"\s+(?:[\w-]+\s*\?*$|(?:mean|work|save|help|compare|change|affect|improve|need|take|cost|make|do|reduce|use)\b)",
    re.I,
)
_LONGEST = 300
"""Characters of a follow-up; a longer question says itself what it is about."""
_QUESTION_WORDS = {"what", "which", "who", "whom", "whose", "how", "why", "when", "where"}


def understood(question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """The question by itself, without the conversation before it.

    Args:
        question: as it was typed.
        history: earlier questions with their answers, oldest first, as they were typed too.

    Returns:
        The same text when it is no follow-up.
    """
    before = ""
    for earlier, _ in history:
        before = _resolved(" ".join(earlier.split()), before)
    return _resolved(" ".join(question.split()), before)


def _resolved(question: str, before: str) -> str:
    if not before or not question or len(question) > _LONGEST or len(before) > 2 * _LONGEST:
        return question
    if _WHY.match(question):
        return _reason(before)
    own = _parsed(question)
    if own is None:
        return question
    if _OPENS.match(question) and (changed := _exchanged(question, before)):
        return changed
    question = _LEADS.sub("", question)
    if match := _pronoun(question):
        return _with_subject(question, match, subject(before))
    asked = _ASKED.match(before) or _MANNER.match(before) or _YES_NO.match(before)
    if asked and _FRAGMENT.match(question) and not re.search(rf"\b{_AUXILIARY}\b", question, re.I):
        return _capital(f"{question.rstrip(' ?')} {asked['verb'].lower()} {asked['rest']}?")
    if not own.terms or (len(own.terms) < 2 and not own.entities and len(question.split()) < 6):
        return f"{question.rstrip(' ?')}: {_statement(before)}?"
    return _capital(question)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _parsed(question: str) -> Question | None:
    try:
        return parse(question)
    except InputError:
        return None


def subject(question: str) -> str:
    """What a question is about: the first content words behind its verb, "Guanaco 65B" of "How much memory does
    Guanaco 65B need?"; else its last ones."""
    if people := _WHO.match(question):
        return f"the people who {people[1]}"
    match = _ASKED.match(question) or _MANNER.match(question) or _YES_NO.match(question)
    found = _runs(match["rest"]) if match else []
    if not match or not found:
        return (_runs(question) or [question.rstrip(" ?")])[-1]
    names = [name.end() for name in _NAME.finditer(found[0])]
    if names:
        return found[0][: names[-1]]
    *noun, _verb = found[0].split()
    return " ".join(noun) if noun and _DO.search(f"{match['verb']} ") else found[0]


def _runs(text: str) -> list[str]:
    """Runs of neighbouring words that are neither fillers nor verbs of asking, as they were typed."""
    runs: list[list[str]] = [[]]
    for word in text.split():
        bare = word.strip(",.;:?!()'\"")
        plain = words(bare)
        filler = not plain or all(part in STOP_WORDS or part in _QUESTION_WORDS for part in plain)
        if filler or (runs[-1] and runs[-1][-1][-1:] in ",;:"):
            runs.append([])
        if not filler:
            runs[-1].append(word)
    return [" ".join(run).strip(",.;:?!") for run in runs if run]


def _pronoun(question: str) -> re.Match | None:
    """The pronoun that stands for something outside of the question. One in a clause of its own ("when it …"), and a
    possessive behind a name, stand for what the question itself names before."""
    for match in _PRONOUN.finditer(question):
        acts = _DO.search(question[: match.start()]) and _ACTS.match(question, match.end())
        if _DETERMINES.match(question, match.start()) and not acts:
            continue
        front = _parsed(question[: match.start()])
        clause = _SUBORDINATE.search(question[: match.start()])
        inside = bool(clause) if match[1].lower() not in _POSSESSIVE else bool(clause or (front and front.entities))
        if front is None or not front.terms or not inside:
            return match
    return None


def _with_subject(question: str, match: re.Match, what: str) -> str:
    word = match[1].lower()
    name = f"{what}'{'' if what.endswith('s') else 's'}" if word in _POSSESSIVE else what
    return _capital(f"{question[: match.start()]}{name}{question[match.end() :]}")


def _reason(before: str) -> str:
    """The question why, about what was asked."""
    if match := _ASKED.match(before):
        thing = match["thing"].strip()
        return f"Why {match['verb'].lower()} {match['rest']}{' ' + thing if thing else ''}?"
    if match := _MANNER.match(before) or _YES_NO.match(before):
        return f"Why {match['verb'].lower()} {match['rest']}?"
    return f"Why: {_statement(before)}?"


def _statement(question: str) -> str:
    """What a question names, without its question words."""
    return " ".join(_runs(question)) or question.rstrip(" ?")


def _exchanged(question: str, before: str) -> str:
    """The earlier question with the new name, size, table or thing in place of the one of its kind."""
    match = _ABOUT.match(question)
    new = match["new"].strip() if match else ""
    if not new or _QUESTION_WORDS & set(words(new)[:1]) or len(new.split()) > 6:
        return ""
    for kind in (_LABEL, _SIZE):
        if (found := kind.search(new)) and (old := kind.search(before)):
            name = _NAME.search(new[: found.start()]) if kind is _SIZE else None
            if name is None:
                return before[: old.start()] + found.group() + before[old.end() :]
    preposition = (match["preposition"] or "").lower()
    if preposition:
        place = re.search(rf"\b{preposition}\s+((?:the|a|an)\s+)?", before, re.I)
        if place and (old := _NAME.match(before, place.end())):
            return before[: place.start()] + f"{preposition} {new}" + before[old.end() :]
    names = [
        found for found in _NAME.finditer(before) if found.start() > 0 and found.group().lower() not in _QUESTION_WORDS
    ]
    if _NAME.search(new) and names and not preposition:
        return before[: names[0].start()] + new + before[names[0].end() :]
    if not preposition and not _NAME.search(new):
        about = subject(before)
        if len(_runs(before)) == 1 and about in before:
            return before.replace(about, _ARTICLE.sub("", new), 1)
        return f"{before.rstrip(' ?')}: {new}?"
    return f"{before.rstrip(' ?')} {match['rest'].strip()}?"
