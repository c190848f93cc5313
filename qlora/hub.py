"""The Hugging Face hub: whether it can be reached, and in words what it refuses."""

import contextlib
import re
from collections.abc import Iterator

from qlora.errors import InputError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# huggingface_hub has changed its HTTP client; their errors are no subclasses of OSError.
_HTTP_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2")


def is_name(text: str) -> bool:
    """Whether `text` has the form ``owner/name`` and is not plainly a local path."""
    return bool(_NAME.fullmatch(text)) and not text.startswith(".")


def reachable() -> bool:
    """Whether the hub answers at this moment.

    Asked before anything is fetched, because the hub's own client needs half a minute and a dozen warnings to find out,
    for each file, also of what lies in its cache. Where the answer is no, ``local_files_only`` takes the cache alone.
    """
    from huggingface_hub import constants, utils

    try:
        utils.get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:
        if not _is_of_the_network(error):
            raise
        return False
    return True


@contextlib.contextmanager
def in_words(kind: str, name: str, local: str) -> Iterator[None]:
    """Inside, an error of the hub's client becomes a sentence.

    Args:
        kind: what is fetched: "dataset" or "adapter".
        name: ``owner/name``.
        local: what can be given instead: "file" or "folder".

    Raises:
        InputError: no network, nothing of that name, or no right to have it.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise InputError(f"The {kind} {name} asks for consent on its page: give it there and log in.") from None
    except errors.RepositoryNotFoundError:
        raise InputError(f"There is no {kind} {name} on the hub, and no {local} of this name here.") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise no_network(kind, name, local) from None
    except Exception as error:
        if not _is_of_the_network(error):
            raise
        raise InputError(f"{no_network(kind, name, local)} ({type(error).__name__})") from error


def no_network(kind: str, name: str, local: str) -> InputError:
    """What to raise when something is neither here nor to be had; the arguments are those of `in_words`."""
    return InputError(
        f"{name} is no {local} on this machine, and the {kind} of that name could not be fetched from the hub: "
        f"check the network, or give a local {local}."
    )


def _is_of_the_network(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _HTTP_CLIENTS
