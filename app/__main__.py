"""`python -m app`: serve the page."""

import argparse
import errno
import importlib.util
import os
import socket
import sys
from collections.abc import Sequence

from qlora.errors import InputError

# Before gradio and Hugging Face libraries are imported: no request leaves the machine unless a visitor asks for one.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
# Before torch is: the same short spinning as in qlora.cli, for the sake of a run beside the page.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted.

    Returns:
        0, or 2 when the address cannot be used (one sentence on stderr says why).
    """
    parser = argparse.ArgumentParser(prog="python -m app", description="Serve the QLoRA page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--mcp", action="store_true", help="offer the public endpoints as MCP tools too")
    options = parser.parse_args(arguments)
    try:
        _check_address(options.host, options.port)
        if options.mcp and importlib.util.find_spec("mcp") is None:
            raise InputError("--mcp needs the mcp package: pip install 'qlora[mcp]'.")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2

    from app.interface import build_interface
    from app.theme import THEME, head

    print(f"Serving http://{options.host}:{options.port} (Ctrl-C to stop)", flush=True)
    build_interface().queue(default_concurrency_limit=4).launch(
        server_name=options.host,
        server_port=options.port,
        theme=THEME,
        head=head(),
        quiet=True,
        ssr_mode=False,
        footer_links=[],
        # Gradio keeps about 0.6 MiB for every visitor until there are more of them than this.
        state_session_capacity=500,
        mcp_server=options.mcp,
    )
    return 0


def _check_address(host: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise InputError(f"The port must be from 1 to 65535, got {port}.")
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"Port {port} is in use: stop what listens there, or choose another with make app PORT={port + 1}."
            ) from None
        raise InputError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from None


if __name__ == "__main__":
    sys.exit(main())
