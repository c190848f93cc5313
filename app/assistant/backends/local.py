"""This project's own 4-bit model, with the adapter of a run if one is named; loaded once, with the first question."""

import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

from app.assistant.backends.base import Event, Request, Token
from app.assistant.backends.prompt import RULES, question_with_passages
from qlora.errors import InputError

DEFAULT_MODEL = "smollm2-135m-instruct"
MAX_NEW_TOKENS = 160
_MOST_PASSAGES = 3
"""A small model on a CPU reads about a hundred tokens a second, and more passages only confuse it."""
_loading = threading.Lock()
_loaded: dict[tuple[str, str], tuple] = {}


class LocalModel:
    """Greedy generation with :mod:`qlora`.

    Args:
        model: a hub name, a folder, or the demo model if empty.
        adapter: a folder with an adapter, or the folder of a training run (whose base model is then used).

    Raises:
        InputError: the adapter's folder is neither.
    """

    name = "local"
    first_token_seconds = 180.0

    def __init__(self, model: str = "", adapter: str = ""):
        from qlora.events import ADAPTER_FOLDER, CONFIG_NAME

        folder = Path(adapter).expanduser() if adapter else None
        is_run = folder is not None and (folder / CONFIG_NAME).is_file()
        if folder is not None and not is_run and not (folder / "adapter_config.json").is_file():
            raise InputError(f"There is no adapter in {folder}: name a run's folder, or one with adapter_config.json.")
        if is_run and not (folder / ADAPTER_FOLDER).is_dir():
            raise InputError(f"The run in {folder} has saved no adapter. Let it end first.")
        self._source = str(folder) if is_run else model or DEFAULT_MODEL
        self._adapter = "" if is_run or folder is None else str(folder)
        named = Path(model).name or DEFAULT_MODEL
        self.model = f"{named} with {folder.name}" if folder else named

    def stream(self, request: Request, stop: Flag) -> Iterator[Event]:
        from qlora.evaluation.generation import stream

        with _loading:  # one model in memory, one answer at a time: both take all there is
            if stop.is_set():
                return
            model, tokenizer = self._load()
            prompt = question_with_passages(request, _MOST_PASSAGES)
            for piece in stream(model, tokenizer, prompt, MAX_NEW_TOKENS, system_prompt=RULES):
                if stop.is_set():
                    return
                if piece:
                    yield Token(piece)

    def _load(self) -> tuple:
        from qlora.evaluation import sources

        key = (self._source, self._adapter)
        if key not in _loaded:
            config, of_run = sources.described(self._source)
            _loaded.clear()
            _loaded[key] = sources.load(config, Path(self._adapter) if self._adapter else of_run)
        return _loaded[key]
