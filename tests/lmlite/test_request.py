from __future__ import annotations

import subprocess
import sys

import pytest

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.request import GenerationRequest


def test_a_request_must_have_something_to_read_and_to_write():
    with pytest.raises(RequestRefusedError) as unread:
        GenerationRequest(prompt_tokens=(), max_tokens=1)
    with pytest.raises(RequestRefusedError, match="max_tokens=0") as unwritten:
        GenerationRequest(prompt_tokens=(1,), max_tokens=0)

    assert (unread.value.param, unwritten.value.param) == ("messages", "max_tokens")


def test_what_a_request_is_made_of_loads_no_torch():
    modules = (
        "config",
        "request",
        "sampling_params",
        "scheduler",
        "page_pool",
        "detokenizer",
        "logprobs",
    )
    imports = "; ".join(f"import conduit_nb.lmlite.{module}" for module in modules)

    loaded = subprocess.run(
        [sys.executable, "-c", f"{imports}; import sys; print('torch' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert loaded.stdout.strip() == "False"
