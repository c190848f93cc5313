"""``python -m app.assistant.fitting``: the weights of :mod:`app.assistant.evidence`, fitted on questions.

Two linear models, both fitted on the same questions, with the paper and with the notes alone; both for papers with
known questions, on some of those too, and for papers without:

* **merit** orders the places that search finds: softmax over a question's places, cross-entropy with those that hold
  the answer.
* **answer** says whether the best places answer it: logistic regression, answerable and unanswerable questions
  weighing the same, the threshold set so that a given share of the answerable ones is declined.

The questions that they are fitted on are not those that the tests and the figures in README are taken from.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from app.assistant import evidence
from app.assistant.assistant import Assistant
from app.assistant.evidence import Evidence
from app.assistant.grounding import LOOKED_AT, Grounding
from app.assistant.known_questions import FILE_NAME, holds_answer, read_questions
from app.assistant.question import Question, parse

PENALTY = 0.01
"""Weight of the squared coefficients, of features of variance 1, beside the mean loss."""
SETS = {"plain": ("k", "l"), "known": ("a", "b", "k", "l")}
"""The sets of known questions that they are fitted on: broad ones, of which the others have questions like each."""
DECLINED = {"plain": 0.04, "known": 0.05}
"""Share of the fitted answerable questions below the threshold. The questions of other papers are less like the fitted
ones, so more of them than this are declined there."""


@dataclass
class Example:
    gold: dict
    grounding: Grounding
    question: Question
    ranked: list[Evidence]
    right: np.ndarray
    named: bool
    by_page: bool

    def order(self, merit: dict[str, float]) -> list[Evidence]:
        return sorted(self.ranked, key=lambda item: -sum(merit[name] * item.features[name] for name in merit))


def examples(assistant: Assistant, questions: list[dict], with_known: bool = True) -> list[Example]:
    """Every question with the places that search finds for it. A known question is asked as if the whole set that it
    was written with were not known: who writes several about one thing writes them alike."""
    opened = assistant.open()
    known = opened.known if with_known else None
    sets = [record.get("set") for record in known.records] if known else []
    groundings = {None: Grounding(opened.search, known)}
    by_page = not opened.search.index.has_paper
    found = []
    for gold in questions:
        own = gold.get("set") if known else None
        if own not in groundings:
            groundings[own] = Grounding(opened.search, known.without([other == own for other in sets]))
        grounding = groundings[own]
        question = parse(grounding.search.spelling.correct(gold["question"]))
        ranked = grounding.rank(question, LOOKED_AT)
        right = np.array(
            [bool(gold["answerable"]) and holds_answer(item.hit.chunk, gold, by_page) for item in ranked], bool
        )
        named = grounding.refusal_by_name(question) is not None
        found.append(Example(gold, grounding, question, ranked, np.array(right, bool), named, by_page))
    return found


def fit_merit(data: list[Example]) -> dict[str, float]:
    import torch

    names = list(data[0].ranked[0].features)
    rows = [
        (np.array([[item.features[name] for name in names] for item in example.ranked]), example.right)
        for example in data
        if example.right.any()
    ]
    spread = np.concatenate([features for features, _ in rows]).std(axis=0) + 1e-9
    tensors = [(torch.tensor(features / spread), torch.tensor(right)) for features, right in rows]

    def loss(weights):
        total = sum(
            torch.logsumexp(features @ weights, 0) - torch.logsumexp((features @ weights)[right], 0)
            for features, right in tensors
        )
        return total / len(tensors) + PENALTY * (weights**2).sum()

    return dict(zip(names, (_minimum(loss, len(names)) / spread).round(3).tolist(), strict=True))


def fit_answer(data: list[Example], merit: dict[str, float], kind: str) -> dict[str, float]:
    """Questions that name something unknown are declined without it, so they are left out here."""
    import torch

    data = [example for example in data if not example.named]
    features, names = _question_features(data, merit)
    answerable = np.array([float(example.gold["answerable"]) for example in data])
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    rows, wanted = torch.tensor((features - middle) / spread), torch.tensor(answerable)
    balance = torch.where(wanted > 0, 0.5 / wanted.mean(), 0.5 / (1 - wanted).mean())

    def loss(weights):
        logits = rows @ weights[:-1] + weights[-1]
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, weight=balance)
        return cross_entropy + PENALTY * (weights[:-1] ** 2).sum()

    weights = (_minimum(loss, len(names) + 1)[:-1] / spread).round(3)
    threshold = float(np.quantile((features @ weights)[answerable > 0], DECLINED[kind]))
    return {**dict(zip(names, weights.tolist(), strict=True)), "bias": round(-threshold, 3)}


def _question_features(data: list[Example], merit: dict[str, float]) -> tuple[np.ndarray, list[str]]:
    rows = [example.grounding.features(example.question, example.order(merit)) for example in data]
    return np.array([list(row.values()) for row in rows]), list(rows[0])


def _minimum(loss, count: int) -> np.ndarray:
    import torch

    weights = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        value = loss(weights)
        value.backward()
        return value

    optimizer.step(step)
    return weights.detach().numpy()


def figures(data: list[Example], weights: dict[str, dict[str, float]]) -> dict[str, float]:
    """Recall, mean reciprocal rank and refusal of these weights on these questions."""
    ranks, declined, refused = [], [], []
    for example in data:
        ranked = example.order(weights["merit"])
        features = example.grounding.features(example.question, ranked)
        logit = sum(weight * features.get(name, 1.0) for name, weight in weights["answer"].items())
        no = example.named or logit < 0
        if not example.gold["answerable"]:
            refused.append(no)
            continue
        declined.append(no)
        right = [holds_answer(item.hit.chunk, example.gold, example.by_page) for item in ranked]
        ranks.append(right.index(True) + 1 if True in right else 0)
    return {
        "recall_at_1": round(float(np.mean([rank == 1 for rank in ranks])), 3),
        "recall_at_5": round(float(np.mean([0 < rank <= 5 for rank in ranks])), 3),
        "mean_reciprocal_rank": round(float(np.mean([1 / rank if rank else 0 for rank in ranks])), 3),
        "declined_answerable": round(float(np.mean(declined)), 3),
        "declined_unanswerable": round(float(np.mean(refused)), 3),
    }


def fit(data: list[Example], kind: str) -> dict[str, dict[str, float]]:
    merit = fit_merit(data)
    return {"merit": merit, "answer": fit_answer(data, merit, kind)}


def cross_validated(data: list[Example], kind: str, folds: int = 5) -> list[dict[str, float]]:
    """Figures on each fifth of the questions of weights fitted on the others."""
    texts = sorted({example.gold["question"] for example in data})
    np.random.default_rng(0).shuffle(texts)
    results = []
    for fold in range(folds):
        held_out = set(texts[fold::folds])
        weights = fit([example for example in data if example.gold["question"] not in held_out], kind)
        results.append(figures([example for example in data if example.gold["question"] in held_out], weights))
    return results


def fit_kind(
    assistants: dict[str, Assistant], questions: list[dict], checked: dict[str, list[dict]], kind: str
) -> dict:
    """Weights for papers with known questions ("known") or without ("plain"); what they give is printed."""
    fitted = {name: examples(assistant, questions, kind == "known") for name, assistant in assistants.items()}
    data = [example for group in fitted.values() for example in group]
    for result in cross_validated(data, kind):
        print(kind, "held out", result, flush=True)
    weights = fit(data, kind)
    for name, assistant in assistants.items():
        print(f"{kind} {name:6} fitted on", figures(fitted[name], weights), flush=True)
        for stem, asked in checked.items():
            found = figures(examples(assistant, asked, kind == "known"), weights)
            print(f"{kind} {name:6} {stem:14}", found, flush=True)
    return weights


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.assistant.fitting", description=__doc__.split("\n")[0])
    parser.add_argument("--check", type=Path, nargs="*", default=[], metavar="FILE", help="questions to report on only")
    parser.add_argument("--write", action="store_true", help="put the weights where the assistant reads them")
    options = parser.parse_args(arguments)
    assistants = {"paper": Assistant(), "notes": Assistant(with_pdf=False)}
    records = read_questions(assistants["paper"].paper.notes / FILE_NAME)
    fitted_on = {kind: [record for record in records if record["set"] in sets] for kind, sets in SETS.items()}
    checked = {path.stem: read_questions(path) for path in options.check}
    weights = {kind: fit_kind(assistants, asked, checked, kind) for kind, asked in fitted_on.items()}
    print(json.dumps(weights, indent=1))
    if options.write:
        origin = {
            "date": date.today().isoformat(),
            "command": "python -m app.assistant.fitting --write",
            "questions": {kind: len(asked) for kind, asked in fitted_on.items()},
        }
        target = Path(evidence.__file__).parent / "weights.json"
        target.write_text(json.dumps({**weights, "fitted": origin}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
