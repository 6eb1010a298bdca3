"""Run on a CUDA device what the tests and benchmarks of LmLite run on a CPU: `make test-gpu`.

The equality tests are the same files, with engines and what they are compared with on the GPU
(`CONDUIT_TEST_DEVICE`); then the tests that are about GPUs, among them the plan against the memory
that is taken; then the benchmarks with the server on the GPU. Exit code 3: there is no such device.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environment import ROOT

NO_DEVICE = 3
EQUALITY = (
    "test_engine.py",
    "test_engine_embedded.py",
    "test_families.py",
    "test_model_runner.py",
    "test_prefix_reuse.py",
    "test_sampler.py",
)
BENCHMARKS = (
    ("benchmarks/against_peers.py", "--peer", "transformers one by one"),
    ("benchmarks/start_to_first_token.py",),
)
ASK = "import torch; raise SystemExit(0 if torch.cuda.is_available() else 1)"


def main() -> int:
    """Run everything; return the first exit code that is not 0."""
    if subprocess.run([sys.executable, "-c", ASK]).returncode:
        print(
            "test-gpu: torch sees no CUDA device. Run it on a machine with an NVIDIA card and a"
            " build of torch for CUDA (make setup TORCH_INDEX=…).",
            file=sys.stderr,
        )
        return NO_DEVICE
    files = [str(ROOT / "tests" / "lmlite" / name) for name in EQUALITY]
    about_gpus = ["-m", "gpu", str(ROOT / "tests" / "lmlite")]
    on_gpu = {"CONDUIT_TEST_DEVICE": "cuda", "CONDUIT_BENCH_DEVICE": "cuda"}
    codes = [
        _run(["-m", "pytest", *files], on_gpu),
        _run(["-m", "pytest", *about_gpus], {}),
        *(_run([str(ROOT / one[0]), *one[1:]], on_gpu) for one in BENCHMARKS),
    ]
    return next((code for code in codes if code), 0)


def _run(arguments: list[str], more: dict[str, str]) -> int:
    print(f"== {' '.join(arguments[:3])}", flush=True)
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **more})
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
