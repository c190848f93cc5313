"""Any server that speaks OpenAI's chat protocol: vLLM, llama.cpp, LM Studio, a hosted one.

Its address, its key and perhaps its model come from the environment and from nowhere else, so that no visitor of the
page can choose where requests go: OPENAI_BASE_URL (with ``/v1``), OPENAI_API_KEY, OPENAI_MODEL. The key is sent to that
server, and is neither stored nor written to any log or message.
"""

import ipaddress
import json
import os
from collections.abc import Iterator
from threading import Event as Flag
from urllib.parse import urlsplit

from app.assistant.backends.base import BackendError, Event, Request, Token
from app.assistant.backends.prompt import messages
from qlora.errors import InputError

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_MAX_BYTES = 2**20


class OpenAIServer:
    """Streams chat completions.

    Args:
        model: asks for this one; OPENAI_MODEL if empty.

    Raises:
        InputError: OPENAI_BASE_URL is missing or no address, or no model is named.
    """

    name = "openai"
    first_token_seconds = 60.0

    def __init__(self, model: str = ""):
        self.url = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("Set OPENAI_BASE_URL to the server's address, such as http://127.0.0.1:8000/v1.")
        self.host = parts.hostname
        self.model = model or os.environ.get("OPENAI_MODEL", "")
        if not self.model:
            raise InputError("Name the model that the server should use: --model NAME, or set OPENAI_MODEL.")

    def stream(self, request: Request, stop: Flag) -> Iterator[Event]:
        import httpx

        body = {"model": self.model, "messages": messages(request), "stream": True, "temperature": 0, "max_tokens": 600}
        key = os.environ.get("OPENAI_API_KEY", "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=not is_local(self.host)) as client,
                client.stream("POST", f"{self.url}/chat/completions", json=body, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise BackendError(self._refused(response, key))
                yield from self._pieces(response, stop)
        except httpx.ConnectError as error:
            raise BackendError(f"There is no server at {self.host} (OPENAI_BASE_URL): is it running?") from error
        except httpx.TimeoutException as error:
            raise BackendError(f"The server at {self.host} does not answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise BackendError(f"The connection to the server at {self.host} broke off.") from error

    def _pieces(self, response, stop: Flag) -> Iterator[Event]:
        finished = False
        for line in self._lines(response):
            if stop.is_set():
                return
            if not line.startswith("data:"):
                # A server that does not stream sends one object; comments and other fields are passed over.
                if line.startswith("{"):
                    yield Token(self._text(line, "message"))
                    finished = True
                continue
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                return
            record = self._record(data)
            if text := self._text_of(record, "delta"):
                yield Token(text)
            finished = finished or any(choice.get("finish_reason") for choice in record.get("choices") or [])
        if not finished:
            raise BackendError(f"The server at {self.host} broke off in the middle of its answer.")

    def _lines(self, response) -> Iterator[str]:
        """Lines of the body as strict UTF-8."""
        held, count = b"", 0
        try:
            for piece in response.iter_bytes():
                count += len(piece)
                if count > _MAX_BYTES:
                    raise BackendError(f"The server at {self.host} sent more than {_MAX_BYTES // 2**20} MiB.")
                *whole, held = (held + piece).split(b"\n")
                yield from (line.decode("utf-8").strip() for line in whole)
            yield held.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise BackendError(f"The server at {self.host} answers with bytes that are not UTF-8.") from error

    def _text(self, line: str, key: str) -> str:
        return self._text_of(self._record(line), key)

    def _record(self, data: str) -> dict:
        try:
            record = json.loads(data)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise BackendError(f"The server at {self.host} does not speak the OpenAI protocol.") from error
        if record.get("error"):
            raise BackendError(f"The server at {self.host} reports an error.")
        return record

    def _text_of(self, record: dict, key: str) -> str:
        try:
            choices = record.get("choices") or []
            return str((choices[0].get(key) or {}).get("content") or "") if choices else ""
        except (AttributeError, KeyError, TypeError) as error:
            raise BackendError(f"The server at {self.host} does not speak the OpenAI protocol.") from error

    def _refused(self, response, key: str) -> str:
        status = response.status_code
        if status in (401, 403):
            return (
                f"The server at {self.host} refuses the key in OPENAI_API_KEY."
                if key
                else (f"The server at {self.host} wants a key: set OPENAI_API_KEY.")
            )
        if status == 404:
            return f"The server at {self.host} does not know the model {self.model}, or its address lacks /v1."
        if status == 429:
            return f"The server at {self.host} has too many requests; try again later."
        return f"The server at {self.host} answers with HTTP {status}."


def is_local(host: str) -> bool:
    """Whether it is this machine, which no proxy of the environment stands before."""
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host == "localhost"
