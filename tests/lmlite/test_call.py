"""lmlite/call.py: the fields that every endpoint knows mean the same at each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.call import Call
from conduit_nb.lmlite.chat import parse_chat
from conduit_nb.lmlite.completion import parse_completion

ENDPOINTS = {
    parse_chat: {"messages": [{"role": "user", "content": "hi"}]},
    parse_completion: {"prompt": "hi"},
}


@pytest.fixture(params=ENDPOINTS, ids=lambda parse: parse.__name__)
def parse(request) -> Any:
    """Return a function that makes a call of fields, for one endpoint after the other."""

    def made(**fields: Any) -> Call:
        body = {"model": "m", **ENDPOINTS[request.param], **fields}
        return request.param(json.dumps(body).encode())

    return made


def test_common_fields_arrive_at_every_endpoint(parse):
    call = parse(
        n=2,
        top_k=-1,
        seed=4,
        stop="x",
        stream=True,
        stream_options={"include_usage": True},
        conduit={"deadline_s": 1, "max_model_len": 9, "revision": "v1"},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
    )

    assert (call.n, call.replies, call.key.revision) == (2, 2, "v1")
    assert (call.sampling.top_k, call.sampling.seed, call.sampling.stop) == (0, 4, ("x",))
    assert (call.stream, call.include_usage, call.json_schema) == (True, True, {})
    assert (call.deadline_s, call.max_model_len, call.batch_timeout_ms) == (1.0, 9, None)


@pytest.mark.parametrize("field", ["logit_bias", "max_token"])
def test_what_is_not_honoured_is_refused_by_name_at_every_endpoint(parse, field):
    with pytest.raises(RequestRefusedError, match=field):
        parse(**{field: {"1": 2}})


def test_the_hint_names_what_this_endpoint_takes(parse):
    with pytest.raises(RequestRefusedError) as caught:
        parse(nonsense=1)

    assert "repetition_penalty" in caught.value.hint
    assert ("messages" in caught.value.hint) != ("prompt" in caught.value.hint)
