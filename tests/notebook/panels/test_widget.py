"""notebook/panels/widget.py: messages between a panel and its views, and the scripts that draw."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.panels.widget import HERE, Panel, bundled, problem_of
from conduit_nb.session import Session
from tests.notebook.fleet_session import fleet_session
from tests.notebook.panels.views import View, listening, say
from tests.waiting import until_true

pytestmark = pytest.mark.system

SCRIPTS = ("offering_table.js", "deployment_panel.js")


class Echo(Panel):
    """Says what it hears."""

    script: ClassVar[str] = "offering_table.js"
    beat_s: ClassVar[float] = 0.05

    async def answer(self, message: Mapping[str, Any]) -> None:
        if message["kind"] == "wrong":
            raise ArgumentError("<b>That</b> is wrong.", hint="Say another.")
        if message["kind"] == "bug":
            raise RuntimeError("a secret of the inside")
        self.tell("heard", what=message["what"])

    async def every_beat(self) -> None:
        self.tell("beat")


class Hasty(Echo):
    """Takes silence for absence at once."""

    looked_at_for_s: ClassVar[float] = 0.0


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with fleet_session(tmp_path, monkeypatch) as session:
        yield session


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    with listening(monkeypatch) as view:
        yield view


def test_what_is_said_is_answered_and_errors_are_problems(
    session: Session, view: View, caplog: pytest.LogCaptureFixture
):
    panel = Echo(session)

    say(panel, kind="say", what="hello")
    assert view.await_("heard")["what"] == "hello"
    say(panel, kind="wrong")
    problem = view.await_("problem")
    assert (problem["message"], problem["hint"]) == ("<b>That</b> is wrong.", "Say another.")
    say(panel, kind="bug")
    told = view.await_("problem", lambda one: "inside" in one["message"])
    assert "secret" not in str(told)
    assert "a secret of the inside" in caplog.text
    panel.close()


def test_it_beats_until_it_is_closed(session: Session, view: View):
    panel = Echo(session)
    until_true(lambda: len({one["seen_at"] for one in view.states if "seen_at" in one}) > 2)

    panel.close()

    assert panel.is_closed


def test_it_works_only_while_a_view_is_there(session: Session, view: View):
    panel = Echo(session)
    say(panel, kind="look", view="one")
    say(panel, kind="look", view="two")
    say(panel, kind="gone", view="one")
    assert panel.is_looked_at
    say(panel, kind="gone", view="two")

    assert not panel.is_looked_at
    beats = len(view.states)
    until_true(lambda: len(view.states) > beats + 2)  # one that was under way has been told
    told = len(view.of("beat"))
    until_true(lambda: len(view.states) > beats + 8)
    assert len(view.of("beat")) == told  # it still says that the kernel lives, and does no more
    say(panel, kind="look", view="three")
    view.await_("beat", lambda _: len(view.of("beat")) > told)
    panel.close()


def test_a_view_that_is_silent_for_long_counts_as_gone(session: Session, view: View):
    panel = Hasty(session)
    say(panel, kind="look", view="one")

    assert not panel.is_looked_at
    panel.close()


def test_what_others_said_in_an_error_is_plain_and_not_endless():
    told = problem_of(ArgumentError("a\x1b[31m\u202e" + "x" * 5_000_000, hint="do\x07"))

    assert len(told["message"]) <= 2_000
    assert not {"\x1b", "\u202e", "\x07"} & set(told["message"] + told["hint"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_and_what_it_needs_become_one_module(script: str, tmp_path: Path):
    source = bundled(script)

    assert not re.findall(r"^import ", source, re.MULTILINE)
    assert source.count("export default") == 1
    node = shutil.which("node")
    if node is not None:  # twice the same name in two scripts would be an error of syntax
        file = tmp_path / "bundle.mjs"
        file.write_text(source)
        assert subprocess.run([node, "--check", file], capture_output=True).returncode == 0


def test_no_script_makes_markup_of_text():
    for path in HERE.glob("*.js"):
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|Function\(", text), (
            path
        )
