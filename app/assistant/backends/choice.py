"""Back-ends by name."""

from app.assistant.answer import EXTRACTIVE
from app.assistant.backends.base import Backend
from qlora.errors import InputError

NAMES = (EXTRACTIVE, "local", "ollama", "openai")


def make(name: str = EXTRACTIVE, model: str = "", adapter: str = "") -> Backend | None:
    """The back-end of this name; None for the extractive one, which needs no model. Nothing is loaded or called yet.

    Args:
        name: one of :data:`NAMES`.
        model: what it runs: a name or folder (``local``), the server's name for it (``ollama``, ``openai``); its
            default if empty.
        adapter: for ``local``, an adapter's folder or a run's.

    Raises:
        InputError: there is no such back-end, it cannot have an adapter, or what it needs is missing.
    """
    if name not in NAMES:
        raise InputError(f"There is no back-end “{name}”. Known ones: {', '.join(NAMES)}.")
    if adapter and name != "local":
        raise InputError("Only the back-end local can have an adapter.")
    if name == "local":
        from app.assistant.backends.local import LocalModel

        return LocalModel(model, adapter)
    if name == "ollama":
        from app.assistant.backends.ollama import Ollama

        return Ollama(model)
    if name == "openai":
        from app.assistant.backends.openai_server import OpenAIServer

        return OpenAIServer(model)
    if model:
        raise InputError("The extractive back-end has no model: it quotes the passages.")
    return None
