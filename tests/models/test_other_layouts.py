"""models/other_layouts.py: families that are not like Llama."""

from __future__ import annotations

import pytest

from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.tensors import parameter_count
from tests.models.published import spec_named


@pytest.mark.parametrize(
    ("name", "count", "shapes"),
    [
        ("falcon-7b", 6_921_720_704, {"transformer.h.0.input_layernorm.weight": (4544,)}),
        ("falcon-40b", 41_303_293_952, {"transformer.h.0.ln_mlp.weight": (8192,)}),
        ("falcon-rw-1b", 1_311_625_216, {"transformer.h.0.mlp.dense_4h_to_h.bias": (2048,)}),
        ("opt-350m", 331_196_416, {"model.decoder.project_in.weight": (1024, 512)}),
        ("gpt2", 124_439_808, {"transformer.h.11.attn.c_attn.weight": (768, 2304)}),
        ("phi-2", 2_779_683_840, {"lm_head.bias": (51200,)}),
    ],
)
def test_each_form_has_its_own_tensors(name, count, shapes):
    tensors = tensors_of(spec_named(name))

    assert parameter_count(tensors) == count
    assert shapes.items() <= {tensor.name: tensor.shape for tensor in tensors}.items()


def test_a_vision_tower_stands_beside_the_language_model():
    tensors = tensors_of(spec_named("gemma-3-4b-it"))

    seen = sum(tensor.elements for tensor in tensors if tensor.role == "vision")

    assert seen == pytest.approx(420_000_000, rel=0.01)
