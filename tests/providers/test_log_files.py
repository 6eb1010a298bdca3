"""Logs are bounded, read from their end and followed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from conduit_nb.providers.log_files import READ_BYTES, open_log, read_on, read_tail


def test_a_log_grows_and_is_private(tmp_path: Path):
    path = tmp_path / "log"
    for _ in range(2):
        with open_log(path) as log:
            log.write(b"line\n")

    assert path.read_bytes() == b"line\nline\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_large_log_is_put_aside_once(tmp_path: Path):
    path = tmp_path / "log"
    for text in (b"first", b"second", b"third"):
        with open_log(path, largest_bytes=4) as log:
            log.write(text)

    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {
        "log": b"third",
        "log.1": b"second",
    }


@pytest.mark.parametrize("lines", [0, 1, 3, 5, 100])
def test_the_tail_is_the_last_lines(tmp_path: Path, lines: int):
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(5)))

    assert read_tail(path, lines).lines == ["0", "1", "2", "3", "4"][5 - min(lines, 5) :]


def test_the_tail_is_found_over_several_pieces(tmp_path: Path):
    path = tmp_path / "log"
    long = "x" * READ_BYTES
    path.write_text(f"first\n{long}\n{long}\nlast\nrest")

    part = read_tail(path, 3)

    assert part.lines == [long, long, "last"]
    assert part.rest == "rest"


def test_no_file_is_no_lines(tmp_path: Path):
    assert read_tail(tmp_path / "none", 5).lines == []
    assert read_on(tmp_path / "none", 5).lines == []


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"a\xffb\r\n")

    assert read_tail(path, 5).lines == ["a\ufffdb"]


def test_reading_on_gives_whole_lines_only(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    part = read_tail(path, 5)
    with path.open("ab") as log:
        log.write(b"o\nthree\nfo")

    more = read_on(path, part.position)

    assert part.lines == ["one"]
    assert more.lines == ["two", "three"]
    assert more.rest == "fo"


def test_reading_on_begins_again_in_a_new_file(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"a long line\n")
    position = read_tail(path, 5).position
    path.write_bytes(b"new\n")

    assert read_on(path, position).lines == ["new"]
