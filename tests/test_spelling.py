"""spelling.py: the word that was meant."""

from __future__ import annotations

from conduit_nb.spelling import command_meant, nearest


def test_a_word_that_is_nearly_right_is_recognized_and_another_is_not():
    assert nearest("runpd", {"local", "docker", "runpod"}) == "Did you mean runpod?"
    assert nearest("azure", ["local", "docker", "runpod"]) == ""
    assert nearest("x", []) == ""


def test_case_decides_only_where_nothing_else_does():
    assert nearest("reviews", ["Reviews", "review"]) == "Did you mean review?"
    assert nearest("REVIEW", ["Review", "rows"]) == "Did you mean Review?"


def test_several_are_named_where_several_may_be_meant():
    assert nearest("A10O", ["A10", "A10G", "L4"], most=2) == "Did you mean A10 or A10G?"


def test_what_there_is_follows_what_was_meant():
    assert nearest("pss", ["ps"], then="There is: ps.") == "Did you mean ps? There is: ps."
    assert nearest("zebra", ["ps"], then="There is: ps.") == "There is: ps."


def test_what_nobody_types_is_compared_with_nothing():
    assert nearest("x" * 5_000_000, ["x" * 5_000_000], then="Shorter.") == "Shorter."


def test_what_other_tools_call_a_command_is_understood():
    words = ["ps", "start", "terminate", "extend", "map"]
    assert command_meant("statuss", words) == "ps"
    assert command_meant("kill", words) == "terminate"
    assert command_meant("terminat", words) == "terminate"
    assert command_meant("zebra", words) is None
