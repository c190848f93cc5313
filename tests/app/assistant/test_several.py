"""Questions over several papers: who answers, what is cited of whom, and who is said to have nothing."""

import json

import pytest

from app.assistant import __main__ as command
from app.assistant import comparing
from app.assistant.assistant import Assistant
from app.assistant.backends import make
from app.assistant.paper import Paper
from app.assistant.readers.page import bare
from app.assistant.selection import Selection, asking
from tests.app.assistant.chat_server import openai_says, serving

TEA, COFFEE = Paper("green-tea", "Green Tea and Water"), Paper("coffee", "Coffee: Grinding and Brewing")
QLORA = Paper("qlora", "QLoRA: Efficient Finetuning", authors=("Tim Dettmers",))
PAGING = "What does Adapter Paging hide?"


@pytest.fixture
def select(small_papers):
    """Makes a selection of small papers by the names of their files."""

    def of(*names: str, comparing: bool = False) -> Selection:
        return Selection([small_papers[name] for name in names], comparing)

    return of


def id_of(small_papers, name: str) -> str:
    return small_papers[name].paper.id


def assert_quotes_stand_in_their_papers(answer, small_papers):
    files = {assistant.paper.id: assistant.paper.files[0] for assistant in small_papers.values()}
    assert answer.citations, "else this proves nothing"
    for citation in answer.citations:
        said = files[citation.paper].read_text(encoding="utf-8").replace("|", " ")
        assert bare(citation.quote) in bare(said), citation.quote


@pytest.mark.parametrize(
    ("question", "is_one"),
    [
        ("How do the papers differ?", True),
        ("Compare the ovens", True),
        ("What is the difference in taste?", True),
        ("What does each of the papers say about rain?", True),
        ("How are the two loaves different?", True),
        ("How many different languages are there?", False),
        ("How long is it baked?", False),
        ("Which paper has a table?", False),
    ],
)
def test_a_comparison_is_known_by_its_words(question, is_one):
    assert comparing.compares(question) is is_one


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("How do Green Tea and Water and Coffee differ in the time of steeping?", "the time of steeping"),
        ("How do QLoRA and Coffee differ in the way they treat memory?", "memory"),
        ("Compare how tannins affect the taste in coffee and green tea.", "how tannins affect the taste"),
        ("What is the difference between the papers on bitterness?", "bitterness"),
        ("Compare memory use of QLoRA with Dettmers's", "memory use"),
        ("What do QLoRA and Coffee have in common?", ""),
        ("How do these papers differ?", ""),
        ("Compare the two papers", ""),
    ],
)
def test_what_a_comparison_asks_of_each_paper(question, asked):
    assert comparing.subject(question, [TEA, COFFEE, QLORA], []) == asked


def test_what_another_paper_is_about_is_not_asked_of_this_one():
    question = "Does brewing coffee need hard water?"
    assert "offee" not in comparing.subject(question, [TEA, Paper("b", "Brewing coffee at home")], ["wat", "hard"])


@pytest.mark.parametrize(("text", "named"), [("in QLoRA", True), ("Dettmers says", True), ("in LoRA", False)])
def test_a_paper_is_called_by_its_short_title_or_an_author(text, named):
    assert comparing.is_named(text, QLORA) is named


def test_the_paper_that_has_it_answers_and_the_source_names_it(select, small_papers):
    answer = select("networks_adapters", "bread_ash").ask(PAGING)
    assert not answer.declined and not answer.compared and "98 percent" in answer.text
    assert answer.citations[answer.statements[0].citation - 1].paper == id_of(small_papers, "networks_adapters")
    assert set(answer.names) == {id_of(small_papers, name) for name in ("networks_adapters", "bread_ash")}
    assert_quotes_stand_in_their_papers(answer, small_papers)
    record = answer.record()
    assert record["papers"][0]["name"] == "One Model, Many Adapters" and record["citations"][0]["paper"]


def test_papers_that_answer_alike_all_speak(select, small_papers):
    answer = select("bridges_rust", "bridges_cables", "bridges_sway").ask("What was not studied or remains unknown?")
    assert not answer.declined and len({citation.paper for citation in answer.citations}) > 1


COMPARISONS = [
    (("bread_starter", "bread_ash"), "Compare sourdough in both papers"),
    (("networks_rounding", "networks_adapters"), "How do the two papers differ in their use of memory?"),
    (("networks_rounding", "networks_adapters", "networks_pruning"), "Compare the papers"),
    (("bread_steam", "birds_storks"), "How do these papers differ?"),
]


@pytest.mark.parametrize(("names", "question"), COMPARISONS)
def test_a_comparison_cites_every_paper(select, small_papers, names, question):
    answer = select(*names).ask(question)
    assert answer.compared and not answer.declined
    assert {citation.paper for citation in answer.citations} == {id_of(small_papers, name) for name in names}
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    for sentence in answer.sentences:
        assert answer.body[sentence.start : sentence.end] == sentence.text
    assert_quotes_stand_in_their_papers(answer, small_papers)


@pytest.mark.parametrize(
    ("names", "question"),
    [
        (("bread_starter", "birds_storks"), "Compare sourdough in both papers"),
        (("bridges_rust", "bridges_cables"), "How do the sensors differ?"),
        (("networks_adapters", "bread_ash"), f"{PAGING} Compare."),
    ],
)
def test_a_paper_that_has_nothing_is_said_to_and_not_cited(select, small_papers, names, question):
    answer = select(*names).ask(question)
    speaking, silent = (id_of(small_papers, name) for name in names)
    assert {citation.paper for citation in answer.citations} == {speaking}
    (nothing,) = [paper for paper in answer.papers if paper.nothing]
    assert nothing.id == silent and f"“{nothing.name}” has nothing on this." in answer.text


def test_a_word_that_only_another_paper_has_is_no_slip_of_the_hand(select, small_papers):
    alone = small_papers["networks_rounding"].open().search.spelling
    assert alone.correct("stork") == "store", "else this proves nothing"
    answer = select("networks_rounding", "birds_storks", comparing=True).ask("How far does a stork fly a day?")
    assert {citation.paper for citation in answer.citations} == {id_of(small_papers, "birds_storks")}
    assert "4 kilometres" in answer.text and "has nothing on this" in answer.text


def test_a_paper_that_has_the_word_but_no_answer_shows_its_nearest_passage(select, small_papers):
    answer = select("networks_rounding", "networks_pruning").ask("Compare how memory is saved")
    (paper,) = [paper for paper in answer.papers if paper.nothing]
    near = next(citation for citation in answer.citations if citation.number == paper.nearest)
    assert near.paper == paper.id == id_of(small_papers, "networks_pruning")
    assert "does not say" in paper.silence and f"[{paper.nearest}]" in paper.silence
    assert near.number not in [statement.citation for statement in answer.statements]


def test_any_question_can_be_marked_as_a_comparison(select, small_papers):
    question = "How much memory does it take?"
    plain, marked = (
        select("networks_adapters", "networks_rounding", comparing=marked).ask(question) for marked in (False, True)
    )
    assert not plain.compared and marked.compared
    assert len({citation.paper for citation in marked.citations}) == 2


@pytest.mark.parametrize("comparing", [False, True])
def test_what_no_paper_has_is_declined_with_the_nearest_passages(select, comparing):
    answer = select("bread_ash", "birds_storks", comparing=comparing).ask("What does Mistral 7B cost?")
    assert answer.declined and answer.text.startswith("The papers do not say. ") and "“Mistral”" in answer.reason
    assert answer.citations and not answer.statements


def test_reasons_of_several_papers_are_told_apart(select):
    answer = select("bread_steam", "networks_rounding").ask("Why does the crust shine on a bicycle in 1987?")
    assert answer.declined and answer.reason


def test_one_paper_is_asked_as_ever(small_papers):
    assert asking([small_papers["bread_ash"]]) is small_papers["bread_ash"]


def test_papers_with_one_short_title_are_called_by_their_whole_titles(small_papers, monkeypatch):
    selection = Selection([small_papers["bread_steam"], small_papers["bridges_rust"]])
    assert [paper.name for paper in selection.ask("Compare the papers").papers] == [
        "Steam in Household Ovens", "Hearing Rust",
    ]  # fmt: skip
    monkeypatch.setattr(Paper, "short_title", property(lambda paper: "Notes"))
    assert selection.ask("Compare the papers").papers[1].name == small_papers["bridges_rust"].paper.title


def test_a_follow_up_keeps_to_the_selection(select, small_papers):
    selection = select("networks_rounding", "networks_pruning")
    first = selection.ask("How much memory does the network with three bits need?")
    second = selection.ask("And why?", [(first.question, first.text)])
    assert second.understood and len(second.papers) == 2


def test_search_goes_over_all_of_them(select, small_papers):
    selection = select("networks_rounding", "bread_steam")
    names = ("networks_rounding", "bread_steam")
    questions = ("Which levels does a row of weights choose?", "How long does dough under a lid keep rising?")
    for name, question in zip(names, questions, strict=True):
        assert selection.retrieve(question, 3)[0].chunk.paper == id_of(small_papers, name)
    document = selection.retriever(2).invoke("steam under a lid")[0]
    assert document.metadata["paper"] == id_of(small_papers, "bread_steam")


def test_a_model_is_given_passages_of_all_and_is_checked_against_all(select, small_papers, monkeypatch):
    said = (
        "Adapter Paging hides the transfer in 98 percent of requests [1]. ",
        "The network shrinks from 96 MB to 11 MB. ",
        "Both were written in 1969.",
    )
    with serving(openai_says(*said)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        selection = select("networks_adapters", "networks_rounding")
        answer = selection.ask("Compare how memory is used", backend=make("openai", "m"))
        ((_, body, _),) = server.requests
    prompt = body["messages"][-1]["content"]
    for name in ("networks_adapters", "networks_rounding"):
        assert f' paper="{id_of(small_papers, name)}"' in prompt
    verdicts = [sentence.verdict for sentence in answer.sentences]
    assert verdicts[1:] == ["supported", "unsupported"], "a sentence of the second paper is found there"
    assert {citation.paper for citation in answer.citations} == set(answer.names)
    assert answer.compared and len({citation.number for citation in answer.citations}) == len(answer.citations)


def test_what_a_model_leaves_out_of_a_comparison_is_cited_all_the_same(select, small_papers, monkeypatch):
    with serving(openai_says("The starter at 30 degrees doubles in 3.5 hours.")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        names = ("bread_starter", "bread_ash", "birds_storks")
        answer = select(*names).ask("Compare sourdough in the papers", backend=make("openai", "m"))
    assert answer.written and answer.sentences[0].verdict == "supported"
    assert {c.paper for c in answer.citations} == {id_of(small_papers, name) for name in names[:2]}
    assert "has nothing on this" in answer.text and answer.papers[2].nothing


@pytest.fixture
def run(small_papers, monkeypatch, capsys):
    """Runs a command line on the library of small papers; returns (exit status, output)."""
    by_id = {assistant.paper.id: assistant for assistant in small_papers.values()}
    monkeypatch.setattr(command, "papers", lambda: [assistant.paper for assistant in by_id.values()])
    monkeypatch.setattr(command, "Assistant", lambda paper, with_pdf: by_id[paper.id])

    def run_it(*arguments):
        status = command.main([str(argument) for argument in arguments])
        return status, capsys.readouterr().out

    return run_it


def test_the_command_line_asks_several(run, small_papers, tmp_path):
    ids = [id_of(small_papers, name) for name in ("bread_starter", "bread_ash")]
    chosen = [argument for paper in ids for argument in ("--paper", paper)]
    record = json.loads(run("ask", "Compare sourdough in both papers", *chosen, "--json")[1])
    assert {citation["paper"] for citation in record["citations"]} == set(ids) and record["compared"]
    assert "“Warm Starters Make Mild Loaves”, p. 1" in run("ask", "Compare sourdough in both papers", *chosen)[1]
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "What is Acid Balance?"}\n{"question": "Which ash content gave a grey crumb?"}\n')
    lines = run("ask", "--questions", file, *chosen, "--json")[1].splitlines()
    first = [json.loads(line)["citations"][0]["paper"] for line in lines]
    assert first == ids, "each question is answered from the paper that has it"
    marked = json.loads(run("ask", "How sour is it?", *chosen, "--compare", "--json")[1])
    assert marked["compared"]


def test_what_several_papers_cannot_do_is_said(run, small_papers):
    one, other = id_of(small_papers, "bread_ash"), id_of(small_papers, "bread_steam")
    assert run("evaluate", "none.jsonl", "--paper", one, "--paper", other)[0] == 2
    assert run("ask", "x", "--paper", one, "--compare")[0] == 2
    assert run("ask", "x", "--paper", one, "--paper", "none")[0] == 2


def test_the_checker_of_several_papers_names_the_one_that_says_it(select, small_papers):
    selection = select("networks_adapters", "networks_rounding")
    cited = selection.retrieve("three bits with a codebook for every row", 1)
    report = selection.checker.check("Adapter Paging hides the transfer in 98 percent of requests [1].", cited)
    assert cited[0].chunk.paper == id_of(small_papers, "networks_rounding"), "else this proves nothing"
    assert report.sentences[0].verdict == "weak" and "of “One Model, Many Adapters”" in report.sentences[0].reasons[0]


def test_nothing_of_a_selection_stays_with_one_paper(small_papers):
    assistant = small_papers["bread_ash"]
    Selection([assistant, small_papers["bread_steam"]]).ask("Compare the crust")
    alone = assistant.ask("Which ash content gave a grey crumb?")
    assert isinstance(assistant, Assistant) and not alone.papers and not alone.compared
