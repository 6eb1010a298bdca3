"""notebook/arguments.py: how a magic's line is read."""

from __future__ import annotations

import re

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import split_line, with_values
from conduit_nb.spelling import did_you_mean


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
    with pytest.raises(ArgumentError, match=re.escape(line[-3:])) as caught:
        split_line(line)
    assert re.search(r"\s['\")\]]\s", caught.value.hint), "what closes it"


@pytest.mark.parametrize("line", ["ps # what runs", "ps #it's", "# all of it", "map d['a'] # c"])
def test_a_comment_on_the_line_is_an_error_that_says_where_it_may_stand(line: str):
    comment = line[line.index("#") :]

    with pytest.raises(ArgumentError, match=re.escape(repr(comment))) as caught:
        split_line(line)

    assert caught.value.hint


def test_a_variable_may_stand_for_a_whole_argument_and_nowhere_else():
    values = {"model_id": "m/one", "hours": 2.5}

    assert with_values(["{model_id}", "--hours={hours}"], values) == ["m/one", "--hours=2.5"]
    for whole in ("run {port}", "{'a': 1}", "rows[{model_id}]", "{}", "--x {model_id}"):
        assert with_values([whole], values) == [whole]


@pytest.mark.parametrize(
    ("token", "facts"), [("{modelid}", r"\{modelid\}"), ("{rows}", r"\{rows\}.*\blist\b")]
)
def test_a_variable_that_cannot_stand_there_is_an_error(token: str, facts: str):
    with pytest.raises(ArgumentError, match=facts) as caught:
        with_values([token], {"model_id": "m/one", "rows": []})

    assert (caught.value.hint == did_you_mean("model_id")) is (token == "{modelid}")
    assert caught.value.hint
