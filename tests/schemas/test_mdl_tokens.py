"""What MDL costs in a prompt, counted with the embedded model's tokenizer."""

from __future__ import annotations

import pytest

MOST_TOKENS = 84


@pytest.mark.model
def test_a_nested_order_of_eight_fields_costs_at_most_84_tokens():
    pytest.importorskip("torch", reason="the embedded model is converted with torch")
    benchmark = pytest.importorskip("benchmarks.mdl_tokens")
    count = benchmark.token_counter(benchmark.embedded_tokenizer())

    tokens = {name: count(text) for name, text in benchmark.forms(benchmark.Order)}

    assert tokens["MDL"] <= MOST_TOKENS
    assert tokens["JSON Schema"] > 2.5 * tokens["MDL"]
