"""Lines of a PDF become blocks: paragraphs, headings, captions, tables, figures, footnotes, references."""

import re
from collections import Counter
from dataclasses import dataclass

from app.assistant.readers.lines import StyledLine, Vocabulary
from app.assistant.readers.page import (
    CAPTION,
    FRONT_MATTER,
    NUMBERED_HEADING,
    UNNUMBERED_HEADINGS,
    Block,
    Box,
    caption_label,
)

_REFERENCE = re.compile(r"^\[\d+\]\s|^\d+\.\s")


@dataclass(frozen=True)
class Region:
    """A drawing (``figure``) or a horizontal rule (``rule``) on a page; ``table`` once rules have been paired."""

    kind: str
    box: Box

    def holds(self, box: Box) -> bool:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return self.box[0] - 4 <= x <= self.box[2] + 4 and self.box[1] - 2 <= y <= self.box[3] + 2


def blocks_of_document(
    lines: list[list[StyledLine]], regions: list[list[Region]], sizes: list[tuple[float, float]]
) -> list[list[Block]]:
    """Blocks of each page in reading order; sections run on from page to page."""
    vocabulary = Vocabulary(lines)
    body = Counter(line.size for page in lines for line in page for _ in line.words).most_common(1)
    body_size = body[0][0] if body else 10.0
    section = FRONT_MATTER
    document = []
    for page, drawn, (_, height) in zip(lines, regions, sizes, strict=True):
        blocks, section = _Page(page, drawn, height, body_size, vocabulary).blocks(section)
        document.append(blocks)
    return document


class _Page:
    def __init__(self, lines, regions, height: float, body_size: float, vocabulary: Vocabulary):
        self.lines, self.height, self.body_size, self.vocabulary = lines, height, body_size, vocabulary
        self.figures = [region for region in regions if region.kind == "figure"]
        self.tables = self._tables([region.box for region in regions if region.kind == "rule"])

    def _tables(self, rules: list[Box]) -> list[Region]:
        """Ruled tables: two or more rules of one width, cut where a caption or a page's width of text stands
        between."""
        cuts = [line.box[1] for line in self.lines if CAPTION.match(line.text)]
        if not cuts:
            return []
        tables, groups = [], []
        for rule in sorted(rules, key=lambda box: box[1]):
            for group in groups:
                same = abs(group[0][0] - rule[0]) < 4 and abs(group[0][2] - rule[2]) < 4
                if same and not any(group[-1][3] < cut < rule[1] for cut in cuts):
                    group.append(rule)
                    break
            else:
                groups.append([rule])
        for group in groups:
            if len(group) > 1:
                tables.append(Region("table", (group[0][0], group[0][1], group[0][2], group[-1][3])))
        return tables

    def blocks(self, section: str) -> tuple[list[Block], str]:
        blocks: list[Block] = []
        tables: dict[Region, list[StyledLine]] = {table: [] for table in self.tables}
        captions: list[tuple[Block, Box]] = []
        figures: list[Block] = []
        footers: list[Block] = []
        paragraph: list[StyledLine] = []
        previous: StyledLine | None = None

        def flush():
            if paragraph:
                blocks.append(self._paragraph(paragraph, section))
                paragraph.clear()

        queue = list(self.lines)
        while queue:
            line = queue.pop(0)
            table = next((region for region in self.tables if region.holds(line.box)), None)
            if table is not None:
                tables[table].append(line)
                continue
            if any(region.holds(line.box) for region in self.figures):
                figures.append(Block("figure", tuple(line.words), section))
                continue
            if not line.upright:
                footers.append(Block("margin", tuple(line.words), section))
                continue
            if self._is_footer(line):
                footers.append(Block("footer", tuple(line.words), section))
                continue
            if self._is_caption(line, paragraph):
                caption = [line]
                while queue and self._continues_caption(caption[-1], queue[0]):
                    caption.append(queue.pop(0))
                block = Block("caption", self.vocabulary.joined(caption), section, label=caption_label(line.text))
                captions.append((block, _union([item.box for item in caption])))
                continue
            if title := self._heading(line, queue):
                flush()
                if title.lower().split()[-1] != "contents":
                    section = title
                blocks.append(Block("heading", tuple(line.words), section))
                previous = None
                continue
            if paragraph and previous is not None and self._starts_paragraph(previous, line, section):
                flush()
            paragraph.append(line)
            previous = line
        flush()
        blocks += self._floats(tables, captions, section, figures) + footers
        return blocks, section

    def _floats(self, tables, captions, section, figures) -> list[Block]:
        """Tables with the caption nearest to them; then the captions left over, which are figures'."""
        blocks, used = [], set()
        for region, lines in tables.items():
            rows = tuple(tuple(line.words) for line in sorted(lines, key=lambda line: round(line.box[1])))
            candidates = [
                (min(abs(region.box[1] - box[3]), abs(box[1] - region.box[3])), index)
                for index, (caption, box) in enumerate(captions)
                if caption.label.startswith("Table") and box[0] < region.box[2] and box[2] > region.box[0]
            ]
            if not rows or not candidates:
                continue
            index = min(candidates)[1]
            used.add(index)
            caption = captions[index][0]
            blocks.append(Block("table", caption.words, caption.section, label=caption.label, rows=rows))
        blocks += [caption for index, (caption, _) in enumerate(captions) if index not in used]
        return blocks + figures

    def _is_caption(self, line: StyledLine, paragraph: list[StyledLine]) -> bool:
        """A line "Figure 6." also ends sentences; it opens a caption only where no sentence is under way."""
        match = CAPTION.match(line.text)
        in_sentence = bool(paragraph) and not paragraph[-1].text.endswith((".", "?", "!", ":"))
        return bool(match) and (match[0].endswith(":") or not in_sentence)

    def _is_footer(self, line: StyledLine) -> bool:
        low = line.box[1] > self.height - 66
        return low and (line.text.isdigit() or line.size < self.body_size - 0.5 or line.text.startswith("Preprint"))

    def _continues_caption(self, last: StyledLine, line: StyledLine) -> bool:
        gap = line.box[1] - last.box[3]
        below = -0.5 * line.size < gap < 0.5 * line.size and abs(line.size - last.size) < 0.6
        in_table = any(region.holds(line.box) for region in self.tables)
        return (
            below
            and not in_table
            and line.box[0] < last.box[2]
            and line.box[2] > last.box[0]
            and not CAPTION.match(line.text)
        )

    def _heading(self, line: StyledLine, queue: list[StyledLine]) -> str:
        """The section title on this line, or an empty string. A bold line that runs on in the text is not one."""
        if not all(bold or not word.text[0].isalnum() for word, bold in zip(line.words, line.bold, strict=True)):
            return ""
        text = line.text
        large = line.size > self.body_size + 0.8
        if text.lower() in UNNUMBERED_HEADINGS:
            return text
        if NUMBERED_HEADING.match(text) and len(line.words) > 1 and (large or text.split()[0].count(".")):
            while (
                queue and queue[0].size == line.size and all(queue[0].bold) and _gap(line, queue[0]) < 0.6 * line.size
            ):
                text += " " + queue.pop(0).text
            return text
        return ""

    def _starts_paragraph(self, previous: StyledLine, line: StyledLine, section: str) -> bool:
        if section.lower().endswith(("references", "bibliography")):
            return bool(_REFERENCE.match(line.text))
        if previous.hyphenated:
            return False
        gap = _gap(previous, line)
        if gap < -previous.size:  # the next column, or the text after a float: the sentence tells whether it goes on
            return previous.text.endswith((".", "?", "!", ":")) or line.bold[0]
        indented = line.box[0] > previous.box[0] + 15 and previous.text.endswith((".", "?", "!", ":"))
        smaller = abs(line.size - previous.size) > 0.6 and line.mathematics < 0.3 and previous.mathematics < 0.3
        bold_lead = line.bold[0] and not previous.bold[-1] and line.words[0].text[:1].isalnum()
        return (gap > 0.35 * self.body_size and not line.mathematics > 0.3) or indented or smaller or bold_lead

    def _paragraph(self, lines: list[StyledLine], section: str) -> Block:
        first = lines[0]
        words = self.vocabulary.joined(lines)
        bold = self._join_flags(lines)
        length = next((i for i, flag in enumerate(bold) if not flag), len(bold))
        lead = " ".join(word.text for word in words[:length]).rstrip(".:") if 0 < length <= 24 else ""
        lead = lead if len(lead) > 2 else ""
        kind = "text"
        if section.lower().endswith(("references", "bibliography")):
            kind = "reference"
        elif first.size < self.body_size - 0.5 and first.box[1] > 0.6 * self.height:
            kind = "footnote"
        elif sum(line.mathematics for line in lines) / len(lines) > 0.5:
            kind = "equation"
        return Block(kind, words, section, lead=lead)

    @staticmethod
    def _join_flags(lines: list[StyledLine]) -> list[bool]:
        flags: list[bool] = []
        glue = False
        for line in lines:
            flags += line.bold[1:] if glue else line.bold
            glue = line.hyphenated
        return flags


def _gap(previous: StyledLine, line: StyledLine) -> float:
    return line.box[1] - previous.box[3]


def _union(boxes: list[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
