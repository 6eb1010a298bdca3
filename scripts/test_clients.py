"""Run what clients of OpenAI's API do against a LmLite server: `make test-clients`.

The clients are installed into an environment of their own, once, in the releases named here; the
server runs from ours, with the embedded model. Options are passed on to pytest.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import sys

from environment import ROOT

CLIENTS = (
    "openai==3.3.0",
    "instructor==1.17.0",
    "litellm==1.110.2",
    "langchain-openai==1.7.4",
    "pydantic-ai-slim[openai]==2.38.0",
    "llm==0.36",
    "pytest==9.2.0",
)
FOLDER = ROOT / ".venv-clients"
CHECKS = ROOT / "tests" / "live" / "client_checks.py"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
STARTED = re.compile(r" started url=(\S+)")


def main() -> int:
    """Install what is missing, start a server, run the checks; return their exit code."""
    python = clients_python()
    fetch = [sys.executable, "-m", "conduit_nb.lmlite.convert", "--embedded"]
    subprocess.run(fetch, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    key = secrets.token_hex(16)
    server = subprocess.Popen(
        [sys.executable, "-m", "conduit_nb.lmlite", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "CONDUIT_API_KEY": key, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = address(server)
        if url is None:
            print("test-clients: the server did not start; its log is above.", file=sys.stderr)
            return 1
        return subprocess.run(command(python), cwd=ROOT, env=environment(url, key)).returncode
    finally:
        server.kill()
        server.communicate()


def clients_python() -> str:
    """Return the Python that has the clients; installs them where they are not those named here."""
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / "clients"
    wanted = hashlib.sha256("\n".join(CLIENTS).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return str(python)
    print("test-clients: installing the clients into .venv-clients (about a minute)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *CLIENTS], check=True)
    stamp.write_text(wanted)
    return str(python)


def address(server: subprocess.Popen[str]) -> str | None:
    """Return the server's address as soon as its log tells it; None where it ended before."""
    assert server.stdout is not None
    said: list[str] = []
    for line in server.stdout:
        said.append(line)
        if found := STARTED.search(line):
            return found[1]
    print("".join(said), file=sys.stderr)
    return None


def command(python: str) -> list[str]:
    """Return how the checks are run: without our own configuration of pytest, and its plugins."""
    options = [
        "-c",
        os.devnull,
        "--rootdir",
        str(CHECKS.parent),
        "--confcutdir",
        str(CHECKS.parent),
    ]
    return [
        *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *options,
        str(CHECKS),
        *sys.argv[1:],
    ]


def environment(url: str, key: str) -> dict[str, str]:
    """Return the variables that the checks read, and those that keep clients from elsewhere."""
    return {
        **os.environ,
        "CONDUIT_CLIENTS_URL": f"{url}/v1",
        "CONDUIT_CLIENTS_KEY": key,
        "CONDUIT_CLIENTS_MODEL": MODEL,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LANGSMITH_TRACING": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


if __name__ == "__main__":
    sys.exit(main())
