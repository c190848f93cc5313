"""Citations to copy: BibTeX for a paper, a line of text for a place in it."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.assistant.answering import Citation
    from app.assistant.library import Paper

_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}
_QUOTE_CHARACTERS = 300


def bibtex(paper: "Paper") -> str:
    """The paper as a BibTeX entry; capitals of its title are kept."""
    family = re.sub(r"\W", "", paper.authors[0].split()[-1].lower()) if paper.authors else "unknown"
    first = next((word for word in re.findall(r"\w+", paper.title.lower()) if len(word) > 3), paper.id)
    title = re.sub(r"\b(\w*[A-Z]\w*[A-Z]\w*)\b", r"{\1}", _escaped(paper.title))
    fields = {"title": title, "author": " and ".join(map(_escaped, paper.authors))}
    fields |= {"year": str(paper.year or "")}
    if paper.arxiv:
        fields |= {"eprint": paper.arxiv, "archivePrefix": "arXiv", "url": paper.abstract_url}
        fields |= {"note": f"Version {paper.version}" if paper.version else ""}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{family}{paper.year or ''}{first},", *lines, "}"])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def as_text(citation: "Citation", paper: "Paper") -> str:
    """The quote with authors, title, year, section and page, in one line."""
    authors = ", ".join(paper.authors[:1]) + (" et al." if len(paper.authors) > 2 else "")
    if len(paper.authors) == 2:
        authors = " and ".join(paper.authors)
    arxiv = f"arXiv:{paper.arxiv}{f'v{paper.version}' if paper.version else ''}" if paper.arxiv else ""
    pages = f"p. {citation.pdf_page}"
    if citation.last_page > citation.pdf_page:
        pages = f"pp. {citation.pdf_page}–{citation.last_page}"
    if citation.source == "notes":
        pages = f"our note on {pages}"
    source = ", ".join(
        part for part in (authors, f"“{paper.title}”", arxiv, str(paper.year or ""), citation.section, pages) if part
    )
    quote = " ".join(citation.quote.split())
    quote = quote if len(quote) <= _QUOTE_CHARACTERS else f"{quote[:_QUOTE_CHARACTERS].rsplit(' ', 1)[0]} …"
    return f"“{quote}” ({source})"
