"""lmlite/tools.py: which functions a request may offer, and how what it may not is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.chat import parse_chat
from conduit_nb.lmlite.tools import NO_ARGUMENTS, ToolUse

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **more}}


BOTH = [tool("weather", description="Tell the weather."), tool("time", strict=True)]


def tools(**fields: Any) -> ToolUse | None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_chat(json.dumps(body).encode()).tools


def called(**fields: Any) -> tuple[str, list[str], str | None]:
    """Return the mode, what may be called, and what is forced."""
    use = tools(tools=BOTH, **fields)
    assert use
    assert [one.name for one in use.offered] == ["weather", "time"]
    forced = use.forced.name if use.forced else None
    return use.mode, [one.name for one in use.callable_], forced


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ("auto", ["weather", "time"], None)),
        ("auto", ("auto", ["weather", "time"], None)),
        ("required", ("required", ["weather", "time"], None)),
        (
            {"type": "function", "function": {"name": "time"}},
            ("required", ["time"], "time"),
        ),
        ({"type": "function", "name": "time"}, ("required", ["time"], "time")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "time"}}],
                },
            },
            ("auto", ["time"], None),
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "name": name} for name in ("time", "weather")],
                },
            },
            ("required", ["time", "weather"], None),
        ),
    ],
    ids=str,
)
def test_a_choice_says_what_may_be_called(choice: Any, expected: Any):
    assert called(tool_choice=choice) == expected


@pytest.mark.parametrize(
    "fields", [{"tools": None}, {"tools": []}, {"tools": [], "tool_choice": "auto"}]
)
def test_no_tools_are_no_tools(fields: dict[str, Any]):
    assert tools(**fields) is None


def test_none_offers_nothing():
    assert tools(tools=BOTH, tool_choice="none") is None


@pytest.mark.parametrize(("given", "is_parallel"), [(None, True), (True, True), (False, False)])
def test_calls_are_parallel_unless_the_request_says_otherwise(given: Any, is_parallel: bool):
    use = tools(tools=BOTH, parallel_tool_calls=given)

    assert use
    assert use.is_parallel is is_parallel


def test_one_function_that_must_be_called_once_is_a_forced_one():
    use = tools(tools=BOTH[:1], tool_choice="required", parallel_tool_calls=False)

    assert use
    assert use.forced
    assert use.forced.name == "weather"


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        {},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {}, "required": []},
        {"type": ["object", "null"], "properties": None, "required": None},
        "left out",
    ],
    ids=str,
)
def test_a_function_without_parameters_takes_an_empty_object(parameters: Any):
    function = {"name": "now", **({} if parameters == "left out" else {"parameters": parameters})}

    use = tools(tools=[{"type": "function", "function": function}])

    assert use
    assert use.offered[0].parameters == NO_ARGUMENTS


def test_a_function_that_takes_anything_takes_any_object():
    anything = {"type": "object", "properties": {}, "additionalProperties": True}

    use = tools(tools=[{"type": "function", "function": {"name": "f", "parameters": anything}}])

    assert use
    assert use.offered[0].parameters == anything


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ("auto", None)),
        ("auto", ("auto", None)),
        ({"name": "time"}, ("required", "time")),
    ],
    ids=str,
)
def test_the_older_words_mean_the_same(choice: Any, expected: Any):
    use = tools(functions=[one["function"] for one in BOTH], function_call=choice)

    assert use
    assert use.is_legacy
    assert not use.is_parallel
    assert (use.mode, use.forced and use.forced.name) == expected
    assert tools(functions=[BOTH[0]["function"]], function_call="none") is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [tool("")]}, "tools[0].function.name"),
        ({"tools": [tool("two words")]}, "tools[0].function.name"),
        ({"tools": [tool('a"b')]}, "tools[0].function.name"),
        ({"tools": [tool("x" * 65)]}, "tools[0].function.name"),
        ({"tools": [tool("a"), tool("a")]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [tool("a", parameters={"type": "string"})]}, "tools[0].function.parameters"),
        ({"tools": [tool("a", parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": "a"}, "tools"),
        ({"tools": [tool(f"f{n}") for n in range(129)]}, "tools"),
        ({"tools": BOTH, "tool_choice": "always"}, "tool_choice"),
        (
            {"tools": BOTH, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice.function.name",
        ),
        (
            {"tools": BOTH, "tool_choice": {"type": "custom", "custom": {"name": "x"}}},
            "tool_choice",
        ),
        (
            {
                "tools": BOTH,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": []},
                },
            },
            "tool_choice.allowed_tools.tools",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": BOTH, "functions": [{"name": "a"}]}, "functions"),
        ({"tools": BOTH, "function_call": {"name": "time"}}, "function_call"),
        ({"functions": [{"name": "a"}], "function_call": "required"}, "function_call"),
        ({"tools": BOTH, "guided_choice": ["a"]}, "tools"),
        ({"tools": BOTH, "ignore_eos": True}, "ignore_eos"),
        ({"tools": BOTH, "continue_final_message": True}, "continue_final_message"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_refused_by_its_place(fields: dict[str, Any], param: str):
    with pytest.raises(RequestRefusedError) as refused:
        tools(**fields)

    assert (refused.value.param or "").startswith(param)
    assert refused.value.hint
