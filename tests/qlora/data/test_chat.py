"""Which tokens are the assistant's, under chat templates of several kinds."""

import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qlora.data.chat import conversation_ids, prompt_ids, stop_ids, text_ids
from qlora.data.samples import Conversation, Message
from qlora.errors import InputError
from qlora.evaluation.generation import stream

BEGIN, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As reasoning models have it: the latest answer opens with an empty thought, earlier ones do not.
REASONING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As templates that mark what the assistant says, here without the end of the turn.
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}\n"
    "{%- generation %}{{ m.content }}{%- endgeneration %}{% else %}{{ m.content }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WITHOUT_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
# As Mistral's: the system message stands in the latest question, wherever that is.
MOVING_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] "
    "{% if loop.index0 >= messages|length - 2 and messages[0].role == 'system' %}{{ messages[0].content }} {% endif %}"
    "{{ m.content }} [/INST]{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('No system message!') }}{% endif %}" + CHATML
TALK = Conversation(
    (
        Message("user", "Hi"),
        Message("assistant", "Hello 😀"),
        Message("user", "A number?"),
        Message("assistant", "Four"),
        Message("user", "Never answered"),
    ),
    "talk.jsonl, line 3",
)


@pytest.fixture
def with_template(chat_tokenizer):
    def build(template):
        tokenizer = copy.deepcopy(chat_tokenizer)
        tokenizer.chat_template = template
        return tokenizer

    return build


def learnt(tokenizer, conversation=TALK, **options):
    """What the loss counts, in words: one text for each run of such tokens."""
    ids, counted = conversation_ids(tokenizer, conversation, **options)
    assert len(ids) == len(counted) and counted[-1]
    runs, last = [], False
    for token, counts in zip(ids, counted, strict=True):
        if counts:
            runs = [*runs[:-1], [*runs[-1], token]] if last else [*runs, [token]]
        last = counts
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, ["Hello 😀" + END, "Four" + END]),
        (REASONING, ["Hello 😀" + END, "<think>\n\n</think>\n\nFour" + END]),
        (MARKED, ["Hello 😀" + END, "Four" + END]),
        (WITHOUT_END, [" Hello 😀", " Four" + END]),
        (MOVING_SYSTEM, [" Hello 😀" + END, " Four" + END]),
        (None, [" Hello 😀" + END, " Four" + END]),
    ],
    ids=["chatml", "reasoning", "marked", "without-end", "moving-system", "plain"],
)
def test_every_answer_and_its_end_are_learnt(with_template, template, expected):
    assert learnt(with_template(template)) == expected


@pytest.mark.parametrize("template", [CHATML, MARKED, None], ids=["chatml", "marked", "plain"])
def test_the_prompt_in_training_is_the_one_in_generation(with_template, template):
    tokenizer = with_template(template)
    for system_prompt in (None, "", "Answer briefly."):
        prompt = prompt_ids(tokenizer, " What is NF4?", system_prompt)
        ids, counted = conversation_ids(tokenizer, Conversation.of("What is NF4? ", "A data type."), system_prompt)
        assert ids[: len(prompt)] == prompt
        assert counted.index(True) == len(prompt) and all(counted[len(prompt) :])


def test_tokenizers_without_offsets_give_the_same(with_template):
    for template in (CHATML, REASONING, None):
        tokenizer = with_template(template)
        expected = conversation_ids(tokenizer, TALK)

        class Slow:
            is_fast = False

            def __getattr__(self, name, tokenizer=tokenizer):
                return getattr(tokenizer, name)

            def __call__(self, text, tokenizer=tokenizer, **options):
                assert "return_offsets_mapping" not in options
                return tokenizer(text, **options)

        assert conversation_ids(Slow(), TALK) == expected


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cn"]), min_size=1, max_size=8)
SAID = WORDS.map(lambda text: f"{text}.".strip())


@settings(max_examples=60, deadline=None)
@given(said=st.lists(SAID, min_size=2, max_size=6))
def test_marks_and_prefixes_agree_on_any_text(chat_tokenizer, said):
    roles = ("user", "assistant") * 3
    talk = Conversation(tuple(Message(role, text) for role, text in zip(roles, said, strict=False)))
    tokenizer = copy.copy(chat_tokenizer)
    tokenizer.chat_template = CHATML
    ids, counted = conversation_ids(tokenizer, talk)
    tokenizer.chat_template = MARKED
    assert conversation_ids(tokenizer, talk) == (ids, counted)
    # The tokenizer knows no token for some control characters, so the answers are compared after it too.
    answers = tokenizer("".join(m.content + END for m in talk.messages if m.role == "assistant"))["input_ids"]
    assert tokenizer.decode([i for i, c in zip(ids, counted, strict=True) if c]) == tokenizer.decode(answers)


def test_a_samples_own_system_message_stays(with_template):
    own = Conversation((Message("system", "Own."), *TALK.messages[:2]))
    tokenizer = with_template(CHATML)
    text = tokenizer.decode(conversation_ids(tokenizer, own, "Configured.")[0])
    assert text.startswith(f"{BEGIN}system\nOwn.") and "Configured" not in text
    assert tokenizer.decode(conversation_ids(tokenizer, TALK, "Configured.")[0]).startswith(
        f"{BEGIN}system\nConfigured."
    )


def test_the_plain_template_is_as_documented(with_template):
    tokenizer = with_template(None)
    ids, _ = conversation_ids(tokenizer, Conversation(TALK.messages[:4]), "Be kind.")
    assert tokenizer.decode(ids) == (
        f"Be kind.\n\nQuestion: Hi\nAnswer: Hello 😀{END}\nQuestion: A number?\nAnswer: Four{END}"
    )


def test_a_beginning_of_text_token_is_set_once(with_template):
    tokenizer = with_template(None)
    from tokenizers.processors import TemplateProcessing

    begin = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.bos_token_id)]
    )
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id, "else this proves nothing"
    talk = Conversation.of("Hi", "Ho")
    ids, counted = conversation_ids(tokenizer, talk)
    prompt = prompt_ids(tokenizer, "Hi")
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert ids[: len(prompt)] == prompt and counted.index(True) == len(prompt)
    assert text_ids(tokenizer, "a b")[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(
    ("template", "system_prompt", "message"),
    [
        (MOVING_SYSTEM, "Be kind.", "rewrites earlier turns when a later one is added"),
        (REFUSING, "Be kind.", "the chat template of the tokenizer refuses it: No system message!"),
        (WITHOUT_END.replace("assistant:", "assistant: "), None, "merges the end of a question with the beginning"),
        (MARKED.replace("generation %}", "generation %}{# #}").replace("m.role == 'assistant'", "false"), None,
         "marks no token as the assistant's"),
    ],
)  # fmt: skip
def test_a_template_that_hides_the_answers_is_an_error_with_a_way_out(with_template, template, system_prompt, message):
    tokenizer = with_template(template)
    with pytest.raises(InputError) as caught:
        conversation_ids(tokenizer, TALK, system_prompt)
    assert message in str(caught.value) and str(caught.value).startswith("talk.jsonl, line 3")
    if "loss_on" in str(caught.value):
        ids, counted = conversation_ids(tokenizer, TALK, system_prompt, "everything")
        assert all(counted) and ids[-1] == tokenizer.eos_token_id


class Parrot:
    """A model that has learnt one sample by heart: after each of its tokens the most likely one is the next, and after
    the last it goes round in circles for ever."""

    device = torch.device("cpu")
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=None))

    def __init__(self, ids, vocabulary):
        self.ids, self.vocabulary, self.calls = ids, vocabulary, 0

    def __call__(self, input_ids, past_key_values, use_cache, logits_to_keep):
        self.calls += 1
        assert self.calls <= len(self.ids), "the model never stops talking"
        read = (past_key_values or 0) + input_ids.shape[1]
        logits = torch.zeros(1, 1, self.vocabulary)
        logits[0, 0, self.ids[read % len(self.ids)]] = 1
        return SimpleNamespace(logits=logits, past_key_values=read)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, "A data type."),
        (CHATML.replace("<|im_end|>", "<|endoftext|>"), "A data type."),
        (REASONING, "<think>\n\n</think>\n\nA data type."),
        (MARKED, "A data type."),
        (WITHOUT_END, " A data type."),
        (MOVING_SYSTEM, " A data type."),
        (None, " A data type."),
    ],
    ids=["chatml", "own end of turn", "reasoning", "marked", "without-end", "moving-system", "plain"],
)
def test_a_model_that_has_learnt_a_sample_stops_where_its_answer_ends(with_template, template, expected):
    tokenizer = with_template(template)
    ids, counted = conversation_ids(tokenizer, Conversation.of("What is NF4?", "A data type."))
    assert counted[-1] and ids[-1] in stop_ids(tokenizer), "the token that ends the answer is learnt"
    assert not {i for i, c in zip(ids[:-1], counted, strict=False) if c} & stop_ids(tokenizer), "and no answer holds it"
    parrot = Parrot(ids, len(tokenizer))
    assert "".join(stream(parrot, tokenizer, "What is NF4?", 10 * len(ids))) == expected


def test_an_answer_ends_where_the_model_has_no_positions_left(chat_tokenizer):
    ids, counted = conversation_ids(chat_tokenizer, Conversation.of("What is NF4?", "A data type."))
    parrot = Parrot(ids, len(chat_tokenizer))
    prompt = counted.index(True)
    parrot.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=prompt + 2))
    assert len(list(stream(parrot, chat_tokenizer, "What is NF4?", 100))) == 2
    parrot.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=prompt))
    with pytest.raises(
        InputError, match=f"The model takes {prompt} tokens with its answer, and the prompt has {prompt}"
    ):
        next(stream(parrot, chat_tokenizer, "What is NF4?", 100))


def test_bytes_that_are_no_text_are_named(chat_tokenizer):
    with pytest.raises(InputError, match="The prompt is not UTF-8 text"):
        prompt_ids(chat_tokenizer, b"What is \xff?".decode("utf-8", "surrogateescape"))


def test_generation_stops_at_the_end_of_a_turn_and_at_end_of_text(with_template):
    tokenizer = with_template(CHATML.replace("<|im_end|>", "<|endoftext|>"))
    other = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert other != tokenizer.eos_token_id, "else this proves nothing"
    assert stop_ids(tokenizer) == {other, tokenizer.eos_token_id}
    assert stop_ids(with_template(None)) == {tokenizer.eos_token_id}
