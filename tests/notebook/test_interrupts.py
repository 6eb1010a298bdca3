"""notebook/interrupts.py: what is short comes to its end, and no press of the button is lost."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from conduit_nb.notebook.interrupts import interrupted_after, uninterrupted

pytestmark = pytest.mark.usefixtures("interruptible")


def test_one_interrupt_does_not_break_off_what_is_short():
    done: list[str] = []

    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("it came to its end")

    assert done
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_interrupt_goes_through():
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_nothing_is_kept_off():
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]


def test_an_interrupt_is_raised_when_what_is_short_has_ended():
    done: list[str] = []

    def work() -> None:
        with interrupted_after():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("it came to its end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    with interrupted_after():
        pass


def test_a_second_interrupt_is_raised_at_once():
    done: list[str] = []

    def work() -> None:
        with interrupted_after():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not done
