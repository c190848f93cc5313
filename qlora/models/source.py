"""Where a model is: the demo model, a folder or the hub. Files that could run code are refused here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlora import hub
from qlora.errors import InputError
from qlora.models.demo import DEMO_MODEL, demo_model_dir

_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Source:
    """What ``from_pretrained`` is given for a model.

    Attributes:
        name: as the user wrote it.
        place: a folder, or a name on the hub.
        online: whether the hub may be asked.
    """

    name: str
    place: str
    online: bool

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of ``from_pretrained``. Without the first, transformers asks on the terminal whether to run code
        that comes with a model."""
        cached_only = {} if self.online or Path(self.place).is_dir() else {"local_files_only": True}
        return {"trust_remote_code": False, **cached_only}

    def explain(self, error: Exception) -> str:
        """Why the model cannot be loaded, in words, from what transformers raised."""
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "trust_remote_code" in str(error):
            return (
                f"The model {self.name} comes with Python code of its own, which is never run here: take a model of an "
                "architecture that transformers has."
            )
        if Path(self.place).is_dir():
            return f"The model in {self.place} cannot be loaded: {said}"
        if not self.online:
            return (
                f"The model {self.name!r} is not on this machine and could not be fetched, because the hub cannot be "
                "reached: check the network, or give a local folder."
            )
        if "safetensors" in said:
            return f"The model {self.name!r} on the hub cannot be used: it has no safetensors. {_WHY_NO_PICKLES}"
        return (
            f"The model {self.name!r} is not on this machine and could not be fetched. Check the name, or give a local "
            f"folder. ({said})"
        )


_WHY_NO_PICKLES = (
    "Pickle files are refused because they can run code when they are read: where you trust them, load the model with "
    "transformers and write it again with save_pretrained."
)


def locate(name: str) -> Source:
    """Find a model by its name.

    Args:
        name: the demo model's, a folder, or a hub name.

    Raises:
        InputError: there is no such folder, it holds no model, an adapter, or its weights as pickle files alone.
    """
    if name == DEMO_MODEL:
        return Source(name, str(demo_model_dir()), online=False)
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check(folder)
        return Source(name, str(folder), online=False)
    if not hub.is_name(name) and ("/" in name or name.startswith((".", "~"))):
        raise InputError(f"There is no model folder {name}: give a folder with config.json and safetensors files.")
    return Source(name, name, online=hub.reachable())


def _check(folder: Path) -> None:
    if (folder / "adapter_config.json").exists():
        # transformers would load the model that the adapter names, and put the adapter on it by way of PEFT.
        raise InputError(
            f"The folder {folder} holds an adapter: give its base model as the model and the adapter apart "
            f"(--adapter {folder}); where the folder holds both, move the adapter's files to a folder of their own."
        )
    if not (folder / "config.json").exists():
        raise InputError(f"The folder {folder} holds no model: config.json is missing.")
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles and not any(folder.glob("*.safetensors")):
        raise InputError(f"The model in {folder} has no safetensors, only {pickles[0]}. {_WHY_NO_PICKLES}")
