"""Lines of a PDF: their characters, the words they make, and how words torn at line ends are joined again."""

import re
from collections import Counter
from dataclasses import dataclass, field

from app.assistant.readers.page import Box, Word

_MATH_FONT = re.compile(r"CMMI|CMSY|CMEX|CMR\d|MSBM|Math|Symbol", re.IGNORECASE)
_LONGEST_WORD = 20
"""Letters; "internationalization" has as many. What would be longer is two words with a hyphen."""
_BOLD_FONT = re.compile(r"bold|medi|black|heavy|CMBX", re.IGNORECASE)


@dataclass
class Character:
    text: str
    box: Box
    font: str
    size: float
    upright: bool


@dataclass
class Line:
    """One line of the page: its words (text, box, bold), in the order in which they were drawn."""

    characters: list[Character] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    box: Box = (0.0, 0.0, 0.0, 0.0)
    upright: bool = True

    def add(self, character: Character) -> None:
        a, b = self.box, character.box
        self.box = b if not self.characters else (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        self.upright = character.upright
        self.characters.append(character)


@dataclass
class StyledLine:
    """A line with what layout needs to know: its words, typical size, and how much of it is bold or mathematics."""

    words: list[Word]
    bold: list[bool]
    box: Box
    size: float
    mathematics: float
    upright: bool
    hyphenated: bool

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def style(line: Line) -> StyledLine:
    words, bold, run = [], [], []
    for index, character in enumerate(line.characters):
        if index in line.breaks and run:
            words.append(_word(run))
            bold.append(_is_bold(run))
            run = []
        run.append(character)
    words.append(_word(run))
    bold.append(_is_bold(run))
    sizes = Counter(round(c.size, 1) for c in line.characters)
    mathematics = sum(bool(_MATH_FONT.search(c.font)) for c in line.characters) / len(line.characters)
    hyphenated = line.characters[-1].text == "-" and len(words[-1].text) > 1
    return StyledLine(words, bold, line.box, sizes.most_common(1)[0][0], mathematics, line.upright, hyphenated)


def _word(run) -> Word:
    box = (
        min(c.box[0] for c in run),
        min(c.box[1] for c in run),
        max(c.box[2] for c in run),
        max(c.box[3] for c in run),
    )
    return Word("".join(c.text for c in run), (box,))


def _is_bold(run) -> bool:
    return sum(bool(_BOLD_FONT.search(c.font)) for c in run) > len(run) / 2


class Vocabulary:
    """Which words the document writes in one piece and which with a hyphen, to undo hyphenation at line ends."""

    def __init__(self, pages: list[list[StyledLine]]):
        self.words: Counter[str] = Counter()
        for page in pages:
            torn = False
            for line in page:
                for word in line.words[torn : len(line.words) - line.hyphenated]:
                    plain = word.text.strip(".,;:()[]“”\"'").lower()
                    self.words[plain] += 1
                    self.words.update(part for part in plain.split("-") if "-" in plain)
                torn = line.hyphenated

    def join(self, first: str, second: str) -> str:
        stem = re.sub(r"^\W+", "", first[:-1]).lower()
        rest = re.sub(r"\W+$", "", second).lower()
        if self.words[stem + rest]:
            return first[:-1] + second
        if (
            self.words[f"{stem}-{rest}"]
            or not rest[:1].isalpha()
            or not stem[-1:].isalpha()
            or not second[:1].islower()
        ):
            return first + second
        head = stem.rsplit("-", 1)[-1]
        compound = "-" in stem or (self.words[head] and self.words[rest]) or len(head) + len(rest) > _LONGEST_WORD
        return first + second if compound else first[:-1] + second

    def joined(self, lines: list[StyledLine]) -> tuple[Word, ...]:
        """Words of the lines one after the other; a word torn at a line end is one again, with both boxes."""
        words: list[Word] = []
        torn = False
        for line in lines:
            for word in line.words:
                if torn:
                    last = words.pop()
                    word = Word(self.join(last.text, word.text), last.boxes + word.boxes)
                    torn = False
                words.append(word)
            torn = line.hyphenated
        return tuple(words)
