"""models/spec.py: the facts that a config.json holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.spec import context_tokens, read_spec


def folder_with(tmp_path: Path, config: object) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 4096}, "max_position_embeddings": 1}, 4096),
        ({"max_position_embeddings": 2048, "n_positions": 7}, 2048),
        ({}, None),
        ({"max_position_embeddings": True}, None),
        ({"max_position_embeddings": "many"}, None),
        ({"max_position_embeddings": 0}, None),
    ],
)
def test_the_context_is_what_the_config_calls_it(tmp_path, config, expected):
    assert context_tokens(folder_with(tmp_path, config)) == expected


def test_a_spec_names_the_architecture_and_the_vocabulary(tmp_path):
    spec = read_spec(
        folder_with(
            tmp_path,
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152},
        )
    )

    assert (spec.model_type, spec.architectures) == ("llama", ("LlamaForCausalLM",))
    assert spec.vocab_tokens == 49152


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 200_000])
def test_a_config_that_is_no_object_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"config\.json"):
        read_spec(tmp_path)


def test_a_missing_config_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(ModelFilesError, match=str(tmp_path)):
        read_spec(tmp_path)
