"""``python -m app.assistant``: ask, check, index and evaluate from the shell."""

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path

from app.assistant import backends
from app.assistant.answering import Answer
from app.assistant.assistant import Assistant
from app.assistant.checking import CheckReport
from app.assistant.evaluation import GOLD_QUESTIONS, evaluate
from app.assistant.known_questions import read_questions
from app.assistant.library import papers
from app.assistant.selection import asking
from qlora.errors import InputError

_MAX_BYTES = 200_000


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status (0, or 2 after input that cannot be used)."""
    # Before torch is imported: the same short spinning as in qlora.cli. Indexing beside other work is twice as fast.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    options = _parser().parse_args(arguments)
    options.command = shlex.join(["python", "-m", "app.assistant", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        return options.run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads has had enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it ends
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.assistant", description="Ask the QLoRA paper.")
    commands = parser.add_subparsers(required=True, metavar="command")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--paper",
        action="append",
        default=[],
        metavar="ID",
        help="a paper of the library (default: the first); several with ask, check and index: give it again",
    )
    common.add_argument("--notes-only", action="store_true", help="answer from the notes even if the PDF is there")
    common.add_argument("--json", action="store_true", help="one JSON object a line")

    ask = commands.add_parser("ask", parents=[common], help="answer one question or a file of them")
    ask.add_argument("question", nargs="?", help="a question in quotes")
    ask.add_argument("--questions", type=Path, metavar="FILE", help='JSON lines with a "question" each')
    ask.add_argument("--backend", default=backends.EXTRACTIVE, choices=backends.NAMES, help="who writes the answer")
    ask.add_argument("--model", default="", metavar="NAME", help="what the back-end runs: a name, or a folder (local)")
    ask.add_argument(
        "--compare", action="store_true", help="put the question to each of several papers, so that each is cited"
    )
    ask.add_argument("--adapter", default="", metavar="FOLDER", help="an adapter or a training run's folder (local)")
    ask.set_defaults(run=_ask)

    check = commands.add_parser("check", parents=[common], help="hold the sentences of a text against the paper")
    check.add_argument("text", metavar="FILE", help="plain text or Markdown; - reads from the standard input")
    check.set_defaults(run=_check)

    index = commands.add_parser("index", parents=[common], help="build the search index, or check that it is current")
    index.set_defaults(run=_index)

    report = commands.add_parser(
        "evaluate", parents=[common], help="recall, citation and refusal figures on gold questions"
    )
    report.add_argument(
        "gold",
        nargs="?",
        type=Path,
        default=GOLD_QUESTIONS,
        metavar="GOLD",
        help="JSON lines: question, pdf_page, keywords, answerable (default: those that come with the project)",
    )
    report.set_defaults(run=_evaluate)

    experiment = commands.add_parser(
        "embedding-experiment", parents=[common], help="search with the embedding model itself in 4 bits, against fp32"
    )
    experiment.add_argument(
        "--questions", type=Path, default=GOLD_QUESTIONS, metavar="FILE", help="gold questions, as for evaluate"
    )
    experiment.add_argument(
        "--data-types", nargs="+", default=[], metavar="TYPE", help="nf4, fp4-e2m1 and int4 if left out"
    )
    experiment.set_defaults(run=_experiment)
    return parser


def _assistants(options: argparse.Namespace) -> list[Assistant]:
    """One a chosen paper, all with one embedding model."""
    known = {paper.id: paper for paper in papers()}
    for wanted in options.paper:
        if wanted not in known:
            raise InputError(f"There is no paper “{wanted}”. Known papers: {', '.join(known)}.")
    chosen = [known[wanted] for wanted in dict.fromkeys(options.paper)] or [None]
    opened = [Assistant(paper, with_pdf=not options.notes_only) for paper in chosen]
    for other in opened[1:]:
        other.embedder = opened[0].embedder
    return opened


def _assistant(options: argparse.Namespace) -> Assistant:
    first, *others = _assistants(options)
    if others:
        raise InputError("This command takes one paper. Give --paper once.")
    return first


def _ask(options: argparse.Namespace) -> int:
    if (options.question is None) == (options.questions is None):
        raise InputError("Give one question in quotes, or --questions FILE with one JSON object a line.")
    questions = (
        [options.question]
        if options.question is not None
        else [r["question"] for r in read_questions(options.questions)]
    )
    backend = backends.make(options.backend, options.model, options.adapter)
    assistants = _assistants(options)
    if options.compare and len(assistants) < 2:
        raise InputError("A comparison needs two papers or more. Give --paper several times.")
    asked = asking(assistants, options.compare)
    for question in questions:
        answer = asked.ask(question, backend=backend)
        print(json.dumps(answer.record(), ensure_ascii=False) if options.json else _readable(answer), flush=True)
    return 0


def _readable(answer: Answer) -> str:
    lines = [answer.text, ""]
    if answer.notice:
        lines = [f"note: {answer.notice}", *lines]
    lines += [f"{s.verdict}: “{s.text}” {' '.join(s.reasons)}" for s in answer.sentences if s.reasons]
    if answer.declined and answer.citations:
        lines.append("Nearest passages:")
    for citation in answer.citations:
        origin = "from the paper" if citation.source == "paper" else "from our notes"
        if name := answer.names.get(citation.paper):
            origin = f"“{name}”" if citation.source == "paper" else f"our notes on “{name}”"
        lines.append(f"[{citation.number}] {origin}, p. {citation.pdf_page}, {citation.section}: {citation.quote}")
    return "\n".join(lines) + "\n"


def _check(options: argparse.Namespace) -> int:
    try:
        raw = sys.stdin.buffer.read(_MAX_BYTES + 1) if options.text == "-" else Path(options.text).read_bytes()
        if len(raw) > _MAX_BYTES:
            raise InputError(f"The text has more than {_MAX_BYTES // 1000} kB. Check it in parts.")
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {options.text}: {error}. Give a UTF-8 text file.") from error
    report = asking(_assistants(options)).check(text)
    print(json.dumps(report.record(), ensure_ascii=False) if options.json else _readable_report(report))
    return 0


def _readable_report(report: CheckReport) -> str:
    lines = []
    for sentence in report.sentences:
        if sentence.verdict:
            page = f" (p. {sentence.pdf_page})" if sentence.pdf_page else ""
            lines.append(f"{sentence.verdict:<11} {sentence.text}{page}")
            lines += [f"{'':<11} - {reason}" for reason in sentence.reasons]
    return "\n".join([*lines, f"unsupported share: {report.unsupported_share:.2f}"])


def _index(options: argparse.Namespace) -> int:
    for assistant in _assistants(options):
        _index_one(assistant, options.json)
    return 0


def _index_one(assistant: Assistant, as_json: bool) -> None:
    start = time.perf_counter()
    built = False

    def progress(fraction: float) -> None:
        nonlocal built
        built = True
        print(f"\rindexing {fraction:4.0%}", end="", file=sys.stderr, flush=True)

    index = assistant.index(progress)
    found = assistant.find_pdf()
    if built:
        print(file=sys.stderr)
    result = {
        "paper": assistant.paper.id,
        "pdf": index.has_paper,
        "passages": len(index.chunks),
        "built": built,
        "seconds": round(time.perf_counter() - start, 2),
    }
    if as_json:
        print(json.dumps(result))
    else:
        origin = "the paper and our notes" if result["pdf"] else "our notes (the paper itself is not here)"
        print(
            f"{result['passages']} passages from {origin}, {'built' if built else 'unchanged'}, {result['seconds']} s"
        )
    if found.problem:
        print(f"note: {found.problem}", file=sys.stderr)


def _evaluate(options: argparse.Namespace) -> int:
    report = evaluate(_assistant(options), read_questions(options.gold))
    if options.json:
        print(json.dumps(report.record(), ensure_ascii=False))
    else:
        print(report.readable())
    return 0


def _experiment(options: argparse.Namespace) -> int:
    from app.assistant.embedding_experiment import DATA_TYPES, Progress, run

    questions = read_questions(options.questions)
    for event in run(_assistant(options), questions, options.data_types or DATA_TYPES, command=options.command):
        if isinstance(event, Progress):
            told = f"{event.data_type}: {'searching' if event.searching else 'embedding'}"
            print(f"\r{event.share:4.0%}  {told:<24}", end="", file=sys.stderr, flush=True)
            continue
        print(file=sys.stderr)
        print(json.dumps(event.record(), ensure_ascii=False, indent=1) if options.json else event.readable())
    return 0


if __name__ == "__main__":
    sys.exit(main())
