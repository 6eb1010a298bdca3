from __future__ import annotations

import math
from typing import Any

import pytest

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.sampling_params import SamplingParams


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": 2.1}, "temperature=2.1"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"top_p": math.nan}, "top_p=nan"),
        ({"top_k": -2}, "top_k=-2"),
        ({"min_p": 1.5}, "min_p=1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
        ({"presence_penalty": -2.5}, "presence_penalty=-2.5"),
        ({"frequency_penalty": math.inf}, "frequency_penalty=inf"),
        ({"top_logprobs": 21}, r"top_logprobs=21\b.*\b0\b.*\b20\b"),
        ({"stop": ("a", "")}, r"^\D*$"),
        ({"stop": ("a",) * 17}, r"\b17\b.*\b16\b"),
    ],
)
def test_a_value_out_of_range_is_refused_and_named(wrong: dict[str, Any], message: str):
    (name,) = wrong

    with pytest.raises(RequestRefusedError, match=message) as caught:
        SamplingParams(**wrong)

    assert caught.value.param == name


def test_no_temperature_to_speak_of_is_greedy():
    assert SamplingParams().is_greedy
    assert SamplingParams(temperature=1e-9).is_greedy
    assert not SamplingParams(temperature=0.1).is_greedy
