"""models/defaults.py: what a config.json means where it is silent."""

from __future__ import annotations

from conduit_nb.models.defaults import defaults_of
from conduit_nb.models.spec import spec_of


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
