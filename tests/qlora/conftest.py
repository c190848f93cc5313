"""Small random models of the architectures whose linear layers are not all alike."""

import pytest
import torch

SHAPE = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA_LIKE = {**SHAPE, "intermediate_size": 96, "num_key_value_heads": 2, "max_position_embeddings": 64}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS = {
    "llama": ("LlamaConfig", LLAMA_LIKE),
    "llama tied": ("LlamaConfig", {**LLAMA_LIKE, "tie_word_embeddings": True}),
    "gpt2": ("GPT2Config", {"vocab_size": 96, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, **TOKENS}),
    "gpt-neox": ("GPTNeoXConfig", {**SHAPE, "intermediate_size": 96}),
    "bloom": ("BloomConfig", {"vocab_size": 96, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "opt": ("OPTConfig", {**SHAPE, "ffn_dim": 96, "word_embed_proj_dim": 32, "max_position_embeddings": 64}),
    "phi3": ("Phi3Config", {**LLAMA_LIKE, **TOKENS}),
    "mixtral": ("MixtralConfig", {**LLAMA_LIKE, "num_local_experts": 4}),
    "qwen2-moe": (
        "Qwen2MoeConfig",
        {**LLAMA_LIKE, "num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 96},
    ),
    "qwen3-moe": (
        "Qwen3MoeConfig",
        {**LLAMA_LIKE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16},
    ),
    "t5": ("T5Config", {"vocab_size": 96, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}),
    "nomic-bert": ("NomicBertConfig", {**SHAPE, "intermediate_size": 96, "max_position_embeddings": 64}),
    "roberta": ("RobertaConfig", {**SHAPE, "intermediate_size": 96, "max_position_embeddings": 64}),
}
AUTO = {"t5": "AutoModelForSeq2SeqLM", "roberta": "AutoModelForMaskedLM", "nomic-bert": "AutoModelForMaskedLM"}


def auto_class(name):
    import transformers

    return getattr(transformers, AUTO.get(name, "AutoModelForCausalLM"))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """name -> (class to load it with, folder of a random model in bfloat16)."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    made = {}

    def make(name):
        if name not in made:
            kind, settings = CONFIGS[name]
            torch.manual_seed(0)
            model = auto_class(name).from_config(getattr(transformers, kind)(**settings))
            folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
            model.to(torch.bfloat16).save_pretrained(folder)
            made[name] = auto_class(name), folder
        return made[name]

    return make
