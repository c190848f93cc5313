"""Conversations to tokens by the tokenizer's chat template, and which of the tokens are the assistant's."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlora.data.samples import Conversation, Message
from qlora.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: For tokenizers without a chat template, in the templates' own language (Jinja): the system message and an empty line,
#: then "Question: …" and "Answer: …", each answer closed by the end-of-text token.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{% if message.content %}{{ message.content + '\n\n' }}{% endif %}"
    "{% elif message.role == 'user' %}{{ 'Question: ' + message.content + '\n' }}"
    "{% else %}{{ 'Answer: ' + message.content + eos_token + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)
_WAYS_OUT = "use samples of one question and one answer without a system message, or set data.loss_on: everything"
_MARK = re.compile(r"\{%(?P<before>[-+]?)\s*(?P<end>end)?generation\s*(?P<after>[-+]?)%\}")
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters: Unicode keeps them out of every text
_Span = tuple[int, int]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str, system_prompt: str | None = None) -> list[int]:
    """Tokens up to where the model's answer begins, by the tokenizer's chat template or `PLAIN_TEMPLATE`.

    Args:
        tokenizer: of the model.
        prompt: the question; white space around it is dropped, as in training.
        system_prompt: what the system message says; None leaves the template's own default.
    """
    return dialogue_ids(tokenizer, (Message("user", prompt),), system_prompt)


def dialogue_ids(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], system_prompt: str | None = None
) -> list[int]:
    """As `prompt_ids`, for an answer to the last of several messages; it must be the user's.

    Raises:
        InputError: a message is no text, which happens where bytes that are not UTF-8 are typed or piped in, or the
            template refuses the conversation.
    """
    conversation = Conversation(tuple(Message(message.role, message.content.strip()) for message in messages))
    text = _render(tokenizer, conversation, _with_system(conversation.messages, system_prompt), opening=True)
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError("The prompt is not UTF-8 text: give it in that encoding.")
    return _leading(tokenizer) + _ids(tokenizer, text)


def conversation_ids(
    tokenizer: "PreTrainedTokenizerBase",
    conversation: Conversation,
    system_prompt: str | None = None,
    loss_on: str = "completions",
) -> tuple[list[int], list[bool]]:
    """Tokens of a conversation up to the end of its last answer, and which of them count towards the loss.

    With "completions" these are every answer and the token that ends its turn, so that a model learns to stop; where a
    template closes the last answer with no special token, the end-of-text token is added. Templates with
    ``{% generation %}`` marks say themselves which tokens these are. For all others the conversation is rendered once
    whole, and once up to each answer's beginning and end; where these begin the whole, their lengths are the bounds.

    Args:
        tokenizer: of the model, with an end-of-text token.
        conversation: what follows its last answer is left out.
        system_prompt: the system message of conversations without one; None leaves the template's own default.
        loss_on: "completions", or "everything", where every token counts and no bound need be told.

    Returns:
        The token ids, and a bool for each.

    Raises:
        InputError: the template refuses the conversation, or rewrites earlier turns when a later one is added, so that
            the bounds cannot be told.
    """
    messages = _with_system(conversation.messages, system_prompt)
    while messages[-1].role != "assistant":
        messages = messages[:-1]
    if loss_on == "everything":
        ids = _leading(tokenizer) + _ids(tokenizer, _render(tokenizer, conversation, messages).rstrip())
        answered = [True] * len(ids)
    else:
        spans = _spans_by_marks if _MARK.search(_template(tokenizer)) else _spans_by_prefixes
        ids, answered = _answered_ids(tokenizer, conversation, *spans(tokenizer, conversation, messages))
        last = len(answered) - answered[::-1].index(True)
        ids, answered = ids[:last], answered[:last]
    if not _is_special(tokenizer, ids[-1]):
        ids, answered = [*ids, tokenizer.eos_token_id], [*answered, True]
    return ids, answered


def text_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Tokens of a plain text, between the tokenizer's own beginning-of-text token, if it sets one, and end-of-text."""
    return [*_beginning(tokenizer), *_ids(tokenizer, text), tokenizer.eos_token_id]


def stop_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """The tokens that end an answer: end-of-text, and the template's end of turn, which is another one in some."""
    probe = Conversation.of("a", "b")
    return frozenset({tokenizer.eos_token_id, conversation_ids(tokenizer, probe)[0][-1]})


def _template(tokenizer) -> str:
    return tokenizer.get_chat_template() if tokenizer.chat_template else PLAIN_TEMPLATE


def _with_system(messages: Sequence[Message], system_prompt: str | None) -> tuple[Message, ...]:
    if system_prompt is None or messages[0].role == "system":
        return tuple(messages)
    return (Message("system", system_prompt), *messages)


def _render(
    tokenizer, conversation: Conversation, messages: Sequence[Message], *, opening: bool = False, template: str = ""
) -> str:
    import jinja2

    plain = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return tokenizer.apply_chat_template(
            plain, chat_template=template or _template(tokenizer), add_generation_prompt=opening, tokenize=False
        )
    except jinja2.TemplateError as error:
        where = conversation.where or "The conversation"
        raise InputError(f"{where}: the chat template of the tokenizer refuses it: {error}") from None


def _spans_by_marks(tokenizer, conversation: Conversation, messages: Sequence[Message]) -> tuple[str, list[_Span]]:
    # transformers' own mask loses the end of an answer whose last character is several tokens, so the marks are
    # replaced by characters that no text has. The `if` keeps the white space around a mark as Jinja treats it.
    template = _MARK.sub(
        lambda m: f"{{%{m['before']} if true %}}{{{{ '{_CLOSE if m['end'] else _OPEN}' }}}}{{% endif {m['after']}%}}",
        _template(tokenizer),
    )
    pieces = re.split(f"([{_OPEN}{_CLOSE}])", _render(tokenizer, conversation, messages, template=template))
    text, spans, start = "", [], None
    for piece in pieces:
        if piece == _OPEN:
            start = len(text)
        elif piece == _CLOSE and start is not None:
            spans.append((start, len(text.rstrip())))
            start = None
        elif piece not in (_OPEN, _CLOSE):
            text += piece
    if not spans:
        where = conversation.where or "The conversation"
        raise InputError(f"{where}: the chat template marks no token as the assistant's: {_WAYS_OUT}.")
    return text, spans


def _spans_by_prefixes(tokenizer, conversation: Conversation, messages: Sequence[Message]) -> tuple[str, list[_Span]]:
    text = _render(tokenizer, conversation, messages)
    answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
    return text, [_span(tokenizer, conversation, messages, i, text) for i in answers]


def _answered_ids(tokenizer, conversation: Conversation, text: str, spans: list[_Span]) -> tuple[list[int], list[bool]]:
    ids, bounds = _token_bounds(tokenizer, conversation, text, spans)
    answered = [False] * len(ids)
    for first, end in bounds:
        # A mark may close before the token that ends the turn.
        if end < len(ids) and _is_special(tokenizer, ids[end]) and not _is_special(tokenizer, ids[end - 1]):
            end += 1
        answered[first:end] = [True] * (end - first)
    leading = _leading(tokenizer)
    return leading + ids, [False] * len(leading) + answered


def _span(tokenizer, conversation: Conversation, messages: Sequence[Message], turn: int, text: str) -> _Span:
    """Where in `text` the answer `messages[turn]` begins and ends (characters), its end-of-turn token included."""
    opening = _render(tokenizer, conversation, messages[:turn], opening=True)
    upto = text if turn == len(messages) - 1 else _render(tokenizer, conversation, messages[: turn + 1])
    if text.startswith(opening):
        start = len(opening)
        if upto.startswith(opening) and text.startswith(upto):
            return start, start + len(text[start : len(upto)].rstrip())
        # Templates of reasoning models open the latest answer with an empty thought, and no earlier one: what closes
        # the answer is the same in both.
        content = messages[turn].content
        for found in re.finditer(re.escape(content), upto):
            closed = content + upto[found.end() :]
            if text.startswith(closed, start):
                return start, start + len(closed.rstrip())
    where = conversation.where or "The conversation"
    raise InputError(
        f"{where}: the chat template of the tokenizer rewrites earlier turns when a later one is added, so it cannot "
        f"be told which tokens are the assistant's: {_WAYS_OUT}."
    )


def _token_bounds(
    tokenizer, conversation: Conversation, text: str, spans: Sequence[_Span]
) -> tuple[list[int], list[_Span]]:
    """Token ids of `text`, and for each span of characters its first token and the one past its last.

    Raises:
        InputError: a token reaches from before a span into it, so that generation, which begins after the prompt's
            tokens, could not produce it.
    """
    if tokenizer.is_fast:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        begins = [begin for begin, _ in offsets]
        bounds = [(bisect_left(begins, start), bisect_left(begins, end)) for start, end in spans]
        whole = all(not first or offsets[first - 1][1] <= s for (first, _), (s, _) in zip(bounds, spans, strict=True))
    else:
        ids = _ids(tokenizer, text)
        parts = [[_ids(tokenizer, text[:cut]) for cut in span] for span in spans]
        bounds = [(len(before), len(upto)) for before, upto in parts]
        whole = all(ids[: len(part)] == part for pair in parts for part in pair)
    if not whole:
        where = conversation.where or "The conversation"
        raise InputError(
            f"{where}: the tokenizer merges the end of a question with the beginning of its answer into one token, so "
            "the answer cannot be told apart: set data.loss_on: everything, or use another chat template."
        )
    return ids, bounds


def _ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _leading(tokenizer) -> list[int]:
    """What stands before the first turn: a chat template writes the beginning-of-text token itself."""
    return [] if tokenizer.chat_template else _beginning(tokenizer)


def _beginning(tokenizer) -> list[int]:
    first = tokenizer("a")["input_ids"][:1]
    return first if tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id] else []


def _is_special(tokenizer, token: int) -> bool:
    # Asked of one token at a time: a list of all special ones takes milliseconds to make where there are thousands.
    shown, kept = (tokenizer.decode([token], skip_special_tokens=skip) for skip in (False, True))
    return bool(shown) and not kept
