"""models/config.py: what a user may ask of a model."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig


def test_a_model_needs_only_its_id():
    config = LmLiteModelConfig("some/model")

    assert (config.max_model_len, config.max_model_concurrency, config.dtype) == (
        None,
        None,
        "auto",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_model_len", 0),
        ("max_model_len", -5),
        ("max_model_len", 10.0),
        ("max_model_len", True),
        ("max_model_concurrency", 0),
        ("max_model_concurrency", "4"),
        ("model_batch_execute_timeout_ms", -1),
        ("dtype", "int4"),
        ("quantization", "int3"),
        ("quantization", ""),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_that_names_the_argument(name: str, value: Any):
    with pytest.raises(ArgumentError, match=re.escape(f"{name}={value!r}")) as caught:
        LmLiteModelConfig("some/model", **{name: value})

    assert caught.value.param == name


@pytest.mark.parametrize("model_id", ["", "  "])
def test_an_empty_id_is_an_error(model_id: str):
    with pytest.raises(ArgumentError) as caught:
        LmLiteModelConfig(model_id)

    assert caught.value.param == "model_id"


def test_waiting_for_company_may_be_switched_off():
    assert LmLiteModelConfig("m", model_batch_execute_timeout_ms=0)


@pytest.mark.parametrize(
    ("written", "revision", "model_id", "found"),
    [
        ("owner/name@v2", None, "owner/name", "v2"),
        ("owner/name@refs/pr/7", None, "owner/name", "refs/pr/7"),
        ("name@0123abc", None, "name", "0123abc"),
        ("owner/name@v2", "v2", "owner/name", "v2"),
        ("owner/name", "v2", "owner/name", "v2"),
        ("owner/name", None, "owner/name", None),
        ("/models/mine@home", None, "/models/mine@home", None),
        ("./mine@home", None, "./mine@home", None),
        ("~/mine@home", None, "~/mine@home", None),
        ("@cf/meta/llama", None, "@cf/meta/llama", None),
    ],
)
def test_a_model_of_the_hub_may_be_written_with_its_revision(
    written: str, revision: str | None, model_id: str, found: str | None
):
    config = LmLiteModelConfig(written, revision=revision)

    assert (config.model_id, config.revision) == (model_id, found)
    assert config == LmLiteModelConfig(model_id, revision=found)
    assert LmLiteModelConfig(config.full_id) == config


@pytest.mark.parametrize(
    ("written", "revision", "param"),
    [
        ("owner/name@", None, "model_id"),
        ("a/b@two words", None, "model_id"),
        ("a/b@v1", "v2", "revision"),
    ],
)
def test_a_revision_that_is_empty_or_another_one_is_an_error(
    written: str, revision: str | None, param: str
):
    with pytest.raises(ArgumentError, match=re.escape(repr(written))) as caught:
        LmLiteModelConfig(written, revision=revision)

    assert caught.value.param == param
