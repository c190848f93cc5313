"""Notes, words, passages: the steps between a file and the index."""

import pytest

from app.assistant.chunking import MAX_WORDS, Chunk, chunk_pages, split_sentences
from app.assistant.library import papers
from app.assistant.question import parse
from app.assistant.readers.notes import read_notes
from app.assistant.readers.page import Block, Page, Word, bare, merge_line_boxes
from app.assistant.readers.pdf import read_pdf
from app.assistant.terms import abbreviations, stem, tokens
from qlora.errors import InputError


def words_of(text: str) -> tuple[Word, ...]:
    return tuple(Word(word) for word in text.split())


def test_notes_say_their_section_and_page(bread):
    first, second = read_notes(bread / "bread")
    assert (first.pdf_page, first.source, first.blocks[1].section) == (1, "notes", "Section 1: Why bread rises")
    assert second.blocks[0].label == "Table 1"


def test_numbers_become_rows_that_read_as_words(bread):
    _, section = read_notes(bread / "bread")
    (table,) = [block for block in section.blocks if block.kind == "table"]
    assert [" ".join(word.text for word in row) for row in table.rows][1] == "Rye 1150: water 80 GB, rise 1.2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("## Lost\n\nNo place.\n", "Lost"),
        ("## There\n> Table 1 · page 2\n\nNumbers: none.csv\n", r"none\.csv"),
    ],
)
def test_notes_with_a_defect_are_named(tmp_path, text, says):
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_notes(tmp_path)


def test_our_notes_cover_every_page_but_the_list_of_references():
    pages = {n for page in read_notes(papers()[0].notes) for n in range(page.pdf_page, page.last_page + 1)}
    assert set(range(1, 17)) | set(range(22, 27)) <= pages


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("quantization", "quantized"),
        ("quantisation", "quantize"),
        ("optimizers", "optimizer"),
        ("memories", "memory"),
        ("evaluated", "evaluation"),
        ("fine-tuning", "finetuned"),
    ],
)
def test_forms_of_a_word_meet(one, other):
    assert set(tokens(one)) & set(tokens(other))


@pytest.mark.parametrize(
    ("one", "other"), [("65 billion", "65B"), ("48GB", "48 gigabytes"), ("82,612", "82612"), ("two", "2")]
)
def test_ways_to_write_a_number_meet(one, other):
    assert tokens(one) == tokens(other)


@pytest.mark.parametrize(("one", "other"), [("adapter", "adaptive"), ("65B", "33B"), ("NF4", "FP4"), ("train", "rain")])
def test_different_words_stay_apart(one, other):
    assert not set(tokens(one)) & set(tokens(other)) or stem(one) != stem(other)


def test_abbreviations_are_taken_from_the_text():
    text = "We use Low Rank Adapters (LoRA) and 4-bit NormalFloat (NF4), then Double Quantization (DQ) (see below) (a)."
    assert abbreviations(text) == {"lora": "low rank adapters", "nf4": "4-bit normalfloat", "dq": "double quantization"}


def test_sentences_end_where_they_end():
    text = "It uses e.g. NF4 (see Fig. 2). The 0.37 bits of Smith et al. matter. Does it? Yes."
    assert [s.text for s in split_sentences(words_of(text))] == [
        "It uses e.g. NF4 (see Fig. 2).",
        "The 0.37 bits of Smith et al. matter.",
        "Does it?",
        "Yes.",
    ]


def test_a_text_without_full_stops_is_cut_into_passages():
    words = words_of("flour " * 1000)
    page = Page(1, 612, 792, (Block("text", words, "1 Words"),), "flour " * 1000)
    chunks = chunk_pages([page], "bread")
    assert len(chunks) > 5 and all(len(chunk.text.split()) <= MAX_WORDS + 40 for chunk in chunks)
    assert sum(len(sentence.text.split()) for sentence in split_sentences(words)) == 1000


def test_boxes_on_a_line_are_joined_and_lines_are_not():
    words = [Word("a", ((10, 10, 20, 20),)), Word("b", ((24, 10, 30, 20),)), Word("c", ((10, 24, 20, 34),))]
    assert merge_line_boxes(words) == ((10, 10, 30, 20), (10, 24, 20, 34))


def test_tables_stay_whole_and_passages_are_short(bread):
    chunks = chunk_pages(read_pdf(bread / "bread.pdf"), "bread")
    (table,) = [chunk for chunk in chunks if chunk.kind == "table"]
    assert (table.label, table.pdf_page, table.header) == ("Table 1", 2, 1)
    assert [s.cells for s in table.sentences if s.row][1] == ("Wheat 550", "68 g", "2.4")
    assert all(len(chunk.text.split()) <= MAX_WORDS + 40 for chunk in chunks if chunk.kind == "text")
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert [Chunk.from_record(chunk.record()) for chunk in chunks] == chunks


def test_comparison_of_quotes_ignores_what_extractors_disagree_about():
    assert bare("infor-\nmation  theory\x12") == bare("information theory") == "informationtheory"


@pytest.mark.parametrize("text", ["", "   \n\t ", "?!", "…", "1 2 3"])
def test_a_question_without_a_word_is_refused(text):
    with pytest.raises(InputError):
        parse(text)


def test_a_question_of_a_hundred_kilobytes_is_refused():
    with pytest.raises(InputError, match="at most"):
        parse("why " * 25_000)


def test_names_and_what_is_counted_are_recognised():
    question = parse("How many attention heads does LLaMA 65B have?")
    assert question.counted.text == "heads" and question.unit == "head" and question.fact == "count"
    assert {term.text for term in question.entities} == {"llama", "65b"}
    assert parse("What does the paper say about Llama 2?").versions == ("llama 2",)
    assert parse("What does Table 2 say?").versions == ()
    assert not parse("What are paged optimizers?").entities


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("How much did it cost in dollars?", "money"),
        ("When was it accepted?", "date"),
        ("How long does training take?", "duration"),
        ("Where is the source code?", "link"),
        ("How many gigabytes does it need?", "memory"),
        ("Why is NF4 better?", ""),
    ],
)
def test_the_kind_of_fact_is_recognised(text, fact):
    assert parse(text).fact == fact
