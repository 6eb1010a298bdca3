"""Run the tests of blocks on a real vLLM: `make test-vllm`.

Its CPU build is installed into an environment of its own in the cache, once; the embedded model
is served by it as a deployment, guard and all.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))


def main() -> int:
    """Install what is missing, run the tests, return their exit code."""
    from harness.peers import vllm_python  # noqa: PLC0415  # it is found by the path above

    environment = {
        **os.environ,
        "CONDUIT_VLLM_PYTHON": os.environ.get("CONDUIT_VLLM_PYTHON") or vllm_python(),
        "CONDUIT_BOOT_TIMEOUT_S": "900",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    fetch = [sys.executable, "-m", "conduit_nb.lmlite.convert", "--embedded"]
    subprocess.run(fetch, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    tests = [sys.executable, "-m", "pytest", "-q", "tests/live/test_vllm.py"]
    return subprocess.run(tests, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
