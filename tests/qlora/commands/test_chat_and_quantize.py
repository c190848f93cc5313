import io
import json
import sys

import pytest
import torch
import transformers

from qlora import cli


def test_a_conversation_knows_what_was_said(tiny_model, monkeypatch, capsys):
    said = "What is NF4?\nAnd why?\n\n/new\nAnd why?\n/end\nNever asked\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    assert cli.main(["chat", str(tiny_model), "--max-new-tokens", "6", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [a["prompt"] for a in answers] == ["What is NF4?", "And why?", "And why?"]
    # After /new the same question is the first one, and the model sees other tokens.
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    from qlora.config import ModelConfig, QuantizationSettings
    from qlora.models.load import load_quantized

    model, _ = load_quantized(
        ModelConfig(str(tiny_model)), QuantizationSettings(), device=torch.device("cpu"), dtype=torch.float32
    )
    for messages, answer in (
        ([{"role": "user", "content": "And why?"}], answers[2]["answer"]),
        (
            [
                {"role": "user", "content": "What is NF4?"},
                {"role": "assistant", "content": answers[0]["answer"]},
                {"role": "user", "content": "And why?"},
            ],
            answers[1]["answer"],
        ),
    ):
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        expected = model.generate(**ids, max_new_tokens=6, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert tokenizer.decode(expected, skip_special_tokens=True).startswith(answer)


def test_a_quantized_checkpoint_answers_as_the_model_it_was_made_of(tiny_model, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "four"
    arguments = ["quantize", str(tiny_model), str(folder), "--dtype", "float32"]
    assert cli.main([*arguments, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["left"] == {} and written["bytes"] == sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "bitsandbytes" and config["bnb_4bit_quant_type"] == "nf4"
    answers = []
    for source in (tiny_model, folder):
        monkeypatch.setattr(sys, "stdin", io.StringIO("What is a page?\n"))
        assert cli.main(["chat", str(source), "--max-new-tokens", "8", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["answer"])
    assert answers[0] == answers[1]
    assert cli.main(arguments) == 2
    assert "holds something already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chat", "/nowhere/at/all"], "There is no model folder /nowhere/at/all"),
        (["chat", "x", "--max-new-tokens", "0"], "from 1 to 4096, got 0"),
        (["quantize", "/nowhere/at/all", "out"], "There is no model folder"),
        (["quantize", "x", "out", "--block-size", "48"], "power of two from 32 to 4096, got 48"),
        (["quantize", "x", "out", "--quant-type", "nf5"], "one of nf4, fp4-e2m1, fp4-e3m0, int4, got 'nf5'"),
    ],
)
def test_bad_input_is_named(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
