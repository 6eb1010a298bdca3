"""notebook/shell.py: what is needed of IPython is there."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from conduit_nb.notebook.display import Line
from conduit_nb.notebook.shell import Compiler, Shell, is_notebook, new_display


def test_ipythons_shell_is_what_the_protocol_says(shell: InteractiveShell):
    for protocol, thing in ((Shell, shell), (Compiler, shell.compile)):
        names = [name for name in vars(protocol) if not name.startswith("_")]
        assert names
        assert all(hasattr(thing, name) for name in names)


def test_a_shell_without_a_kernel_is_no_notebook(shell: InteractiveShell):
    assert not is_notebook(shell)  # type: ignore[arg-type]  # IPython's types are partial


def test_a_display_is_replaced_under_the_id_it_was_shown_under(shell: InteractiveShell):
    display = new_display()

    with capture_output() as captured:
        display.display(Line("first"))
        display.update(Line("second"))

    shown: list[Any] = captured.outputs
    assert [output.data["text/plain"] for output in shown] == ["first", "second"]
    assert shown[0].transient == shown[1].transient
    assert shown[1].update
