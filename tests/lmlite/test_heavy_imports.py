"""lmlite/heavy_imports.py: no garbage is looked for meanwhile, and again afterwards."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc
from conduit_nb.lmlite.heavy_imports import heavy_imports

states = []
try:
    with heavy_imports():
        states.append(gc.isenabled())
        import no_such_module
except ModuleNotFoundError:
    states += [gc.isenabled(), gc.get_freeze_count() > 0]
print(states)
"""


def test_garbage_is_looked_for_again_also_after_an_import_that_failed():
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)

    assert ran.stdout == "[False, True, True]\n"
