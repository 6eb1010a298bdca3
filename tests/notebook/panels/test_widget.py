"""notebook/panels/widget.py: messages between a panel and its views, and the scripts that draw."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.panels.widget import BUNDLES, Panel, problem_of, read_bundle
from conduit_nb.session import Session
from tests.notebook.echo_session import echo_session
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


class Broken(Echo):
    """Has bugs in its beat: two of them, in turn."""

    beats = 0

    async def every_beat(self) -> None:
        self.beats += 1
        self.tell("beat")
        raise ZeroDivisionError("the first bug" if self.beats < 3 else "the second bug")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
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


def after_beats(view: View, panel: Panel, beats: int) -> None:
    """Wait until a panel has beaten so often from now on."""
    until = len(view.told_by(panel, "beat")) + beats
    until_true(lambda: len(view.told_by(panel, "beat")) >= until)


def test_it_sleeps_while_no_view_is_seen_and_one_that_speaks_wakes_it(session: Session, view: View):
    panel, other = Echo(session), Echo(session)
    say(panel, kind="seen", view="one")
    say(panel, kind="seen", view="two")
    say(panel, kind="gone", view="one")
    after_beats(view, panel, 3)
    say(panel, kind="gone", view="two")
    after_beats(view, other, 3)  # a beat of it that was under way has ended

    told, states = len(view.told_by(panel)), len(view.states_of(panel))
    after_beats(view, other, 10)
    assert len(view.told_by(panel)) == told
    assert len(view.states_of(panel)) == states, "it does not even say that the kernel lives"

    say(panel, kind="seen", view="three")
    after_beats(view, panel, 3)
    assert len(view.states_of(panel)) > states
    panel.close()
    other.close()


@pytest.mark.parametrize("message", [{"kind": "say", "what": "x"}, {"kind": "here"}])
def test_whatever_a_view_says_wakes_it(session: Session, view: View, message: dict[str, str]):
    panel = Echo(session)
    after_beats(view, panel, 1)
    say(panel, kind="gone", view="")
    say(panel, **{"view": "one", "what": "", **message})

    after_beats(view, panel, 3)
    panel.close()


def test_the_views_of_a_closed_panel_are_forgotten_while_it_sleeps(session: Session, view: View):
    panel = Echo(session)
    say(panel, kind="gone", view="")
    panel.close()

    until_true(lambda: not any("Panel._beat" in name for name in running_on(session)))


def running_on(session: Session) -> list[str]:
    """Return what the session's loop is doing."""

    async def names() -> list[str]:
        return [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]

    return session.submit(names()).result(30)


def test_a_bug_in_the_beat_is_shown_and_logged_once_and_the_beat_goes_on(
    session: Session, view: View, caplog: pytest.LogCaptureFixture
):
    panel = Broken(session)
    after_beats(view, panel, 6)
    problems = view.told_by(panel, "problem")
    panel.close()

    assert len(problems) >= 5
    assert "bug" not in str(problems)
    bugs = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(bug) for bug in bugs] == ["the first bug", "the second bug"]


def test_what_others_said_in_an_error_is_plain_and_not_endless():
    told = problem_of(ArgumentError("a\x1b[31m\u202e" + "x" * 5_000_000, hint="do\x07"))

    assert len(told["message"]) <= 2_000
    assert not {"\x1b", "\u202e", "\x07"} & set(told["message"] + told["hint"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_one_module_that_a_browser_loads_by_itself(script: str, tmp_path: Path):
    source = read_bundle(script)

    assert not re.findall(r"^import |\bimport\(", source, re.MULTILINE)
    assert re.search(r"as default\b", source)
    node = shutil.which("node")
    if node is not None:
        file = tmp_path / "bundle.mjs"
        file.write_text(source)
        assert subprocess.run([node, "--check", file], capture_output=True).returncode == 0


def test_no_script_makes_markup_of_text():
    assert {path.name for path in BUNDLES.glob("*.js")} == set(SCRIPTS)
    for script in SCRIPTS:
        text = read_bundle(script)
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|Function\(", text)
        assert not found, (script, found)
