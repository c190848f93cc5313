"""Papers from arXiv, fetched only when the visitor asks for one."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from app.assistant.readers.pdf import MAX_BYTES
from qlora.errors import InputError

_TIMEOUT_SECONDS = 20
_PIECE_BYTES = 64 * 1024
_NUMBER = r"(?P<number>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v(?P<version>[1-9]\d?))?"
_GIVEN = re.compile(
    rf"(?:arxiv:\s*|(?:https?://)?(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/)?{_NUMBER}(?:\.pdf)?/?", re.IGNORECASE
)
_STAMP = re.compile(rf"arXiv:{_NUMBER}\s+\[[\w.-]+\]\s+\d{{1,2}}\s+\w{{3}}\s+(?P<year>\d{{4}})")


def parse_id(text: str) -> tuple[str, int]:
    """The arXiv number and version (0 when not given) that a visitor typed or pasted: ``2305.14314``, ``arXiv:
    2305.14314v1``, ``cs/0112017``, or the address of its page or PDF.

    Raises:
        InputError: it is none of these.
    """
    match = _GIVEN.fullmatch(text.strip())
    if not match:
        raise InputError(
            f"“{text.strip()[:60]}” is not an arXiv number. Write one such as 2305.14314, or paste the paper's address "
            "on arxiv.org."
        )
    return match["number"], int(match["version"] or 0)


def stamp(first_page: str) -> tuple[str, int, int]:
    """Number, version and year from the stamp that arXiv prints in the margin of the first page; empty and zeros
    without one."""
    match = _STAMP.search(first_page)
    return (match["number"], int(match["version"] or 0), int(match["year"])) if match else ("", 0, 0)


def download(url: str, target: Path, progress: Callable[[float], None], instead: str) -> None:
    """Write what arXiv serves at ``url`` to ``target``.

    Args:
        url: of a PDF.
        target: written to; what is in it after an error is not to be used.
        progress: called with the share that has arrived, 0 to 1.
        instead: a sentence on what to do when arXiv cannot be reached.

    Raises:
        InputError: there is no network, arXiv does not serve the file, or it is too large or stops halfway.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "qlora-explainer (one paper, on request)"})
    name = url.rpartition("/")[2]
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response, target.open("wb") as file:
            expected = int(response.headers.get("Content-Length") or 0)
            received = 0
            while piece := response.read(_PIECE_BYTES):
                received += len(piece)
                if received > MAX_BYTES:
                    raise InputError(f"arXiv sent more than {MAX_BYTES // 2**20} MiB for {name}. Try later.")
                file.write(piece)
                progress(min(1.0, received / expected) if expected else 0.0)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise InputError(f"arXiv has no paper {name}. Look the number up on arxiv.org.") from error
        raise InputError(f"arXiv answered {error.code} for {url}. Try later, or add your own copy.") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise InputError(f"arXiv cannot be reached from here. {instead}") from error
    if expected and received != expected:
        raise InputError(f"The download stopped after {received:,} of {expected:,} bytes. Try again.")
