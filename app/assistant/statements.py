"""Kinds of statements that answer a question: a reason for why, a person for who, and what measures and terms of use
look like. A place that matches every word of such a question may still not say what is asked."""

import re

STATEMENTS: dict[str, tuple[re.Pattern, re.Pattern]] = {
    # what is said: (how it is asked for, in lower case; what one of the sentences that say it must hold)
    "why": (
        re.compile(r"^\s*(?:why|how come)\b|\breasons?\b|\bwhat (?:makes|made|explains|caused)\b"),
        re.compile(
            r"\b(?:because|since|as|due to|so that|in order|therefore|thus|hence|reasons?|avoid\w*|prevent\w*|allow\w*"
            r"|enabl\w+|ensur\w+|leads? to|caus\w+|result(?:s|ed|ing)? (?:from|in)|comes? from|mean(?:s|ing)"
            r"|for (?:higher|better|more|additional|further|this)|unclear|necessary|required|needed|otherwise|goal"
            r"|aims?)\b|\bto (?!the\b|a\b|an\b|be\b)(?:\w+ly )?[a-z]{3,}",
            re.IGNORECASE,
        ),
    ),
    "who": (
        re.compile(r"\b(?:who|whom|whose)\b"),
        re.compile(
            r"\b[A-Z][a-z]+(?: [A-Z]\.)? [A-Z][a-z]+|\b(?:we|us|our|authors?|team|researchers?|users?|annotators?"
            r"|raters?|workers?|humans?|people|community|corporations?|et al|designers?|testers?|developers?"
            r"|volunteers?)\b"
        ),
    ),
    "where": (
        re.compile(r"^\s*where\b"),
        re.compile(r"\b(?:in|on|at|from|into|through|via) [\w(]|https?:|University|Appendix|Section|§", re.IGNORECASE),
    ),
    "how fast": (
        re.compile(
            r"\b(?:latency|throughput|speed|faster|slower|slowdown|per second|per minute|runtime|milliseconds?|ms)\b"
        ),
        re.compile(
            r"\b(?:ms|milliseconds?|per second|speed\w*|runtime|slow\w*|latency|throughput|faster)\b|/s\b",
            re.IGNORECASE,
        ),
    ),
    "how much energy": (
        re.compile(r"\b(?:energy|electricity|carbon|co2|emissions?|watts?|kwh|power draw|kilowatt\w*)\b"),
        re.compile(r"\b(?:kwh|watts?|joules?|carbon|co2|emission\w*|energy|electricity)\b", re.IGNORECASE),
    ),
    "under which terms": (
        re.compile(r"\b(?:licen[sc]e\w*|copyright|patent\w*)\b"),
        re.compile(r"licen[sc]|copyright|patent|apache|\bmit\b|\bgpl", re.IGNORECASE),
    ),
    "which version": (
        re.compile(r"\bversions?\b"),
        re.compile(r"\bversions?\b|\bv\d|\d+\.\d+\.\d+", re.IGNORECASE),
    ),
}
"""Wide on purpose: they only tell that a place cannot be the answer."""


def unstated(question: str, text: str) -> list[str]:
    """The kinds of statement that the question asks for and the text has none of."""
    simple = question.lower()
    return [kind for kind, (asked, held) in STATEMENTS.items() if asked.search(simple) and not held.search(text)]
