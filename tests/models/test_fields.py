"""models/fields.py: the names that architectures have for the same numbers."""

from __future__ import annotations

import pytest

from conduit_nb.models.fields import HEADS, LAYERS, first, flat, numbers_at, positive


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
