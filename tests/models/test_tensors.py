"""models/tensors.py: what a weight is, by its name."""

from __future__ import annotations

import pytest

from conduit_nb.models.tensors import Tensor, parameter_count


@pytest.mark.parametrize(
    ("name", "role", "layer"),
    [
        ("model.embed_tokens.weight", "embedding", None),
        ("transformer.wte.weight", "embedding", None),
        ("transformer.wpe.weight", "position", None),
        ("lm_head.weight", "head", None),
        ("model.norm.weight", "norm", None),
        ("model.layers.12.input_layernorm.weight", "norm", 12),
        ("model.layers.3.self_attn.q_norm.weight", "norm", 3),
        ("transformer.h.7.ln_1.bias", "norm", 7),
        ("model.decoder.layers.1.self_attn_layer_norm.weight", "norm", 1),
        ("model.layers.0.self_attn.q_proj.weight", "query", 0),
        ("model.layers.0.self_attn.k_proj.qweight", "key_value", 0),
        ("model.layers.0.self_attn.o_proj.weight", "attention", 0),
        ("model.layers.0.self_attn.kv_a_proj_with_mqa.weight", "latent", 0),
        ("model.layers.0.self_attn.kv_a_layernorm.weight", "norm", 0),
        ("model.layers.0.linear_attn.in_proj_qkvz.weight", "attention", 0),
        ("model.layers.9.mlp.gate.weight", "router", 9),
        ("model.layers.9.mlp.gate_proj.weight", "mlp", 9),
        ("model.layers.9.mlp.shared_expert_gate.weight", "router", 9),
        ("model.layers.9.mlp.experts.4.up_proj.weight", "expert", 9),
        ("model.layers.9.mlp.experts.gate_up_proj", "expert", 9),
        ("model.layers.9.mlp.shared_experts.up_proj.weight", "mlp", 9),
        ("model.layers.9.block_sparse_moe.gate.weight", "router", 9),
        ("model.vision_tower.encoder.layers.2.self_attn.q_proj.weight", "vision", None),
        ("model.language_model.layers.2.self_attn.v_proj.weight", "key_value", 2),
    ],
)
def test_a_name_says_the_part_and_the_layer(name, role, layer):
    tensor = Tensor(name=name, shape=(2, 3))

    assert (tensor.role, tensor.layer) == (role, layer)


def test_bytes_are_of_its_own_precision_or_of_the_one_it_is_served_in():
    assert Tensor(name="a", shape=(4, 8)).bytes_in("bfloat16") == 64
    assert Tensor(name="a", shape=(4, 8), dtype="float8").bytes_in("bfloat16") == 32
    assert parameter_count((Tensor(name="a", shape=(4, 8)), Tensor(name="b", shape=()))) == 33
