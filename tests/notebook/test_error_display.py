"""notebook/error_display.py: an error with its fields, the model's text and the way to it."""

from __future__ import annotations

from conduit_nb.errors import ConduitError, Problem, RunError, ValidationError
from conduit_nb.notebook.error_display import ErrorView, problems_of, said_of

WRONG = ValidationError(
    (Problem(path="$.mood", message="expected <one>"), Problem(path="$.n", message="missing")),
    subject="answer of m",
    text='{"mood": "\x1b[31m<script>"}',
)


def shown(error: BaseException, *, whole: bool = False) -> tuple[str, str]:
    bundle = ErrorView(error, whole=whole)._repr_mimebundle_()
    return bundle["text/plain"], bundle["text/html"]


def raised() -> ConduitError:
    try:
        try:
            raise WRONG
        except ValidationError as error:
            raise RunError("2 of 2 rows failed", hint="See out.") from error
    except RunError as error:
        return error


def test_fields_and_the_models_text_are_shown_and_not_obeyed():
    text, html = shown(WRONG)

    assert text.splitlines()[0].startswith("ValidationError: answer of m")
    assert "$.mood" in text.splitlines()[0]
    assert "field   what is wrong\n$.mood  expected <one>\n$.n     missing" in text
    assert 'The model\'s text:\n{"mood": "\ufffd[31m<script>"}' in text
    assert "<script>" not in html
    assert "<td>$.mood</td><td>expected &lt;one&gt;</td>" in html


def test_what_caused_it_says_which_field():
    error = raised()

    assert problems_of(error) == WRONG.problems
    assert said_of(error) == WRONG.text


def test_the_way_to_it_and_its_cause_are_shown_when_asked():
    short, _ = shown(raised())
    whole, html = shown(raised(), whole=True)

    assert "Traceback" not in short
    assert whole.count("Traceback (most recent call last)") == 2
    assert "in raised" in whole
    assert "Traceback" in html
    assert "<script>" not in html


def test_an_error_of_python_is_shown_too():
    text, _ = shown(ZeroDivisionError("division by zero"))

    assert text.strip() == "ZeroDivisionError: division by zero"


def test_what_is_long_is_cut():
    error = ValidationError((Problem(path="$", message="x" * 10**6),), text="y" * 10**6)

    assert all(len(form) < 50_000 for form in shown(error, whole=True))
