"""Our models in EleutherAI's lm-eval: ``lm_eval.simple_evaluate(model=QuantizedLM(model, tokenizer), tasks=[…])``.

Needs the package lm-eval (`pip install 'qlora[lm-eval]'`); nothing else imports this module.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import LM

from qlora.data.chat import stop_ids, text_ids
from qlora.evaluation.likelihood import encode_pair, max_length, score

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LONGEST_WITHOUT_LIMIT = 2048


class QuantizedLM(LM):
    """A model of ours as lm-eval's tasks ask for it.

    Args:
        model: causal, in evaluation mode; its active adapter counts.
        tokenizer: of the model.
        batch_size: sequences read together.
        max_new_tokens: longest answer of tasks that name no limit.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        batch_size: int = 8,
        max_new_tokens: int = 256,
    ):
        super().__init__()
        self._model, self._tokenizer = model, tokenizer
        self._batch_size, self._max_new_tokens = batch_size, max_new_tokens
        self._longest = max_length(model) or _LONGEST_WITHOUT_LIMIT

    def loglikelihood(self, requests: Sequence["Instance"], **_: Any) -> list[tuple[float, bool]]:
        """For each request of ``args`` (context, continuation): its log-likelihood in nats, and whether greedy decoding
        would give it. A pair that is too long loses the beginning of its context.

        Raises:
            InputError: a continuation alone is longer than the model takes.
        """
        pairs = []
        for request in requests:
            context, continuation = encode_pair(self._tokenizer, *request.args)
            kept = self._longest + 1 - len(continuation)
            pairs.append((context[-max(kept, 1) :], continuation))
        return [(s.log_likelihood, s.greedy) for s in score(self._model, pairs, self._batch_size)]

    def loglikelihood_rolling(self, requests: Sequence["Instance"], **_: Any) -> list[float]:
        """For each request of ``args`` (text,): its log-likelihood in nats, every token predicted once, after the
        beginning-of-text token (or end-of-text) and as much of the text as the model takes."""
        totals = []
        for request in requests:
            (text,) = request.args
            start, ids = encode_pair(self._tokenizer, "", text) if text else ([], [])
            whole, pairs = start + ids, []
            for end in range(len(start), len(whole), self._longest):
                stop = min(end + self._longest, len(whole))
                begin = max(0, stop - 1 - self._longest)
                pairs.append((whole[begin:end], whole[end:stop]))
            totals.append(sum(s.log_likelihood for s in score(self._model, pairs, self._batch_size)))
        return totals

    def generate_until(self, requests: Sequence["Instance"], **_: Any) -> list[str]:
        """For each request of ``args`` (context, settings): the greedy continuation before the first of
        ``settings["until"]``, of ``settings["max_gen_toks"]`` tokens at most.

        Raises:
            ValueError: a request asks for sampling.
        """
        return [self._continued(*request.args) for request in requests]

    @torch.inference_mode()
    def _continued(self, context: str, settings: dict[str, Any]) -> str:
        if settings.get("do_sample") and settings.get("temperature", 1.0) > 0:
            raise ValueError("do_sample: expected greedy decoding (do_sample false or temperature 0)")
        until = settings.get("until") or []
        until = [until] if isinstance(until, str) else until
        limit = settings.get("max_gen_toks", self._max_new_tokens)
        prompt = text_ids(self._tokenizer, context)[:-1] or [self._tokenizer.eos_token_id]
        ids = torch.tensor([prompt[-max(1, self._longest - limit) :]], device=self._model.device)
        ends, cache, generated, text = stop_ids(self._tokenizer), None, [], ""
        for _ in range(limit):
            output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            token = int(output.logits[0, -1].argmax())
            if token in ends:
                break
            generated.append(token)
            text = self._tokenizer.decode(generated, skip_special_tokens=True)
            if any(mark and mark in text for mark in until):
                break
            ids = torch.tensor([[token]], device=self._model.device)
        for mark in until:
            text = text.split(mark)[0] if mark else text
        return text

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval's cache of requests is kept under."""
        return self._tokenizer.name_or_path.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The template that `apply_chat_template` uses."""
        return self._tokenizer.get_chat_template() if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Messages as one text, ready to be answered."""
        return self._tokenizer.apply_chat_template(
            chat_history, add_generation_prompt=add_generation_prompt, tokenize=False
        )
