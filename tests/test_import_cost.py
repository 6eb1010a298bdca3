"""What the first line of a notebook loads: nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

SHELL = (
    "import sys\n"
    "from IPython.core.interactiveshell import InteractiveShell\n"
    "shell = InteractiveShell.instance()\n"
    "before = set(sys.modules)\n"
)
HEAVY = {
    "anyio",
    "httpx2",
    "llguidance",
    "numpy",
    "pandas",
    "psutil",
    "pydantic_core",
    "torch",
    "transformers",
}


def modules_after(*cells: str) -> set[str]:
    """Return what cells load in a fresh IPython."""
    code = SHELL + "".join(f"shell.run_cell({cell!r}).raise_error()\n" for cell in cells)
    code += "print('\\nLOADED', *(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_conduit_loads_itself_and_less_than_importing_json_does():
    code = "import sys; before = {*sys.modules}; import NAME; print(*{*sys.modules} - before)"

    ours, of_json = (run_python(code.replace("NAME", name)) for name in ("conduit_nb", "json"))

    assert {name for name in ours if "conduit" in name} == {"conduit_nb"}
    assert len(ours) <= len(of_json), "benchmarks/import_time.py measures what that costs"


def run_python(code: str) -> set[str]:
    """Return the words that `code` prints in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_loading_the_extension_loads_nothing_heavy():
    loaded = modules_after("%load_ext conduit_nb")

    assert "conduit_nb.notebook.magics" in loaded
    assert not loaded & HEAVY
    assert "conduit_nb.session" not in loaded


@pytest.mark.parametrize(
    ("cell", "unneeded"),
    [
        ("%%conduit schema\nclass A:\n    x: int", {"pandas", "httpx2", "torch"}),
        ("%conduit ps", {"pandas", "sqlalchemy", "torch"}),
    ],
)
def test_a_word_loads_what_it_needs_and_no_more(
    cell: str, unneeded: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("CONDUIT_STATE_DIR", "CONDUIT_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))  # where nothing was ever deployed

    assert not modules_after("%load_ext conduit_nb", cell) & unneeded


def test_a_map_loads_no_torch():
    cell = "%%conduit map [{'a': 1}] --endpoint http://127.0.0.1:9/v1\nclass A:\n    x: int"
    loaded = modules_after("%load_ext conduit_nb", f"get_ipython().run_cell({cell!r})")

    assert "pandas" in loaded
    assert not loaded & {"torch", "transformers", "llguidance"}
