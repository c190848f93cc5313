import json

import pytest

from qlora.errors import InputError
from qlora.evaluation.choice_files import read_questions
from qlora.evaluation.likelihood import encode_pair, score
from qlora.evaluation.multiple_choice import accuracy

SUMS = [(1, 2, "high_school_mathematics"), (2, 5, "high_school_mathematics"), (7, 1, "arithmetic")]
MMLU = [
    {
        "question": f"What is {n} plus {m}?",
        "choices": [str(n + m + k) for k in (0, 1, 10, 100)],
        "answer": "ABCD"[n % 4],
        "subject": subject,
    }
    for n, m, subject in SUMS
]
OTHERS = {
    "arc": {
        "question": "Which is a page?",
        "choices": {"text": ["a range of states", "a moon"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "hellaswag": {"ctx": "The optimizer steps and", "endings": ["the pages come.", "a very long dog."], "label": "1"},
    "piqa": {"goal": "Open a tin", "sol1": "with an opener", "sol2": "with a feather", "label": 0},
    "winogrande": {"sentence": "The page left as _ was full.", "option1": "the host", "option2": "it", "answer": "2"},
}
WRITTEN = {  # what is read and scored, written out by hand
    "arc": ([("Question: Which is a page?\nAnswer:", c) for c in (" a range of states", " a moon")], 1),
    "hellaswag": ([("The optimizer steps and", c) for c in (" the pages come.", " a very long dog.")], 1),
    "piqa": ([("Question: Open a tin\nAnswer:", c) for c in (" with an opener", " with a feather")], 0),
    "winogrande": ([("The page left as " + c, " was full.") for c in ("the host", "it")], 1),
}


@pytest.fixture
def file_of(tmp_path):
    def write(rows, name="questions.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
        return tmp_path / name

    return write


def test_mmlu_prompts_are_the_benchmarks_own(file_of):
    question = read_questions(file_of(MMLU))[0]
    text = "What is 1 plus 2?\nA. 3\nB. 4\nC. 13\nD. 103\nAnswer:"
    assert question.options == tuple((text, f" {letter}") for letter in "ABCD")
    assert (question.answer, question.subject, question.worked) == (1, "high_school_mathematics", text + " B")


@pytest.mark.parametrize("form", OTHERS)
def test_other_forms(file_of, form):
    (question,) = read_questions(file_of([OTHERS[form]]))
    options, answer = WRITTEN[form]
    assert (list(question.options), question.answer) == (options, answer)


def chosen_by_hand(model, tokenizer, options, before, brute_force):
    def value(context, continuation):
        start, whole = tokenizer(before + context).input_ids, tokenizer(before + context + continuation).input_ids
        assert whole[: len(start)] == start, "the border must be one of tokens, else this proves nothing"
        return brute_force(model, start, whole[len(start) :])

    values = [value(*option) for option in options]
    normalised = [v / len(c.strip()) for v, (_, c) in zip(values, options, strict=True)]
    return values.index(max(values)), normalised.index(max(normalised))


@pytest.mark.parametrize("form", OTHERS)
def test_choices_equal_brute_force(guesser, file_of, brute_force, form):
    questions = read_questions(file_of([OTHERS[form]]))
    best, best_normalised = chosen_by_hand(*guesser, WRITTEN[form][0], "", brute_force)
    measured = accuracy(*guesser, questions)
    assert measured.chosen == (best,)
    assert measured.accuracy == (best == WRITTEN[form][1])
    assert measured.accuracy_normalised == (best_normalised == WRITTEN[form][1])


def test_the_two_accuracies_can_differ(guesser, file_of):
    """Long choices lose by their sum and win by their mean, so the normalised figure is another one."""
    rows = [{"question": "Go on", "choices": ["a", "the pages of the optimizer leave the device " * 3], "answer": 1}]
    measured = accuracy(*guesser, read_questions(file_of(rows), "texts"))
    assert (measured.accuracy, measured.accuracy_normalised) == (0, 1)


def test_few_shot_prompts_equal_a_prompt_written_by_hand(guesser, file_of, brute_force):
    dev = [{**MMLU[0], "question": q, "answer": a} for q, a in (("Two and two?", 2), ("Nine and one?", 3))]
    examples = read_questions(file_of([*dev, {**MMLU[2], "question": "Zero?"}], "dev.jsonl"))
    questions = read_questions(file_of(MMLU[:2]))
    before = "The following are multiple choice questions (with answers) about high school mathematics.\n\n"
    listed = "\nA. 3\nB. 4\nC. 13\nD. 103\nAnswer:"
    before += f"Two and two?{listed} C\n\nNine and one?{listed} D\n\n"
    measured = accuracy(*guesser, questions, examples=examples, shots=2, seed=5)
    for question, got in zip(questions, measured.chosen, strict=True):
        assert got == chosen_by_hand(*guesser, question.options, before, brute_force)[0]
    assert (measured.questions, measured.shots, measured.shortened) == (2, 2, 0)


def test_subjects_are_reported_each_and_as_their_mean(guesser, file_of):
    chosen = accuracy(*guesser, read_questions(file_of(MMLU))).chosen
    rows = [{**row, "answer": chosen[i] if i < 1 else (chosen[i] + 1) % 4} for i, row in enumerate(MMLU)]
    measured = accuracy(*guesser, read_questions(file_of(rows)))
    assert measured.by_subject == {"arithmetic": (0, 1), "high_school_mathematics": (0.5, 2)}
    assert (measured.accuracy, measured.mean_of_subjects) == (pytest.approx(1 / 3), 0.25)


def test_the_draw_follows_the_seed(guesser, file_of):
    dev = [{**MMLU[0], "question": f"Example {n}?"} for n in range(30)]
    examples = read_questions(file_of(dev, "dev.jsonl"))
    from qlora.evaluation.multiple_choice import _draw

    draws = [_draw(examples, "high_school_mathematics", 3, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert _draw(examples, "high_school_mathematics", 30, 1) == examples, "all of them stay in the file's order"


def test_examples_that_do_not_fit_are_left_out_and_counted(guesser, file_of):
    dev = [{**MMLU[2], "question": f"Example {n}? " + "word " * 60} for n in range(5)]
    measured = accuracy(
        *guesser, read_questions(file_of(MMLU[2:])), examples=read_questions(file_of(dev, "dev.jsonl")), shots=5
    )
    assert measured.shortened == 1


@pytest.mark.parametrize(
    ("dev", "shots", "message"),
    [(MMLU[:1], 1, "give its answer away"), ([{**MMLU[2], "question": "?"}], 2, "1 examples of the subject")],
)
def test_examples_that_cannot_serve_are_refused(guesser, file_of, dev, shots, message):
    questions = read_questions(file_of(MMLU[:1] if dev == MMLU[:1] else MMLU[2:]))
    with pytest.raises(InputError, match=message):
        accuracy(*guesser, questions, examples=read_questions(file_of(dev, "dev.jsonl")), shots=shots)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**MMLU[0], "answer": 4}, "line 1, field 'answer'.*from 0 to 3.*4"),
        ({**MMLU[0], "answer": True}, "field 'answer'"),
        ({**MMLU[0], "choices": ["one"]}, "field 'choices'"),
        ({**MMLU[0], "question": " "}, "field 'question'"),
        ({**OTHERS["arc"], "answerKey": "E"}, "field 'answerKey': 'E'"),
        ({**OTHERS["winogrande"], "sentence": "no gap"}, "gap"),
        ({**OTHERS["winogrande"], "answer": "0"}, "from 1 to 2"),
        ({"prompt": "x"}, "has the keys prompt: expected {question, choices, answer} or"),
    ],
)
def test_bad_rows_are_named(file_of, row, message):
    with pytest.raises(InputError, match=message):
        read_questions(file_of([row]))


def test_scores_equal_brute_force_whatever_the_batch(guesser, brute_force):
    model, tokenizer = guesser
    texts = [
        ("", " page"),
        ("A page is ", "a range of optimizer state"),
        ("Q:", " A"),
        ("Q:", " B"),
        ("One two", " three"),
    ]
    pairs = [encode_pair(tokenizer, *text) for text in texts]
    assert pairs[1][0] == tokenizer("A page is").input_ids, "the space belongs to the word after it"
    expected = [brute_force(model, *pair) for pair in pairs]
    assert max(expected) - min(expected) > 1
    for batch_size in (1, 3, 8):
        scores = score(model, pairs, batch_size)
        assert [s.log_likelihood for s in scores] == pytest.approx(expected, rel=1e-5)
        assert [s.tokens for s in scores] == [len(after) for _, after in pairs]


def test_texts_read_alike_are_read_once(guesser):
    model, tokenizer = guesser
    rows = []
    hook = model.register_forward_pre_hook(lambda m, a, k: rows.append(len(k["input_ids"])), with_kwargs=True)
    score(model, [encode_pair(tokenizer, "Question: which?\nAnswer:", f" {letter}") for letter in "ABCD"])
    hook.remove()
    assert rows == [1]


def test_greedy_is_what_greedy_decoding_gives(guesser):
    model, tokenizer = guesser
    context = tokenizer("Pages leave", return_tensors="pt").input_ids
    likeliest = model.generate(context, max_new_tokens=3, do_sample=False, eos_token_id=None)[0, context.shape[1] :]
    other = [*likeliest[:2].tolist(), (likeliest[2].item() + 1) % 1000]
    yes, no = score(model, [(context[0].tolist(), likeliest.tolist()), (context[0].tolist(), other)])
    assert (yes.greedy, no.greedy) == (True, False)


def test_a_text_longer_than_the_model_is_refused(guesser):
    with pytest.raises(InputError, match="takes 256"):
        score(guesser[0], [([5] * 256, [5, 5])])
