"""What a model learns from, before it is made into tokens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: "system", "user" or "assistant".
        content: without white space around it: tokenizers merge it with the template's own.
    """

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """Turns of which the assistant's are learnt.

    Attributes:
        messages: in their order; at least one is the assistant's.
        where: the file and line it came from, for error messages; "" when it did not come from a file.
    """

    messages: tuple[Message, ...]
    where: str = ""

    @classmethod
    def of(cls, prompt: str, completion: str, where: str = "") -> "Conversation":
        """A question and its answer."""
        return cls((Message("user", prompt.strip()), Message("assistant", completion.strip())), where)


@dataclass(frozen=True)
class PlainText:
    """A text that is learnt whole, without any template."""

    text: str
    where: str = ""


Sample = Conversation | PlainText
