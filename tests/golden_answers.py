"""Compares what `conduit … --json` prints with the files in tests/golden.

What differs from run to run or from machine to machine is replaced by its type (`<time>`, `<id>`),
and sentences for people by `<text>`. Everything else is compared literally.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.cli import main

FOLDER = Path(__file__).parent / "golden"
VARIABLE = "CONDUIT_UPDATE_GOLDEN"
HOW = f"To renew the file: {VARIABLE}=1 .venv/bin/pytest tests/test_golden_json.py"

SENTENCES = {
    *("message", "hint", "text", "detail", "note", "seen", "to_do"),
    *("formula", "source", "remarks", "why_unknown"),
}
"""Fields that hold sentences for people; their wording is no part of the interface."""

VARYING = {
    "idle_s": "<seconds>",
    "log": "<path>",
    "pid": "<pid>",
    "spent_usd": "<usd>",
    "url": "<url>",
}
"""Fields whose value is another one in each run; null, 0 and "" are kept."""

NAMES = {
    r"\bconduit-[0-9a-f]{12}-[a-z0-9]{6,16}-\d+-\d+\b": "<node>",
    r"\badopted-[a-z0-9]{6,16}\b": "adopted-<id>",
    r"\blmlite-local-[0-9a-f]{10}\b": "lmlite-local-<id>",
    r"\bone-[a-z0-9]{4}\b": "one-<id>",  # what a deployment of m/one is called by itself
}
DEPLOYMENT_ID = re.compile(r"[a-z0-9]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
OF_THE_MACHINE = {"GPUs here", "disk of the cache", "provider local"}
"""What `doctor` finds working on one machine and not on another."""

DIGITS = 6
"""Places after the point that are kept, so that the order of a sum does not matter."""


class GoldenAnswers:
    """Runs the program and compares each answer with its file, or rewrites the file.

    `replaced` maps texts that vary (a folder, an address) to what stands for them.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str], replaced: Mapping[str, str]) -> None:
        self._capsys = capsys
        self._replaced = {
            **replaced,
            str(Path(__file__).parent): "<tests>",
            version("conduit-nb"): "<version>",
        }

    def hide(self, varying: str, placeholder: str) -> None:
        """Let `placeholder` stand for a text that varies, from now on."""
        self._replaced[varying] = placeholder

    def check(self, name: str, *arguments: str) -> Any:
        """Run `conduit` with these arguments and `--json`, and return the document.

        `name` is that of the file, without its ending: `deploy/dry_run`.
        """
        words = [*arguments, "--json"]
        self._capsys.readouterr()
        exit_code = main(words)
        printed = self._capsys.readouterr().out
        document = json.loads(printed)
        shown = {
            "command": f"conduit {shlex.join(map(self._text, words))}",
            "exit_code": exit_code,
            "answer": self._normalized(document),
        }
        text = f"{json.dumps(shown, indent=2, sort_keys=True)}\n"
        path = FOLDER / f"{name}.json"
        if os.environ.get(VARIABLE) == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} does not exist. {HOW}"
        expected = path.read_text(encoding="utf-8")
        lines = difflib.unified_diff(
            expected.splitlines(), text.splitlines(), "golden", "now", lineterm=""
        )
        difference = "\n".join(lines)
        assert not difference, f"{name}: the answer has changed. {HOW}\n{difference}"
        return document

    def _normalized(self, document: Any) -> Any:
        if isinstance(document, list):
            lines = all(isinstance(one, str) for one in document)  # of a log
            return ["<text>" if lines else self._value("", one) for one in document]
        return self._value("", document)

    def _value(self, name: str, value: Any) -> Any:
        """Return the value of the field `name` without what varies."""
        match value:
            case dict() if value.get("what") in OF_THE_MACHINE:
                varying = {"works": "<yes or no>", "seen": "<text>", "to_do": "<text>"}
                return {key: varying.get(key, part) for key, part in value.items()}
            case dict():
                return {self._text(key): self._value(key, part) for key, part in value.items()}
            case list():
                return [self._value(name, part) for part in value]
            case str() if value and name in SENTENCES:
                return "<text>"
            case str() | int() | float() if value and name in VARYING:
                return VARYING[name]
            case str() if name == "id" and DEPLOYMENT_ID.fullmatch(value):
                return "<id>"
            case str():
                return self._text(value)
            case float():
                return round(value, DIGITS)
            case _:
                return value

    def _text(self, text: str) -> str:
        for varying, placeholder in self._replaced.items():
            text = text.replace(varying, placeholder)
        for name, placeholder in NAMES.items():
            text = re.sub(name, placeholder, text)
        return "<time>" if TIME.fullmatch(text) else text
