from __future__ import annotations

from conduit_nb.plain_text import plain


def test_control_characters_and_direction_marks_are_seen_instead_of_obeyed():
    assert plain("a\x1b[31mb\u202ec\x00") == "a\ufffd[31mb\ufffdc\ufffd"


def test_lines_tabs_and_letters_of_all_scripts_stay():
    text = "Zeile\n\tשלום 日本語 🎉"

    assert plain(text) == text
