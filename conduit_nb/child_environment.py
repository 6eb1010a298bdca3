"""What processes that Conduit starts find in their environment: what they need, and no keys.

Model servers and conversions run code of others over files of others, so they get the variables
that are listed here (and in `CONDUIT_PASS_ENV`), and nothing else. Commands of the user's own get
everything but keys.
Layer 0: imports only where certificates are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from conduit_nb.http_clients import certificate_file


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# A process of any kind.
_SYSTEM = _words(
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TERM TMPDIR TEMP TMP LD_LIBRARY_PATH",
    "LD_PRELOAD LIBRARY_PATH CPATH CC CXX VIRTUAL_ENV XDG_CACHE_HOME XDG_CONFIG_HOME",
    "XDG_DATA_HOME XDG_STATE_HOME XDG_RUNTIME_DIR NO_COLOR GLIBC_TUNABLES",
)
_NETWORK = _words(
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy",
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE",
)
_CONDUIT = _words(
    "CONDUIT_DATA_DIR CONDUIT_CACHE_DIR CONDUIT_STATE_DIR CONDUIT_OFFLINE CONDUIT_THREADS",
    "CONDUIT_EMBEDDED_WHEEL CONDUIT_MODEL",
)
_PREFIXES = tuple(
    _words(
        "LC_ PYTHON CONDA_ DYLD_ NIX_ COVERAGE_",
        "CUDA NVIDIA_ NV_ NVTE_ CUBLAS CUDNN CUTLASS NCCL_ ROCM_ ROCR_ HIP_ HSA_ AMD_ GPU_ MIOPEN_",
        "ZE_ SYCL_ ONEAPI_ HABANA_ TPU_ XLA_ PJRT_ GLOO_ UCX_ OMPI_ RAY_",
        "OMP_ GOMP_ KMP_ MKL_ OPENBLAS_ GOTO_ BLIS_ VECLIB_ NUMEXPR_ NUMBA_ TBB_ DNNL_ ONEDNN_",
        "MALLOC_ MIMALLOC_ TORCH PYTORCH_ TRITON_ ATEN_ ACCELERATE_ BNB_ XFORMERS_ FLASH_",
        "FLASHINFER_ VLLM_ TRTLLM_ TLLM_ SGLANG_ LMCACHE_ CONDUIT_LMLITE_",
        "HF_ HUGGINGFACE_ HUGGING_FACE_ TRANSFORMERS_ TOKENIZERS_ SAFETENSORS_ TIKTOKEN_",
    )
)
HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
NO_KEYS = frozenset({"HF_TOKEN_PATH"})
OURS = frozenset({"CONDUIT_SECRET_KEY", "CONDUIT_API_KEY", "CONDUIT_DB_URI"})
PASSED = "CONDUIT_PASS_ENV"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_KEY = re.compile(
    r"(^|_)(API_?KEYS?|KEYS?|SECRETS?|TOKENS?|PASSWORDS?|PASSWD|PASS|PAT|CREDENTIALS?|AUTH)(_|$)",
    re.IGNORECASE,
)
_URL_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")


def server_environment(*, with_hub_token: bool = True) -> dict[str, str]:
    """Return what a model server finds: variables that servers need, and the token of the hub.

    A conversion, which fetches nothing, is made without that token. What is set for a proxy or for
    certificates is there in the forms that all libraries understand.
    """
    named = set(os.environ.get(PASSED, "").replace(",", " ").split())
    tokens: frozenset[str] = HUB_TOKENS if with_hub_token else frozenset()
    found = {
        name: value
        for name, value in os.environ.items()
        if name in named or name in tokens or (_is_needed(name) and not is_key(name))
    }
    return {**found, **_network(found)}


def command_environment(*, keep: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what a command of the user's own finds: everything but keys.

    A key is what its name says (`…_KEY`, `…_TOKEN`, `…_SECRET…`), an address with a password, and
    Conduit's own secrets. Names that begin with one of `keep`, and those of `CONDUIT_PASS_ENV`, are
    there in any case.
    """
    named = set(os.environ.get(PASSED, "").replace(",", " ").split())
    return {
        name: value
        for name, value in os.environ.items()
        if name in named
        or name.startswith(keep)
        or not (is_key(name) or (name not in _NETWORK and _URL_WITH_PASSWORD.search(value)))
    }


def is_key(name: str) -> bool:
    """Return whether a variable of that name holds a key, as far as a name can say."""
    return name in OURS or (name not in NO_KEYS and _KEY.search(name) is not None)


def _is_needed(name: str) -> bool:
    return name in _SYSTEM or name in _NETWORK or name in _CONDUIT or name.startswith(_PREFIXES)


def _network(found: dict[str, str]) -> dict[str, str]:
    """Return how certificates and proxies are named to libraries that know one name only."""
    added: dict[str, str] = {}
    certificates = certificate_file()
    if certificates is not None and not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & found.keys():
        added["SSL_CERT_DIR" if Path(certificates).is_dir() else "SSL_CERT_FILE"] = certificates
    if any(name.lower().endswith("_proxy") for name in found):
        hosts = found.get("no_proxy") or found.get("NO_PROXY") or ""
        missing = [host for host in LOOPBACK if host not in hosts.split(",")]
        if hosts.strip() != "*":
            added["NO_PROXY"] = added["no_proxy"] = ",".join(filter(None, (hosts, *missing)))
    return added
