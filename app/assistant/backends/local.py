"""This project's own 4-bit model, with the adapter of a run if one is named; loaded once, with the first question."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

from app.assistant.backends.base import Event, Request, Token
from app.assistant.backends.prompt import RULES, question_below_passages, question_with_passages
from qlora.errors import InputError

DEFAULT_MODEL = "smollm2-135m-instruct"
MAX_NEW_TOKENS, _SMALL_NEW_TOKENS = 300, 100
_SMALL_WIDTH = 2048
"""Models narrower than this (about a billion parameters) follow no rules; they are given two passages and the question.
They then mostly repeat the passages, which is the best that they can do."""
_SMALL_PASSAGES = 2
_loading = threading.Lock()
_loaded: dict[tuple[str, str], tuple] = {}


class LocalModel:
    """Greedy generation with :mod:`qlora`.

    Args:
        model: a hub name or a folder; if empty, the one that the adapter says it is for, else the demo model.
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
        if is_run:
            from qlora.evaluation.sources import described

            model = described(folder)[0].model.name  # the run says itself what it was trained on
        named = model or (_base_model(folder) if folder and not is_run else "") or DEFAULT_MODEL
        self._source = str(folder) if is_run else named
        self._adapter = "" if is_run or folder is None else str(folder)
        self.model = f"{Path(named).name} with {folder.name}" if folder else Path(named).name

    def stream(self, request: Request, stop: Flag) -> Iterator[Event]:
        from qlora.evaluation.generation import stream

        with _loading:  # one model in memory, one answer at a time: both take all there is
            if stop.is_set():
                return
            model, tokenizer = self._load()
            small = model.config.get_text_config().hidden_size < _SMALL_WIDTH
            if small:
                prompt, rules, most = question_below_passages(request, _SMALL_PASSAGES), None, _SMALL_NEW_TOKENS
            else:
                prompt, rules, most = question_with_passages(request), RULES, MAX_NEW_TOKENS
            for piece in stream(model, tokenizer, prompt, most, system_prompt=rules):
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


def _base_model(folder: Path) -> str:
    """The model that an adapter says it is for."""
    try:
        record = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return str(record.get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"The adapter_config.json in {folder} cannot be read: {error}.") from error
