"""A server of a few lines that speaks OpenAI's and Ollama's chat protocols, well or badly, on this machine."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[["Handler", dict], None]

QUESTION = "How many bits per parameter does double quantization save?"
GOOD = ("Double Quantization saves ", "0.373 bits ", "per parameter. [1]")
"""What a good model says to it, in pieces."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body, dict(self.headers)))
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has gone, as clients do that stop
            self.server.reply(self, body)

    def start(self, status: int = 200, kind: str = "text/event-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def put(self, data: bytes | str) -> None:
        self.wfile.write(data if isinstance(data, bytes) else data.encode())
        self.wfile.flush()

    def log_message(self, *_) -> None:
        pass


@contextmanager
def serving(reply: Reply) -> Iterator[ThreadingHTTPServer]:
    """A server on a free port; ``requests`` are (path, body, headers) as they came."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.reply, server.requests = True, reply, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def openai_says(*words: str, pause: float = 0.0) -> Reply:
    """A stream of server-sent events."""

    def reply(handler: Handler, body: dict) -> None:
        handler.start()
        for word in words:
            handler.put(f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n")
            time.sleep(pause)
        handler.put('data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')

    return reply


def raw(data: bytes, status: int = 200, kind: str = "text/event-stream") -> Reply:
    def reply(handler: Handler, body: dict) -> None:
        handler.start(status, kind)
        handler.put(data)

    return reply


def ollama_line(content: str = "", done: bool = False, query: str | None = None, tool: str = "retrieve") -> str:
    message: dict = {"role": "assistant", "content": content}
    if query is not None:
        message["tool_calls"] = [{"function": {"name": tool, "arguments": {"query": query}}}]
    line = {"model": "m", "created_at": "2025-01-01T00:00:00Z", "message": message, "done": done}
    return json.dumps(line | ({"done_reason": "stop"} if done else {})) + "\n"


def ollama_says(*turns: list[str]) -> Reply:
    """The lines of the first turn, then of the second, and of the last one for every later request."""
    count = iter(range(1000))

    def reply(handler: Handler, body: dict) -> None:
        handler.start(kind="application/x-ndjson")
        for line in turns[min(next(count), len(turns) - 1)]:
            handler.put(line)

    return reply
