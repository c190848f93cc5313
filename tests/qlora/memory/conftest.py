"""Small random models of every family whose memory is known, with sizes that no block or tile divides."""

from dataclasses import dataclass, field

import pytest
import torch
import transformers

from qlora.adapters.attach import attach
from qlora.config import AdapterConfig
from qlora.data.batches import Batch
from qlora.data.tasks import TaskBatch
from qlora.memory.model_config import shape_of_config
from qlora.models.tasks import AUTO_CLASSES, classifier_head

SIZES = {"vocab_size": 97, "hidden_size": 84, "num_hidden_layers": 3, "num_attention_heads": 6}
LLAMA = {**SIZES, "intermediate_size": 251, "num_key_value_heads": 3, "pad_token_id": 0}
# The product of all experts at once takes rows of a multiple of 16 bytes.
SPARSE = {**LLAMA, "hidden_size": 72, "intermediate_size": 232}
MIXTURE = {**SPARSE, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 40}
OPT = {**SIZES, "ffn_dim": 251, "word_embed_proj_dim": 84, "max_position_embeddings": 300, "dropout": 0.0}
NEOX = {**SIZES, "intermediate_size": 251}
BLOOM = {"vocab_size": 97, "hidden_size": 84, "n_layer": 3, "n_head": 6}
BERT = {**NEOX, "max_position_embeddings": 300, "attention_probs_dropout_prob": 0.0}
T5 = {
    "vocab_size": 97,
    "d_model": 84,
    "d_kv": 13,
    "d_ff": 251,
    "num_heads": 6,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "decoder_start_token_id": 0,
}


@dataclass(frozen=True)
class Family:
    """A model's configuration in transformers, and how it is used."""

    kind: str
    settings: dict = field(repr=False)
    task: str = "causal"

    @property
    def labels(self):
        return 3 if self.task == "classification" else None

    def config(self, **changes):
        labels = {"num_labels": self.labels} if self.labels else {}
        return getattr(transformers, self.kind)(**{**self.settings, **labels, **changes})

    def shape(self, **changes):
        return shape_of_config(self.config(**changes).to_dict(), self.kind, self.labels)

    def model(self, dtype=torch.float32, **changes):
        torch.manual_seed(0)
        auto = getattr(transformers, AUTO_CLASSES[self.task])
        model = auto.from_config(self.config(**changes), dtype=dtype)
        model.config.use_cache = False
        for module in model.modules():
            if type(module).__name__ == "T5Attention":
                module.dropout = 0.0  # a GPU's attention keeps nothing of it; a CPU's has another way then
        return model

    def adapted(self, dtype=torch.float32, targets=(), **changes):
        model = self.model(dtype, **changes)
        adapter = AdapterConfig(r=4, target_modules=targets)
        attach(model, adapter, dtype=dtype, train_whole=[h] if (h := classifier_head(model)) else ())
        return model.train()

    def batch(self, rows, tokens, target_tokens=1, masked=False):
        ids = torch.randint(5, 90, (rows, tokens))
        mask = torch.ones_like(ids)
        if masked:
            mask[0, -3:] = 0
        rest = (mask, torch.arange(tokens).expand(rows, tokens), (), False, rows * tokens, rows * tokens)
        if self.task == "causal":
            return Batch(ids, ids.clone(), *rest)
        if self.task == "seq2seq":
            return TaskBatch(ids, torch.randint(5, 90, (rows, target_tokens)), *rest)
        return TaskBatch(ids, torch.randint(0, 3, (rows,)), *rest)


FAMILIES = {
    "llama": Family("LlamaConfig", LLAMA),
    "llama with biases": Family("LlamaConfig", {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama classifier": Family("LlamaConfig", LLAMA, "classification"),
    "mistral with wide heads": Family("MistralConfig", {**LLAMA, "head_dim": 22}),
    "qwen2 tied": Family("Qwen2Config", {**LLAMA, "tie_word_embeddings": True}),
    "qwen3": Family("Qwen3Config", {**LLAMA, "head_dim": 22}),
    "gemma": Family("GemmaConfig", {**LLAMA, "head_dim": 22}),
    "phi3": Family("Phi3Config", LLAMA),
    "phi3 with a key for every query": Family("Phi3Config", {**LLAMA, "num_key_value_heads": 6}),
    "mixtral": Family("MixtralConfig", {**SPARSE, "num_local_experts": 5}),
    "qwen2 mixture": Family("Qwen2MoeConfig", {**MIXTURE, "shared_expert_intermediate_size": 88}),
    "qwen3 mixture": Family("Qwen3MoeConfig", {**MIXTURE, "head_dim": 22, "norm_topk_prob": True}),
    "qwen3 mixture in every second layer": Family("Qwen3MoeConfig", {**MIXTURE, "decoder_sparse_step": 2}),
    "opt": Family("OPTConfig", OPT),
    "opt with dropout": Family("OPTConfig", {**OPT, "dropout": 0.1}),
    "opt without biases": Family("OPTConfig", {**OPT, "enable_bias": False}),
    "opt 350m": Family("OPTConfig", {**OPT, "word_embed_proj_dim": 37, "do_layer_norm_before": False}),
    "opt classifier": Family("OPTConfig", OPT, "classification"),
    "gpt-neox": Family("GPTNeoXConfig", NEOX),
    "gpt-neox one after the other": Family("GPTNeoXConfig", {**NEOX, "use_parallel_residual": False}),
    "gpt-neox tied": Family("GPTNeoXConfig", {**NEOX, "tie_word_embeddings": True, "attention_bias": False}),
    "bloom": Family("BloomConfig", BLOOM),
    "bert": Family("BertConfig", {**BERT, "hidden_dropout_prob": 0.0}, "classification"),
    "bert with dropout": Family("BertConfig", BERT, "classification"),
    "roberta": Family("RobertaConfig", {**BERT, "hidden_dropout_prob": 0.0}, "classification"),
    "t5": Family("T5Config", {**T5, "dropout_rate": 0.0}, "seq2seq"),
    "t5 with dropout": Family("T5Config", T5, "seq2seq"),
    "t5 gated": Family("T5Config", {**T5, "dropout_rate": 0.0, "feed_forward_proj": "gated-gelu"}, "seq2seq"),
    "t5 gated with dropout": Family("T5Config", {**T5, "feed_forward_proj": "gated-gelu"}, "seq2seq"),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


@pytest.fixture
def family_named():
    return FAMILIES.__getitem__


@pytest.fixture(autouse=True)
def dropout_as_on_a_gpu(monkeypatch):
    """A GPU's dropout keeps a byte for each value; a CPU's, which is made of single operations, the factors."""

    def dropout(x, p=0.5, training=True, inplace=False):
        return torch.native_dropout(x, p, True)[0] if training and p else x

    monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
