"""Every family's weights and activations against the models that transformers builds."""

import pytest
import torch

from qlora.config import AdapterConfig
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import Pass
from qlora.models.tasks import classifier_head

ROWS, TOKENS, TARGET = 2, 16, 10


def test_weights_equal_transformers(family):
    shape, model = family.shape(), family.model()
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.task == family.task
    head = classifier_head(model)
    outputs = model.get_submodule(head) if head else model.get_output_embeddings()
    inside = {id(module) for module in outputs.modules()}
    linears = {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and id(module) not in inside
    }
    expected = dict(shape.outer_linears)
    for stack in shape.stacks:
        for index in range(stack.first, stack.first + stack.count):
            expected |= {f"{stack.path}.{index}.{name}": size for name, size in stack.adapted.items()}
    assert linears == expected
    assert sum(stack.count for stack in shape.stacks) == shape.layers
    if head:
        assert sum(shape.trained_whole) == sum(parameter.numel() for parameter in outputs.parameters())


def kept_bytes(family, dtype, masked, targets=(), **changes):
    """Bytes of distinct storages that autograd keeps in one forward pass with this library's adapters."""
    model = family.adapted(dtype, targets, **changes)
    batch = family.batch(ROWS, TOKENS, TARGET, masked)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved = {}

    def keep(tensor):
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if family.task == "seq2seq":
            result = model(**batch.model_inputs(), decoder_input_ids=batch.labels)
        elif family.task == "classification":
            result = model(**batch.model_inputs())
        else:
            result = model.base_model(**batch.model_inputs())
    assert result[0].requires_grad
    return sum(t.untyped_storage().nbytes() for pointer, t in saved.items() if pointer not in parameters)


@pytest.mark.parametrize(("dtype", "masked"), [(torch.bfloat16, True), (torch.float32, False)])
def test_activations_of_a_layer_equal_what_autograd_keeps(family, dtype, masked):
    batch = Pass(ROWS, TOKENS, dtype.itemsize, TARGET, masked)
    layers = {"n_layer": 3} if family.kind == "BloomConfig" else {"num_hidden_layers": 3}
    fields = {"num_layers": 3, "num_decoder_layers": 2} if family.task == "seq2seq" else layers
    for (name, count), stack in zip(fields.items(), family.shape().stacks[-len(fields) :], strict=True):
        more, less = count, count - 1
        if "decoder_sparse_step" in family.settings:
            more, less = 4, 3  # the fourth is the second sparse one
            stack = family.shape(**{name: 4}).stacks[-1]
        counted = [kept_bytes(family, dtype, masked, **{name: layers}) for layers in (more, less)]
        assert counted[0] - counted[1] == family.shape().layer_bytes(stack, batch).kept


@pytest.mark.parametrize(("dtype", "masked"), [("bfloat16", False), ("float32", True)])
def test_activations_of_a_model_equal_what_autograd_keeps(family, dtype, masked):
    options = EstimateOptions(
        compute_dtype=dtype,
        batch_size=ROWS,
        sequence_length=TOKENS,
        target_length=TARGET,
        masked=masked,
        checkpointed_layers=0,
    )
    predicted = estimate(family.shape(), options).moments["loss"]["activations"]
    kept = kept_bytes(family, getattr(torch, dtype), masked)
    # Of a classifier's head nothing is counted but its input.
    assert kept == pytest.approx(predicted, rel=0.005) if family.labels else kept == predicted


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("llama", ("q_proj", "v_proj")),
        ("llama", ("o_proj", "down_proj")),
        ("llama", ("up_proj",)),
        ("phi3", ("qkv_proj",)),
        ("qwen3", ("k_proj", "gate_proj")),
        ("mixtral", ("o_proj",)),
        ("qwen2 mixture", ("shared_expert_gate", "o_proj")),
        ("qwen2 mixture", ("down_proj",)),
        ("opt", ("q_proj", "v_proj")),
        ("opt", ("fc2",)),
        ("opt 350m", ("fc1",)),
        ("gpt-neox", ("query_key_value",)),
        ("bloom", ("dense_4h_to_h",)),
        ("bert", ("query", "value")),
    ],
)
def test_fewer_adapters_keep_fewer_inputs(family_named, name, targets):
    family = family_named(name)
    field = "n_layer" if name == "bloom" else "num_hidden_layers"
    counted = [kept_bytes(family, torch.bfloat16, False, targets, **{field: layers}) for layers in (3, 2)]
    shape = family.shape()
    adapted = shape.adapted_names(AdapterConfig(target_modules=targets))
    assert len(adapted) == len(targets), "each pattern is one name, else this proves little"
    few, all_of_them = (
        shape.layer_bytes(shape.stacks[0], Pass(ROWS, TOKENS, 2, adapted=names)).kept for names in (adapted, None)
    )
    assert counted[0] - counted[1] == few < all_of_them


def test_estimates_of_every_method(family):
    shape = family.shape()
    for method in ("qlora", "lora", "full"):
        result = estimate(shape, EstimateOptions(method=method))
        weights = result.components["base_weights"] + result.components["unquantized_weights"]
        if method != "qlora":
            assert weights == 2 * shape.parameters
        assert result.total_bytes >= result.peak_bytes > weights > 0
