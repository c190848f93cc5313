"""Imports run one way (the table in README, "Map"), checked on the syntax tree of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(REPOSITORY / "qlora").rglob("*.py"), *(REPOSITORY / "app").rglob("*.py")])

# Package -> what of this project it may import besides itself, at any depth, also inside functions.
ALLOWED = {
    "qlora.errors": set(),
    "qlora.folders": set(),
    "qlora.hub": {"qlora.errors"},
    "qlora.process_lock": set(),
    "qlora.config": {"qlora.errors"},
    "qlora.events": set(),
    "qlora.quantization": {"qlora.kernels"},  # weight.py alone: the arithmetic modules are checked below
    "qlora.kernels": {"qlora.quantization"},
    "qlora.layers": {"qlora.kernels", "qlora.quantization"},
    "qlora.adapters": {"qlora.layers", "qlora.config", "qlora.errors", "qlora.folders", "qlora.hub"},
    "qlora.models": {
        "qlora.layers", "qlora.quantization", "qlora.config", "qlora.errors", "qlora.folders", "qlora.hub",
    },
    "qlora.paging": {"qlora.kernels", "qlora.quantization", "qlora.errors"},
    "qlora.optimizer": {"qlora.paging", "qlora.kernels", "qlora.quantization", "qlora.errors"},
    "qlora.memory": {"qlora.config", "qlora.errors", "qlora.hub"},
    "qlora.data": {"qlora.config", "qlora.errors", "qlora.hub"},
    "qlora.recipes": set(),
    "qlora.evaluation": {
        "qlora.adapters", "qlora.config", "qlora.data", "qlora.errors", "qlora.events", "qlora.models",
        "qlora.training",
    },
    "qlora.training": {
        "qlora", "qlora.adapters", "qlora.config", "qlora.data", "qlora.errors", "qlora.evaluation", "qlora.events",
        "qlora.layers", "qlora.memory", "qlora.models", "qlora.optimizer", "qlora.paging",
    },
    "qlora.bench": {
        "qlora", "qlora.adapters", "qlora.config", "qlora.errors", "qlora.kernels", "qlora.layers", "qlora.memory",
        "qlora.models", "qlora.optimizer", "qlora.quantization", "qlora.training",
    },
    "qlora.commands": {
        "qlora.adapters", "qlora.bench", "qlora.config", "qlora.data", "qlora.errors", "qlora.evaluation",
        "qlora.events", "qlora.memory", "qlora.models", "qlora.training",
    },
    "qlora.cli": {
        "qlora.bench", "qlora.commands", "qlora.config", "qlora.data", "qlora.errors", "qlora.events",
        "qlora.evaluation", "qlora.models", "qlora.training",
    },
    "qlora.__main__": {"qlora.cli"},
    "qlora.__init__": set(),
    "app.text": set(),
    "app.theme": set(),
    "app.charts": {"qlora", "app.text", "app.theme"},
    "app.assistant": {"qlora"},
    "app.run_log": {"qlora.events"},
    "app.trainer_process": set(),
    "app.runs": {"qlora", "app.run_log", "app.trainer_process"},
    "app.recordings": {"qlora", "app.text"},
    "app.tabs": {
        "qlora", "app.assistant", "app.charts", "app.recordings", "app.runs", "app.text", "app.trainer_process",
    },
    "app.endpoints": {"qlora", "app.tabs"},
    "app.interface": {"app.endpoints", "app.tabs", "app.text", "qlora.errors"},
    "app.__main__": {"app.interface", "app.theme", "qlora.errors"},
    "app.__init__": set(),
}  # fmt: skip
ARITHMETIC = ("codebook", "packing", "blockwise", "double_quantization")
GRADIO = ("app/interface.py", "app/theme.py", "app/__main__.py", "app/tabs/")


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def package_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2])


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)


@pytest.mark.parametrize("file", SOURCES, ids=module_of)
def test_imports_run_one_way(file):
    own = package_of(module_of(file))
    assert own in ALLOWED, f"{own} is new: add it to ALLOWED with what it may import"
    for name in imported(file):
        if name.partition(".")[0] not in ("qlora", "app") or package_of(name) == own:
            continue
        allowed = any(name == a or name.startswith(a + ".") for a in ALLOWED[own] if a != "qlora")
        whole_library = "qlora" in ALLOWED[own] and name.partition(".")[0] == "qlora"
        named_package = name in ("qlora", "app")  # `from qlora import config` is judged by qlora.config
        assert allowed or whole_library or named_package, f"{module_of(file)} must not import {name}"


@pytest.mark.parametrize("name", ARITHMETIC)
def test_quantization_arithmetic_imports_torch_alone(name):
    outside = {n.partition(".")[0] for n in imported(REPOSITORY / "qlora" / "quantization" / f"{name}.py")}
    assert outside - set(sys.stdlib_module_names) <= {"torch", "qlora"}
    inside = {n for n in imported(REPOSITORY / "qlora" / "quantization" / f"{name}.py") if n.startswith("qlora.")}
    assert all(n.startswith("qlora.quantization") for n in inside)


@pytest.mark.parametrize("file", SOURCES, ids=module_of)
def test_gradio_stays_in_the_interface(file):
    path = file.relative_to(REPOSITORY).as_posix()
    if not path.startswith(GRADIO):
        assert not any(n.partition(".")[0] == "gradio" for n in imported(file))


def test_pyplot_is_not_used():
    for file in SOURCES:
        assert not any(n.startswith("matplotlib.pyplot") for n in imported(file)), file


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(done.stdout.split())


def test_import_qlora_loads_nothing_heavy():
    assert not loaded_by("import qlora") & {"torch", "transformers", "triton", "numpy"}


def test_building_the_page_loads_nothing_heavier_than_gradio():
    loaded = loaded_by("import app.interface; app.interface.build_interface()")
    assert "gradio" in loaded, "else this proves nothing"
    assert not loaded & {"torch", "transformers", "triton", "chromadb", "langchain_core", "matplotlib"}


def test_training_needs_none_of_the_apps_packages():
    blocked = ("gradio", "langchain", "chromadb", "gguf", "bitsandbytes", "peft", "matplotlib")
    statement = f"sys.modules.update(dict.fromkeys({blocked})); import qlora.training.run, qlora.cli"
    assert "torch" in loaded_by(statement)
