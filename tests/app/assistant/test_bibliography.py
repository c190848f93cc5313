"""Citations to copy."""

from dataclasses import replace

from app.assistant.answering import Citation
from app.assistant.bibliography import as_text, bibtex
from app.assistant.library import papers

PAPER = papers()[0]
CITATION = Citation(1, "qlora", "paper", 5, 5, "3 QLORA Finetuning", "Paged Optimizers use\nunified memory.", 0.7)


def test_bibtex_of_a_paper():
    assert bibtex(PAPER).splitlines() == [
        "@misc{dettmers2023qlora,",
        "  title = {{QLoRA}: Efficient Finetuning of Quantized {LLMs}},",
        "  author = {Tim Dettmers and Artidoro Pagnoni and Ari Holtzman and Luke Zettlemoyer},",
        "  year = {2023},",
        "  eprint = {2305.14314},",
        "  archivePrefix = {arXiv},",
        "  url = {https://arxiv.org/abs/2305.14314v1},",
        "  note = {Version 1},",
        "}",
    ]


def test_marks_that_bibtex_would_take_for_its_own_are_escaped():
    entry = bibtex(replace(PAPER, title="Costs of 50% & more {in} $ #1_a~b^c\\d", authors=()))
    assert r"50\% \& more \{in\} \$ \#1\_a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d" in entry
    assert entry.count("{") == entry.count("}") and "author" not in entry


def test_a_paper_of_which_only_the_title_is_known():
    entry = bibtex(replace(PAPER, title="A", authors=(), arxiv="", version=0, year=0))
    assert entry.startswith("@misc{unknown") and "eprint" not in entry and "year" not in entry


def test_a_citation_as_text():
    assert as_text(CITATION, PAPER) == (
        "“Paged Optimizers use unified memory.” (Tim Dettmers et al., “QLoRA: Efficient Finetuning of Quantized LLMs”, "
        "arXiv:2305.14314v1, 2023, 3 QLORA Finetuning, p. 5)"
    )


def test_notes_are_not_passed_off_as_the_paper_and_long_quotes_are_cut():
    text = as_text(replace(CITATION, source="notes", last_page=6, quote="word " * 200), PAPER)
    assert "our note on pp. 5–6" in text and " …”" in text and len(text) < 600
