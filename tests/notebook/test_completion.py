"""notebook/completion.py: what Tab offers behind `%conduit`, through IPython's own completer."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from IPython.core.completer import ProvisionalCompleterWarning

from conduit_nb.commands import program
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.models.config import LmLiteModelConfig
from tests.desk.far_provider import FarProvider, far_session, put_far_node
from tests.notebook.conftest import Cells


@pytest.fixture
def cells(cells: Cells) -> Cells:
    cells.run(
        "from dataclasses import dataclass\nimport pandas as pd\n"
        "reviews = pd.DataFrame({'text': ['a'], 'stars': [1], 'two words': [2]})\n"
        "@dataclass\nclass Review:\n    text: str\n"
        "@dataclass\nclass Verdict:\n    good: bool\n"
        "reversed_pairs = []\n"
    )
    return cells


def offered(cells: Cells, text: str) -> dict[str, str]:
    """Return what Tab at the end of `text` (or at its ¦) offers: the line it makes, by its text."""
    text, _, rest = text.partition("¦")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProvisionalCompleterWarning)
        found = list(cells.shell.Completer.completions(text + rest, len(text)))
    return {one.text: text[: one.start] + one.text for one in found}


def test_words_are_offered_by_kind(cells: Cells):
    lines = offered(cells, "%conduit ")
    over = offered(cells, "%%conduit ")

    assert list(lines) == [*program("line").commands]
    assert {"help", "image", "attach", "deploy"} < set(lines)
    assert list(over) == ["schema", "block", "map", "pipeline"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%conduit off", "%conduit offerings"),
        ("x = %conduit off", "x = %conduit offerings"),
        ("%%conduit ma¦\nclass A:\n    x: int", "%%conduit map"),
        ("%%conduit map rev", "%%conduit map reviews"),
        ("%%conduit map reviews --back", "%%conduit map reviews --background"),
        ("%%conduit map reviews --max-t¦ -o x\nclass A: ...", "%%conduit map reviews --max-tokens"),
        ("%%conduit map reviews --columns st", "%%conduit map reviews --columns stars"),
        (
            "%%conduit map reviews --columns two",
            '%%conduit map reviews --columns two_words="two words"',
        ),
        ("%%conduit map reviews --columns text,st", "%%conduit map reviews --columns text,stars"),
        ("%%conduit map reviews --on-length k", "%%conduit map reviews --on-length keep"),
        ("%%conduit map reviews --provider=do", "%%conduit map reviews --provider=docker"),
        ("%%conduit map reviews --runtime v", "%%conduit map reviews --runtime vllm"),
        ("%%conduit map reviews --model Smol", None),
        ("%%conduit block judge --input Rev", "%%conduit block judge --input Review"),
        ("%%conduit block judge --output Ver", "%%conduit block judge --output Verdict"),
        ("%conduit plan X --gpu L40", "%conduit plan X --gpu L40S"),
        ("%conduit help pip", "%conduit help pipeline"),
        ("%conduit hel", "%conduit help"),
        ("%conduit image bu", "%conduit image build"),
        ("%conduit image build --cu", "%conduit image build --cuda"),
        ("%conduit deploy X --quan", "%conduit deploy X --quantization"),
        ("%conduit deploy X --quantization i", "%conduit deploy X --quantization int8"),
        ("%conduit deploy X --runtime=v", "%conduit deploy X --runtime=vllm"),
        ("%conduit deploy X --providers local,run", "%conduit deploy X --providers local,runpod"),
        ("%conduit offerings --no-inter", "%conduit offerings --no-interruptible"),
        ("%conduit offerings --stat", "%conduit offerings --static"),
        ("%conduit stop al", "%conduit stop all"),
        ("%conduit offerings --min-availability hi", "%conduit offerings --min-availability high"),
    ],
)
def test_words_options_and_values_are_completed(cells: Cells, text: str, line: str | None):
    made = list(offered(cells, text).values())

    if line is None:
        assert any(one.endswith("SmolLM2-135M-Instruct") for one in made)
    else:
        assert line in made


def test_only_variables_that_fit_are_offered(cells: Cells):
    assert set(offered(cells, "%%conduit map rev")) == {"reviews", "reversed_pairs"}
    assert set(offered(cells, "%%conduit block b --input ")) == {"Review", "Verdict"}


def test_an_option_that_is_there_is_not_offered_again(cells: Cells):
    options = offered(cells, "%%conduit map reviews --out x --")

    assert "--columns" in options
    assert "--out" not in options


@pytest.mark.parametrize(
    "text",
    ["%conduit nothing --", "%conduit logs 'a b", "%conduit ps --", "%conduit deploy --hours 3"],
)
def test_where_nothing_fits_nothing_of_ours_is_offered(cells: Cells, text: str):
    assert not {"--tail", "ps"} & set(offered(cells, text))


def test_python_is_completed_as_ever(cells: Cells):
    assert "reviews" in offered(cells, "revie")
    assert "reviews" in offered(cells, "%%time\nrevie")


@pytest.mark.parametrize(
    "asked", ["%conduit map?", "%%conduit map?", "%conduit map ?", "%conduit map??"]
)
def test_a_question_mark_behind_a_word_shows_its_help(cells: Cells, asked: str):
    assert "--max-errors N" in repr(cells.run(asked))


def test_the_magics_own_docstring_has_an_example(cells: Cells):
    magic = cells.shell.find_line_magic("conduit")

    assert "%%conduit map reviews -o verdicts" in (magic.__doc__ or "")


def test_a_deployments_name_is_offered_and_no_provider_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: Cells
):
    far = FarProvider()
    with far_session(tmp_path, monkeypatch, far) as session:
        request = DeploymentRequest(
            models=(LmLiteModelConfig("m/one"),), runtime="fake", name="mine", provider="local"
        )
        info = session.wait(session.fleet.deploy(request))
        put_far_node(far, info.id or "")
        looks = far.looks

        found = offered(cells, "%conduit terminate mi")

        assert list(found) == ["mine"]
        assert far.looks == looks
