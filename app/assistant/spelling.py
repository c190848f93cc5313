"""Misspelt words of a question, put right where the paper has a word that differs by a slip of the hand."""

import re
from collections import Counter
from collections.abc import Container

from app.assistant.terms import STOP_WORDS, plain

_WORD = re.compile(r"[A-Za-z]+")
_SHORTEST = 4
_TWO_SLIPS = 9
"""From so many letters on, two slips are put right."""
_ENDINGS = ("s", "es", "ed", "ing", "er", "est", "ly")


class Spelling:
    """The paper's words, and the words that are right although the paper does not have them.

    Args:
        known: the paper's words in lower case and how often each stands there.
        dictionary: common words of the language; a word in it is never changed.
    """

    def __init__(self, known: Counter[str], dictionary: Container[str]):
        self.known, self.dictionary = known, dictionary
        self._by_letter: dict[str, list[str]] = {}
        for word in known:
            if len(word) >= _SHORTEST and word.isalpha():
                self._by_letter.setdefault(word[0], []).append(word)

    def correct(self, text: str) -> str:
        """The text with slips put right: a letter too many, too few or another one, or two that changed places.

        The first letter is trusted, and so is a word with capitals inside (it is a name) or that is made of two known
        words.
        """
        return _WORD.sub(lambda match: self._corrected(match.group()), text)

    def _corrected(self, word: str) -> str:
        lower = word.lower()
        if len(lower) < _SHORTEST or any(letter.isupper() for letter in word[1:]) or self._is_right(lower):
            return word
        slips = 1 if len(lower) < _TWO_SLIPS else 2
        near = [
            (distance(lower, other, slips), -self.known[other], other) for other in self._by_letter.get(lower[0], ())
        ]
        best = min(near, default=(slips + 1, 0, ""))
        return best[2] if best[0] <= slips else word

    def _is_right(self, word: str) -> bool:
        if word in self.known or plain(word) in self.known or word in self.dictionary or word in STOP_WORDS:
            return True
        compound = any(self._is_word(word[:cut]) and self._is_word(word[cut:]) for cut in range(3, len(word) - 2))
        return compound or any(
            self._is_word(word.removesuffix(ending) + rest)
            for ending in _ENDINGS
            if word.endswith(ending)
            for rest in ("", "e")
        )

    def _is_word(self, word: str) -> bool:
        return len(word) >= 3 and (word in self.dictionary or word in self.known)


def distance(one: str, other: str, most: int) -> int:
    """Letters inserted, deleted, replaced, or swapped with their neighbour (Damerau 1964) between two words;
    ``most + 1`` when there are more than ``most``."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        previous, before = before, row
        row = [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
