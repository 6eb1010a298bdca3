"""labserver/extension.py: what Jupyter loads, in a process of its own, and what that costs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

from conduit_nb import labserver

HEAVY = {"sqlalchemy", "torch", "pandas", "httpx2", "docker"}


def test_jupyter_finds_the_module_that_it_loads():
    (point,) = labserver._jupyter_server_extension_points()

    module = importlib.import_module(point["module"])
    assert callable(module._load_jupyter_server_extension)


def test_jupyter_calls_it_fit_to_load():
    code = (
        "import json, sys\n"
        "from jupyter_server.extension.utils import validate_extension\n"
        "print(json.dumps([bool(validate_extension('conduit_nb.labserver')), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    is_valid, loaded = json.loads(done.stdout.splitlines()[-1])

    assert is_valid
    assert not HEAVY & set(loaded) - {"httpx2"}
