"""The estimate against bytes that are really stored: quantized weights, optimizer states, autograd's saved tensors."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import qlora
from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, base_weight_bytes, estimate
from qlora.memory.shapes import LLAMA, SMOLLM2_135M, LlamaShape

TINY = LlamaShape("tiny", 96, 2, 6, 272, vocabulary_size=500, key_value_heads=3)


@pytest.mark.parametrize("block_size", [32, 64, 4096])
@pytest.mark.parametrize("double_quantization", [True, False])
def test_base_weights_equal_the_bytes_that_quantize_stores(block_size, double_quantization):
    one_layer = replace(SMOLLM2_135M, layers=1)
    options = EstimateOptions(block_size=block_size, double_quantization=double_quantization)
    stored = [
        qlora.quantize(torch.randn(shape), "nf4", block_size=block_size, double_quantization=double_quantization)
        for shape in one_layer.stacks[0].linears.values()
    ]
    assert sum(base_weight_bytes(one_layer, options)) == sum(weight.nbytes for weight in stored)
    layers = base_weight_bytes(SMOLLM2_135M, options)
    assert sum(layers) == 30 * sum(weight.nbytes for weight in stored)


def test_base_weights_of_an_odd_shape():
    odd = LlamaShape("odd", 99, 1, 3, 101, vocabulary_size=7)
    stored = [qlora.quantize(torch.randn(shape)).nbytes for shape in odd.stacks[0].linears.values()]
    assert sum(base_weight_bytes(odd, EstimateOptions())) == sum(stored)


def test_bits_a_weight_of_llama_65b():
    shape = LLAMA["65B"]
    for double_quantization, bits in ((True, 4.127), (False, 4.5)):
        stored = sum(base_weight_bytes(shape, EstimateOptions(double_quantization=double_quantization)))
        assert 8 * stored / shape.linear_parameters == pytest.approx(bits, abs=5e-4)


def test_parameter_counts_equal_transformers():
    from transformers import AutoModelForCausalLM, LlamaConfig

    for shape in (*LLAMA.values(), SMOLLM2_135M, TINY):
        config = LlamaConfig(
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads,
            vocab_size=shape.vocabulary_size,
            tie_word_embeddings=shape.tied_embeddings,
        )
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_optimizer_states_equal_torch_adamw():
    weights = torch.nn.Parameter(torch.randn(1000))
    optimizer = torch.optim.AdamW([weights])
    weights.sum().backward()
    optimizer.step()
    states = optimizer.state[weights]
    held = states["exp_avg"].nbytes + states["exp_avg_sq"].nbytes
    result = estimate(SMOLLM2_135M, EstimateOptions(optimizer="adamw-32bit"))
    assert result.components["optimizer_states"] / result.trainable_parameters == held / weights.numel()


def test_full_finetuning_keeps_what_autograd_does():
    from transformers import LlamaConfig, LlamaForCausalLM

    options = EstimateOptions(
        method="full", compute_dtype="bfloat16", batch_size=2, sequence_length=32, checkpointed_layers=0
    )
    config = LlamaConfig(
        hidden_size=96, intermediate_size=272, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3,
        vocab_size=500,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(torch.randint(500, (2, 32)))
    kept = sum(t.untyped_storage().nbytes() for pointer, t in saved.items() if pointer not in parameters)
    kept -= 8 * options.tokens  # the token ids, for the embedding's gradient
    kept += 96 * 2 * options.tokens  # the head's input: the head is not run here
    assert estimate(TINY, options).moments["loss"]["activations"] == kept


def test_full_finetuning_is_twelve_bytes_a_weight():
    """The paper's more than 780 GB for a 65B model (section 1): 2 weight, 2 gradient, 8 Adam."""
    result = estimate(LLAMA["65B"], EstimateOptions(method="full", optimizer="adamw-32bit"))
    weights = sum(result.components[name] for name in ("base_weights", "unquantized_weights"))
    states = result.components["gradients"] + result.components["optimizer_states"]
    assert weights + states == 12 * LLAMA["65B"].parameters
    assert result.peak_bytes > 780e9


def test_methods_are_ordered_and_qlora_65b_fits_48_gb():
    peaks = [
        estimate(LLAMA["65B"], EstimateOptions(method=method, optimizer="adamw-32bit")).peak_bytes
        for method in ("qlora", "lora", "full")
    ]
    assert peaks == sorted(peaks)
    assert peaks[0] < 48 * 2**30 < peaks[1]


def test_checkpointing_paging_and_chunked_loss_each_lower_the_peak():
    options = EstimateOptions(batch_size=8, sequence_length=1024, checkpointed_layers=0, optimizer="adamw-32bit")
    plain = estimate(LLAMA["7B"], options)
    checkpointed = estimate(LLAMA["7B"], replace(options, checkpointed_layers=None))
    chunked = estimate(LLAMA["7B"], replace(options, loss_chunk_tokens=512))
    paged = estimate(LLAMA["7B"], replace(options, optimizer="paged-adamw-32bit"))
    assert checkpointed.peak_bytes < plain.peak_bytes
    assert chunked.peak_bytes < plain.peak_bytes
    assert paged.peak_bytes == plain.peak_bytes
    assert paged.peak_bytes_paged_out == plain.peak_bytes - paged.components["optimizer_states"]


def test_each_more_layer_that_is_checkpointed_takes_less():
    peaks = [
        estimate(
            LLAMA["7B"], EstimateOptions(batch_size=4, checkpointed_layers=layers, loss_chunk_tokens=512)
        ).peak_bytes
        for layers in range(33)
    ]
    assert peaks == sorted(peaks, reverse=True) and len(set(peaks)) == 33
    everything = EstimateOptions(batch_size=4, loss_chunk_tokens=512)
    assert peaks[-1] == estimate(LLAMA["7B"], everything).peak_bytes


def test_inputs_in_main_memory_are_two_on_the_device():
    options = EstimateOptions(batch_size=4, loss_chunk_tokens=512)
    here, away = (estimate(LLAMA["7B"], replace(options, offloaded=offloaded)) for offloaded in (False, True))
    one = 4 * 512 * 4096 * 2
    assert away.main_memory_bytes == 32 * one and here.main_memory_bytes == 0
    assert here.components["activations"] - away.components["activations"] == 30 * one
    with pytest.raises(InputError, match="let all layers be checkpointed"):
        replace(options, offloaded=True, checkpointed_layers=16)


def test_adapters_by_pattern_and_as_they_are_stored():
    """Each tensor begins at a multiple of 256 in the optimizer's flat ones."""
    adapter = AdapterConfig(r=3, target_modules=("q_proj", "layers.1.*down_proj"), rank_pattern={"layers.0.*": 5})
    result = estimate(TINY, EstimateOptions(adapter=adapter, adapter_dtype="float32", optimizer="paged-adamw-8bit"))
    sizes = [5 * 96, 5 * 96, 3 * 96, 3 * 96, 3 * 272, 3 * 96]  # q_proj of both layers, down_proj of the second
    assert result.trainable_parameters == sum(sizes)
    stored = 256 * (2 + 2 + 2 + 2 + 4 + 2)
    assert result.components["adapters"] == result.components["gradients"] == 4 * stored
    assert result.components["optimizer_states"] == 2 * stored + 8 * stored // 256


def test_total_is_the_sum_and_bounds_the_peak():
    for method in ("qlora", "lora", "full"):
        result = estimate(LLAMA["13B"], EstimateOptions(method=method))
        assert result.total_bytes == sum(result.components.values()) >= result.peak_bytes
        assert min(result.components.values()) >= 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"r": 0}, "rank"),
        ({"r": 2.5}, "rank"),
        ({"batch_size": True}, "batch size"),
        ({"sequence_length": -1}, "sequence length"),
        ({"block_size": 48}, "power of two"),
        ({"optimizer": "sgd"}, "adamw-8bit"),
        ({"method": "qat"}, "qlora, lora, full"),
        ({"compute_dtype": "int8"}, "bfloat16"),
        ({"checkpointed_layers": -1}, "checkpointed layers must be a whole number from 0"),
        ({"target_length": 0}, "target length"),
    ],
)
def test_bad_options_say_what_was_expected(change, words):
    with pytest.raises(InputError, match=words):
        EstimateOptions(**change)


def test_more_checkpointed_layers_than_there_are():
    with pytest.raises(InputError, match="checkpointed layers must be a whole number from 0 to 2, not 3"):
        estimate(TINY, EstimateOptions(checkpointed_layers=3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": 0}, "layers"),
        ({"heads": 7, "key_value_heads": None}, "multiple"),
        ({"key_value_heads": 3}, "multiple"),
        ({"hidden_size": "a"}, "hidden size"),
    ],
)
def test_bad_shapes_say_what_was_expected(change, words):
    with pytest.raises(InputError, match=words):
        replace(LLAMA["7B"], **change)


def test_memory_loads_no_torch():
    program = "import sys, qlora.memory.estimate, qlora.memory.figure6; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
