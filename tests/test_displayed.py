"""displayed.py: our own things show themselves, without the extension being loaded."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.displayed import Displayed
from conduit_nb.errors import ConduitError
from conduit_nb.schemas import schema_of


@dataclass
class Item:
    name: str


class Other(Displayed):
    def __repr__(self) -> str:
        return "<other>"


def test_errors_and_schemas_are_shown_in_both_forms():
    error = ConduitError("It <b>broke</b>.", hint="Mend it.")._repr_mimebundle_()
    schema = schema_of(Item)._repr_mimebundle_()

    assert error["text/plain"] == "ConduitError: It <b>broke</b>.\n  Mend it."
    assert "<b>" not in error["text/html"]
    assert schema["text/plain"] == "{\n  name: string\n}"
    assert "<pre" in schema["text/html"]


def test_what_has_no_look_of_its_own_shows_its_repr():
    assert Other()._repr_mimebundle_()["text/html"] == "<div>&lt;other&gt;</div>"
