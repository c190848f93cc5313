"""Ollama: a tool-calling model through a LangChain agent (:mod:`app.assistant.agent`), others without tools.

OLLAMA_HOST says where the server is (this machine if not set), OLLAMA_MODEL which model answers.
"""

import importlib.util
import logging
import os
from collections.abc import Iterator
from threading import Event as Flag
from urllib.parse import urlsplit

from app.assistant.backends.base import BackendError, Event, Request
from app.assistant.backends.openai_server import is_local
from qlora.errors import InputError

DEFAULT_MODEL = "llama3.1:8b"
_DEFAULT_HOST = "http://127.0.0.1:11434"
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_CONTEXT_TOKENS = 8192


class Ollama:
    """An agent with one tool, ``retrieve``.

    Args:
        model: a model that the server has; OLLAMA_MODEL, or llama3.1:8b, if empty.

    Raises:
        InputError: OLLAMA_HOST is no address, or the package langchain-ollama is missing.
    """

    name = "ollama"
    first_token_seconds = 120.0

    def __init__(self, model: str = ""):
        self.model = model or os.environ.get("OLLAMA_MODEL", "") or DEFAULT_MODEL
        named = os.environ.get("OLLAMA_HOST", "").strip() or _DEFAULT_HOST
        self.url = named if "://" in named else f"http://{named}"
        try:
            parts = urlsplit(self.url)
            self.host = parts.hostname or ""
            if parts.port is None:
                self.url = f"{self.url.rstrip('/')}:11434"
        except ValueError:
            self.host = ""
        if not self.host:
            raise InputError("OLLAMA_HOST is no address; set it to one such as http://127.0.0.1:11434.")
        if importlib.util.find_spec("langchain_ollama") is None:
            raise InputError("Ollama needs the package langchain-ollama. Run: pip install 'qlora[ollama]'")

    def stream(self, request: Request, stop: Flag) -> Iterator[Event]:
        import httpx
        from ollama import ResponseError

        from app.assistant.agent import answer_with_agent, answer_without_tools

        model = self._chat_model(httpx)
        try:
            try:
                yield from answer_with_agent(model, request, stop)
            except ResponseError as error:
                if "does not support tools" not in str(error.error):
                    raise
                yield from answer_without_tools(model, request, stop)
        except ResponseError as error:
            raise BackendError(self._refused(error.status_code)) from error
        except (ConnectionError, httpx.ConnectError) as error:
            raise BackendError(f"Ollama does not answer at {self.host}: is it running?") from error
        except httpx.TimeoutException as error:
            raise BackendError(f"Ollama at {self.host} does not answer in time.") from error
        except httpx.HTTPError as error:
            raise BackendError(f"The connection to Ollama at {self.host} broke off.") from error
        except InputError:
            raise
        except (ValueError, TypeError, AttributeError) as error:  # not JSON, or not the fields that the protocol has
            logging.getLogger(__name__).warning("Ollama's answer cannot be used", exc_info=True)
            raise BackendError(f"What answers at {self.host} does not speak Ollama's protocol.") from error

    def _chat_model(self, httpx):
        from langchain_ollama import ChatOllama

        return ChatOllama(
            model=self.model,
            base_url=self.url,
            temperature=0,
            num_ctx=_CONTEXT_TOKENS,
            client_kwargs={
                "timeout": httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
                "trust_env": not is_local(self.host),
            },
        )

    def _refused(self, status: int) -> str:
        if status == 404:
            return f"Ollama at {self.host} does not have the model {self.model}. Run: ollama pull {self.model}"
        return f"Ollama at {self.host} reports an error" + (f" (HTTP {status})." if status > 0 else ".")
