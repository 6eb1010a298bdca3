"""notebook/arguments.py: how a magic's line is read."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import (
    MagicParser,
    add_model_options,
    count,
    split_line,
    with_values,
)
from conduit_nb.notebook.map_cell import make_parser


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("", []),
        ("map  df   -o out", ["map", "df", "-o", "out"]),
        ('--model "a b"', ["--model", "a b"]),
        ("--model 'a b'", ["--model", "a b"]),
        ('--model="a b" x', ["--model=a b", "x"]),
        ("map df[df.stars > 3] -o out", ["map", "df[df.stars > 3]", "-o", "out"]),
        ("map df['a b'].head( 3 )", ["map", "df['a b'].head( 3 )"]),
        ("""map "df[df['a'] == 'x y']" """, ["map", "df[df['a'] == 'x y']"]),
        ('--columns text="Review Text",b', ["--columns", 'text="Review Text",b']),
        ("--model '#1'", ["--model", "#1"]),
        ("--model a#b", ["--model", "a#b"]),
        ("map df['#a']", ["map", "df['#a']"]),
        ("--model $HOME/{x}", ["--model", "$HOME/{x}"]),
        ("""'a' 'b'""", ["a", "b"]),
        ("'a'+'b'", ["'a'+'b'"]),
    ],
)
def test_a_line_is_split_outside_of_quotes_and_brackets(line: str, tokens: list[str]):
    assert split_line(line) == tokens


@pytest.mark.parametrize("line", ["map df 'x", 'map "df', "map df[1", "map f((1)", "--prefix it's"])
def test_a_line_that_ends_inside_quotes_or_brackets_is_an_error_that_says_so(line: str):
    with pytest.raises(ArgumentError, match="ends inside"):
        split_line(line)


@pytest.mark.parametrize("line", ["ps # what runs", "ps #it's", "# all of it", "map d['a'] # c"])
def test_a_comment_on_the_line_is_an_error_that_says_where_it_may_stand(line: str):
    with pytest.raises(ArgumentError, match="comment") as caught:
        split_line(line)

    assert "line of its own" in caught.value.hint


def parser() -> MagicParser:
    parser = MagicParser("%%conduit map", usage="%%conduit map ROWS [--max-errors N]")
    parser.add_argument("rows")
    parser.option("--max-errors", type=count)
    add_model_options(parser)
    return parser


def test_arguments_are_read():
    read = parser().parse_line(["df", "--max-errors", "3", "--temperature=0.5", "--seed", "7"])

    assert (read.rows, read.max_errors, read.temperature, read.seed) == ("df", 3, 0.5, 7)
    assert (read.model, read.provider, read.endpoint, read.max_tokens) == (
        None,
        "local",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("tokens", "message", "hint"),
    [
        ([], "required: rows", "%%conduit map ROWS"),
        (["df", "--max-eror", "3"], "no option --max-eror", "Did you mean --max-errors?"),
        (["df", "--max-eror=3"], "no option --max-eror", "Did you mean --max-errors?"),
        (["df", "--max", "3"], "no option --max", ""),
        (["df", "-x"], "no option -x", "%%conduit map ROWS"),
        (["df", "other"], "'other' is one argument too many", "%%conduit map ROWS"),
        (
            ["df", "--max-errors", "few"],
            "--max-errors takes a whole number, not",
            "%%conduit map ROWS",
        ),
        (["df", "--max-errors", "-1"], "-1", "%%conduit map ROWS"),
        (["df", "--max-errors"], "expected one argument", "%%conduit map ROWS"),
        (["df", "--max-tokens", "0"], "0 is below 1", "%%conduit map ROWS"),
        (["df", "--temperature", "nan"], "nan is not a number from 0 up", "%%conduit map ROWS"),
        (["df", "--seed", "x"], "--seed takes a whole number, not 'x'", "%%conduit map ROWS"),
    ],
)
def test_every_mistake_is_an_argument_error_that_says_what_to_write(
    tokens: list[str], message: str, hint: str
):
    with pytest.raises(ArgumentError) as caught:
        parser().parse_line(tokens)

    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.hint


def test_a_variable_may_stand_for_a_whole_argument_and_nowhere_else():
    values = {"model_id": "m/one", "hours": 2.5}

    assert with_values(["{model_id}", "--hours={hours}"], values) == ["m/one", "--hours=2.5"]
    for whole in ("run {port}", "{'a': 1}", "rows[{model_id}]", "{}", "--x {model_id}"):
        assert with_values([whole], values) == [whole]


@pytest.mark.parametrize(
    ("token", "said"), [("{modelid}", "no variable modelid"), ("{rows}", "is a list")]
)
def test_a_variable_that_cannot_stand_there_is_an_error(token: str, said: str):
    with pytest.raises(ArgumentError, match=said) as caught:
        with_values([token], {"model_id": "m/one", "rows": []})

    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("df --columns a, b", "--columns a,b"),
        ("df --columns a b", "in quotes"),
        ("df --model my model", '--model "my model"'),
        ("df --confidence x", "%%conduit map ROWS"),
        ("--background df other", "%%conduit map ROWS"),
    ],
)
def test_a_value_that_blanks_have_parted_is_told_how_it_is_written(line: str, cure: str):
    with pytest.raises(ArgumentError, match="one argument too many") as caught:
        make_parser().parse_line(split_line(line))
    assert cure in caught.value.hint
