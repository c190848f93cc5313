"""Conversations out of trees of messages, as OpenAssistant publishes them: one message a row."""

from collections.abc import Iterable

from qlora.data.files import Row
from qlora.data.samples import Conversation, Message
from qlora.errors import InputError

FIELDS = ("message_id", "parent_id", "role", "text")
_ROLES = {"prompter": "user", "assistant": "assistant"}


def threads(rows: Iterable[Row]) -> list[Conversation]:
    """One conversation a tree: from its root, the reply with the best rank at every level (B.1 of the paper: "we only
    use the top reply at each level in the conversation tree").

    A tree whose root has no reply by the assistant is left out. A last message of the user, which nobody answered, is
    left out too.

    Args:
        rows: with `FIELDS` and optionally ``rank`` (0 is best; none ranks last) and ``deleted``. A parent may come
            after its replies.

    Returns:
        The conversations, in the order of their roots.

    Raises:
        InputError: a role that is neither prompter nor assistant, a message id that comes twice, a parent that is not
            in the data, or an empty message.
    """
    messages: dict[str, Row] = {}
    for row in rows:
        name = row.fields["message_id"]
        if name in messages:
            raise InputError(f"{row.where}, field 'message_id': {name!r} is that of {messages[name].where} too.")
        if row.fields["role"] not in _ROLES:
            got = row.fields["role"]
            raise InputError(f"{row.where}, field 'role': expected prompter or assistant, got {got!r}.")
        if not isinstance(row.fields["text"], str) or not row.fields["text"].strip():
            raise InputError(f"{row.where}, field 'text' is empty: expected a text.")
        messages[name] = row
    replies: dict[str, list[Row]] = {}
    roots = []
    for row in messages.values():
        parent = row.fields["parent_id"]
        if not parent:
            roots.append(row)
        elif parent not in messages:
            raise InputError(f"{row.where}, field 'parent_id': there is no message {parent!r}.")
        elif not row.fields.get("deleted"):
            replies.setdefault(parent, []).append(row)
    conversations = (_best_thread(root, replies) for root in roots if not root.fields.get("deleted"))
    return [c for c in conversations if c.messages]


def _best_thread(root: Row, replies: dict[str, list[Row]]) -> Conversation:
    rows = [root]
    # Replies lead away from the root, so this ends even where damaged data has a circle elsewhere.
    while below := replies.get(rows[-1].fields["message_id"]):
        rows.append(min(below, key=_rank))
    while rows and rows[-1].fields["role"] != "assistant":
        rows.pop()
    return Conversation(tuple(Message(_ROLES[r.fields["role"]], r.fields["text"].strip()) for r in rows), root.where)


def _rank(row: Row) -> float:
    rank = row.fields.get("rank")
    return float("inf") if rank is None else float(rank)
