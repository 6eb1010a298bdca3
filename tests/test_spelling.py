"""spelling.py: the word that was meant."""

from __future__ import annotations

from conduit_nb.spelling import nearest


def test_a_word_that_is_nearly_right_is_recognized_and_another_is_not():
    assert nearest("runpd", {"local", "docker", "runpod"}) == "Did you mean runpod?"
    assert nearest("azure", ["local", "docker", "runpod"]) == ""
    assert nearest("x", []) == ""
