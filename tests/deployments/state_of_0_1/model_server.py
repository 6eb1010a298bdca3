"""The model server of the frozen deployments: the tests' echoing server, under any options."""

from __future__ import annotations

import os
import runpy
import shlex
import sys
from pathlib import Path

ECHO_SERVER = Path(__file__).parents[2] / "echo_server.py"


def make_program(path: Path) -> Path:
    """Write a program of one file that starts this server; return its path."""
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} "$@"\n')
    path.chmod(0o700)
    return path


def main() -> None:
    """Serve the port that the options name, with the key of whichever runtime this stands for."""
    port = sys.argv[sys.argv.index("--port") + 1]
    os.environ.setdefault("CONDUIT_API_KEY", os.environ.get("VLLM_API_KEY", ""))
    sys.argv = [str(ECHO_SERVER), "--port", port]
    runpy.run_path(str(ECHO_SERVER), run_name="__main__")


if __name__ == "__main__":
    main()
