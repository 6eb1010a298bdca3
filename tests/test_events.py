"""events.py: the one hook."""

from __future__ import annotations

import pytest

from conduit_nb.events import Event, Events, Notice


def test_every_listener_hears_every_event_in_the_order_of_subscription():
    events, heard = Events(), list[str]()
    events.subscribe(lambda event: heard.append(f"first {event.text}"))
    events.subscribe(lambda event: heard.append(f"second {event.text}"))

    events.emit(Notice(text="a"))
    events.emit(Notice(text="b"))

    assert heard == ["first a", "second a", "first b", "second b"]


def test_a_listener_that_unsubscribed_hears_nothing_more():
    events, heard = Events(), list[Event]()
    unsubscribe = events.subscribe(heard.append)
    events.emit(Notice(text="before"))

    unsubscribe()
    unsubscribe()  # twice is fine
    events.emit(Notice(text="after"))

    assert heard == [Notice(text="before")]


def test_a_listener_may_unsubscribe_while_it_is_told():
    events, heard = Events(), list[str]()

    def once(event: Event) -> None:
        heard.append("once")
        unsubscribe()

    unsubscribe = events.subscribe(once)
    events.subscribe(lambda event: heard.append("always"))

    events.emit(Notice(text="a"))
    events.emit(Notice(text="b"))

    assert heard == ["once", "always", "always"]


def test_a_listener_that_raises_disturbs_nobody_and_is_logged(caplog: pytest.LogCaptureFixture):
    def broken(event: Event) -> None:
        raise ZeroDivisionError

    events, heard = Events(), list[Event]()
    events.subscribe(broken)
    events.subscribe(heard.append)

    events.emit(Notice(text="a"))

    assert heard == [Notice(text="a")]
    assert "ZeroDivisionError" in caplog.text
