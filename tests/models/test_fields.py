"""models/fields.py: the names that architectures have for the same numbers, and their defaults."""

from __future__ import annotations

import pytest

from conduit_nb.models.fields import HEADS, LAYERS, defaults_of, first, flat, numbers_at, positive
from conduit_nb.models.spec import spec_of


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({"num_hidden_layers": 12}, 12),
        ({"n_layer": 12}, 12),
        ({"num_layers": 28}, 28),
        ({"n_layers": 40}, 40),
        ({"num_layers": 12, "num_decoder_layers": 4}, 4),
        ({"num_hidden_layers": 32, "encoder_layers": 32, "decoder_layers": 2}, 2),
        ({"num_hidden_layers": True}, None),
        ({}, None),
    ],
)
def test_layers_have_many_names_and_a_decoders_go_first(config, layers):
    assert first(config, *LAYERS) == layers


def test_a_number_is_whole_and_positive():
    config = {"one": 1, "none": 0, "text": "1", "share": 0.5, "flag": True}

    assert [positive(config, name) for name in config] == [1, None, None, None, None]


def test_nested_parts_of_a_layer_are_read_beside_the_others():
    config = flat({"model_type": "dbrx", "attn_config": {"kv_n_heads": 8, "model_type": ""}})

    assert (config["kv_n_heads"], config["model_type"]) == (8, "dbrx")
    assert first({**config, "n_heads": 48}, *HEADS) == 48


def test_a_list_of_numbers_has_one_for_each_layer():
    assert numbers_at({"num_kv_heads": [3, 4]}, "num_kv_heads") == [3, 4]
    assert numbers_at({"num_kv_heads": [3, "4"]}, "num_kv_heads") is None
    assert numbers_at({"num_kv_heads": []}, "num_kv_heads") is None


def test_a_file_that_names_neither_heads_nor_vocabulary_means_its_familys():
    spec = spec_of({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}})

    assert (spec.heads, spec.kv_heads, spec.head_dim) == (8, 4, 256)
    assert spec.vocab_tokens == 262_208
    assert spec.has_tied_embeddings


def test_what_the_file_says_goes_before_what_the_family_means():
    spec = spec_of({"model_type": "gpt2", "n_layer": 2, "tie_word_embeddings": False})

    assert not spec.has_tied_embeddings
    assert spec.layers == 2


def test_a_family_without_defaults_has_none():
    assert defaults_of("strange") == {}
