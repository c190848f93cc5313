import csv
from pathlib import Path

import pytest

import qlora
from qlora import config
from qlora.errors import InputError

RECIPES = Path(qlora.__file__).parent / "recipes"


def test_yaml_round_trip(tmp_path):
    settings = config.from_mapping(
        {
            "model": {"name": "a"},
            "optimizer": {"device_budget_mib": 300, "learning_rate": "2e-4"},
            "training": {"sample_prompts": ["one", "two"]},
        }
    )
    (tmp_path / "run.yaml").write_text(config.to_yaml(settings))
    assert config.load(tmp_path / "run.yaml") == settings
    assert settings.optimizer.learning_rate == 2e-4 and settings.optimizer.device_budget_mib == 300.0


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_recipes_are_valid(recipe):
    assert config.load(recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {step: 3}", "Unknown key 'training.step': did you mean 'steps'"),
        ("colour: red", "Unknown key 'colour': expected one of model, quantization"),
        ("training: {steps: 0}", "training.steps must be from 1 to 10000000, got 0"),
        ("training: {steps: many}", "training.steps must be a whole number, got 'many'"),
        ("training: {steps: true}", "training.steps must be a whole number, got True"),
        ("training: {warmup_steps: 200}", "training.warmup_steps must be from 0 to steps"),
        ("training: {schedule: wavy}", "one of constant, linear, cosine, got 'wavy'"),
        ("training: {sample_prompts: hello}", "must be a list of texts, got 'hello'"),
        ("training: {compile: 1}", "must be true or false, got 1"),
        ("quantization: {block_size: 48}", "power of two from 32 to 4096, got 48"),
        ("quantization: {quant_type: nf16}", "one of nf4, fp4-e2m1, fp4-e3m0, int4, got 'nf16'"),
        ("adapter: {r: 0}", "adapter.r must be from 1 to 1024, got 0"),
        ("adapter: {dropout: 1}", "adapter.dropout must be from 0 to below 1"),
        ("optimizer: {learning_rate: .nan}", "optimizer.learning_rate must be a number, got nan"),
        ("optimizer: {device_budget_mib: -1}", "optimizer.device_budget_mib must be above 0, or null"),
        ("optimizer: {state_bits: 16}", "optimizer.state_bits must be 32 or 8, got 16"),
        ("optimizer: {state_bit: 8}", "Unknown key 'optimizer.state_bit': did you mean 'state_bits'"),
        ("optimizer: {page_kib: 1}", "optimizer.page_kib must be from 4 to 65536, got 1"),
        ("optimizer: {beta2: 1}", "optimizer.beta2 must be from 0 to below 1, got 1"),
        ("data: {max_length: 4}", "data.max_length must be from 8 to 65536 tokens, got 4"),
        ("model: smollm", "model must be a mapping"),
        ("- 1", "must be a mapping of keys to values"),
        ("a: [1", "line 1 is not YAML"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        config.load(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"There is no configuration file .*none\.yaml"):
        config.load(tmp_path / "none.yaml")


def test_a_binary_file_is_named(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        config.load(tmp_path / "run.yaml")


def test_an_empty_file_means_the_defaults(tmp_path):
    (tmp_path / "run.yaml").write_text("")
    assert config.load(tmp_path / "run.yaml") == config.RunConfig()


def test_the_papers_recipes_are_those_of_its_table_9():
    table = Path(__file__).parents[2] / "papers" / "qlora" / "table_09_training_hyperparameters.csv"
    rows = {(row["model"], row["dataset"]): row for row in csv.DictReader(table.read_text().splitlines())}
    for size in ("7B", "13B", "33B", "65B"):
        for name, dataset in (("guanaco", "OASST1"), ("alpaca", "All")):
            recipe, row = config.load(RECIPES / f"{name}-{size.lower()}.yaml"), rows[size, dataset]
            assert recipe.training.batch_size * recipe.training.accumulation == int(row["batch_size"])
            assert recipe.optimizer.learning_rate == float(row["learning_rate"])
            assert recipe.training.steps == int(row["steps"])
            lengths = int(row["source_length_tokens"] or 0) + int(row["target_length_tokens"])
            assert recipe.data.max_length == lengths
            # Appendix B.2.
            assert (recipe.adapter.r, recipe.adapter.alpha, recipe.adapter.target_modules) == (64, 16, ())
            assert recipe.adapter.dropout == (0.1 if size in ("7B", "13B") else 0.05)
            assert (recipe.quantization.quant_type, recipe.quantization.double_quantization) == ("nf4", True)
            assert recipe.training.schedule == "constant" and recipe.data.group_by_length
            assert (recipe.training.max_gradient_norm, recipe.optimizer.beta2) == (0.3, 0.999)
