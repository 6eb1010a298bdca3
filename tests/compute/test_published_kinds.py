"""Plans of published models of every kind of layer, against what their layers keep by hand.

`kv` is what one token takes in bytes while every layer keeps it: 2 x KV heads x head size x 2 bytes
x layers, unless a line says otherwise. `state` is what a request takes whatever its length:
(convolution width x (kernel - 1) x 2 bytes + sums x their bytes) x layers. vLLM, bfloat16, one
device. Where the configurations are from stands in tests/models/configs/kinds/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import ModelPlan, PlannedModel
from conduit_nb.models.spec import spec_of
from conduit_nb.models.tensors import Tensor
from conduit_nb.models.weights import Weights
from tests.models.published import kind_config

NO_WEIGHTS = Weights(
    tensors=(Tensor(name="model.norm.weight", shape=(1,)),), source="arithmetic", is_stored=False
)


@dataclass(frozen=True)
class Kept:
    """What a published model keeps of a request, and the longest text that it reads."""

    name: str
    kv: float
    state: float = 0
    tokens: int | None = None

    def __str__(self) -> str:
        return self.name


PUBLISHED = [
    # Only the attention layers (* of the pattern) have a KV cache; M layers have a Mamba 2 state:
    # heads x head size x state size, and a convolution of heads x head size + 2 groups x state.
    Kept(
        "Nemotron-H-8B-Base-8K",
        kv=2 * 8 * 128 * 2 * 4,
        state=24 * ((128 * 64 + 2 * 8 * 128) * 3 * 2 + 128 * 64 * 128 * 2),
        tokens=8_192,
    ),
    Kept(
        "Nemotron-H-56B-Base-8K",
        kv=2 * 8 * 128 * 2 * 10,
        state=54 * ((256 * 64 + 2 * 8 * 256) * 3 * 2 + 256 * 64 * 256 * 2),
        tokens=8_192,
    ),
    Kept(  # its sums are float32: mamba_ssm_cache_dtype
        "Nemotron-3-Nano-30B-A3B",
        kv=2 * 2 * 128 * 2 * 6,
        state=23 * ((64 * 64 + 2 * 8 * 128) * 3 * 2 + 64 * 64 * 128 * 4),
        tokens=262_144,
    ),
    Kept(  # names its 108 layers in a list, and no number of them
        "Nemotron-3-Ultra-550B-A55B",
        kv=2 * 2 * 128 * 2 * 12,
        state=48 * ((256 * 64 + 2 * 8 * 128) * 3 * 2 + 256 * 64 * 128 * 4),
        tokens=262_144,
    ),
    # attn_layer_period 8, offset 4: 4 of 32. Mamba 1: inner size 8,192 x state 16.
    Kept(
        "Jamba-v0.1",
        kv=2 * 8 * 128 * 2 * 4,
        state=28 * (8192 * 3 * 2 + 8192 * 16 * 2),
        tokens=262_144,
    ),
    # 9 of 54 layers have attention beside their state; heads of 160 (attention_head_dim).
    Kept(
        "Zamba2-2.7B",
        kv=2 * 32 * 160 * 2 * 9,
        state=54 * ((5120 + 2 * 64) * 3 * 2 + 5120 * 64 * 2),
        tokens=4_096,
    ),
    Kept(
        "granite-4.0-h-tiny",
        kv=2 * 4 * 128 * 2 * 4,
        state=36 * ((48 * 64 + 2 * 128) * 3 * 2 + 48 * 64 * 128 * 2),
        tokens=131_072,
    ),
    Kept(
        "granite-4.0-h-1b",
        kv=2 * 4 * 128 * 2 * 4,
        state=36 * ((48 * 64 + 2 * 128) * 3 * 2 + 48 * 64 * 128 * 2),
        tokens=131_072,
    ),
    # Attention and a state in each of 44 layers.
    Kept(
        "Falcon-H1-7B-Instruct",
        kv=2 * 2 * 128 * 2 * 44,
        state=44 * ((3072 + 2 * 256) * 3 * 2 + 24 * 128 * 256 * 2),
        tokens=262_144,
    ),
    # 8 of 30; the others keep the last 2 inputs of a convolution.
    Kept("LFM2-2.6B", kv=2 * 8 * 64 * 2 * 8, state=22 * 2048 * 2 * 2, tokens=128_000),
    # No attention at all.
    Kept("falcon-mamba-7b", kv=0, state=64 * (8192 * 3 * 2 + 8192 * 16 * 2), tokens=2_048),
    # Gated delta networks: value heads x 128 x 128 in float32 (mamba_ssm_dtype).
    Kept(
        "Qwen3.5-27B",
        kv=2 * 4 * 256 * 2 * 16,
        state=48 * ((2 * 16 * 128 + 48 * 128) * 3 * 2 + 48 * 128 * 128 * 4),
        tokens=262_144,
    ),
    Kept(
        "Qwen3.5-397B-A17B",
        kv=2 * 2 * 256 * 2 * 15,
        state=45 * ((2 * 16 * 128 + 64 * 128) * 3 * 2 + 64 * 128 * 128 * 4),
        tokens=262_144,
    ),
    # Latent attention in some layers, Kimi's delta attention in the others: heads x 128 x 128 in
    # float32, convolutions of queries, keys and values.
    Kept(
        "Kimi-Linear-48B-A3B",
        kv=(512 + 64) * 2 * 6,
        state=21 * (3 * 32 * 128 * 3 * 2 + 32 * 128 * 128 * 4),
        tokens=1_048_576,
    ),
    Kept(
        "Kimi-K3",
        kv=(512 + 64) * 2 * 24,
        state=69 * (3 * 96 * 128 * 3 * 2 + 96 * 128 * 128 * 4),
        tokens=1_048_576,
    ),
    # attn_type_list: 10 of 80; lightning attention sums 64 heads x 128 x 128.
    Kept(
        "MiniMax-M1-80k",
        kv=2 * 8 * 128 * 2 * 10,
        state=70 * 64 * 128 * 128 * 2,
        tokens=10_240_000,
    ),
    # Windows whose pattern stands in a field of its own. hybrid_layer_pattern: 9 full layers of 4
    # KV heads, 39 sliding of 8, keys of 192 and values of 128; vLLM pads 39 to 45.
    Kept(
        "MiMo-V2-Flash",
        kv=(9 * 4 + 45 * 8) * (192 + 128) * 2,
        tokens=262_144,
    ),
    Kept("MiMo-7B-Base", kv=2 * 8 * 128 * 2 * 36, tokens=32_768),  # use_sliding_window is false
    # 12 full, 36 in chunks of 8,192 (every fourth layer is full).
    Kept("Llama-4-Scout-17B-16E-Instruct", kv=2 * 8 * 128 * 2 * 48, tokens=10_485_760),
    # 12 full of 45; vLLM pads the 33 sliding ones to 36.
    Kept("Step-3.7-Flash", kv=2 * 8 * 128 * 2 * (12 + 36), tokens=65_536),
    # compress_ratios: every layer keeps a window of one vector of 512; 21 layers keep one entry
    # for 4 tokens beside it, with an indexer key of 132 bytes, 20 one for 128.
    Kept(
        "DeepSeek-V4-Flash",
        kv=43 * 512 * 2 + 21 * (512 * 2 + 132) / 4 + 20 * 512 * 2 / 128,
        tokens=1_048_576,
    ),
    # Global layers of their own head size and KV heads: 25 sliding, 5 global.
    Kept(
        "gemma-4-26B-A4B",
        kv=2 * 8 * 256 * 2 * 25 + 2 * 2 * 512 * 2 * 5,
        tokens=262_144,
    ),
    # The last 15 of 35 layers read the cache of others: 4 full and 16 sliding of their own.
    Kept("gemma-3n-E4B", kv=2 * 2 * 256 * 2 * 20, tokens=32_768),
    # The indexer of sparse attention: 128 numbers of one byte and a scale, a token and layer.
    Kept("DeepSeek-V3.2", kv=((512 + 64) * 2 + 132) * 61, tokens=163_840),
    Kept("GLM-5.2", kv=(512 + 64) * 2 * 78 + 132 * 21, tokens=1_048_576),  # 21 have an indexer
    Kept("MiniMax-M3", kv=2 * 4 * 128 * 2 * 60 + 2 * 128 * 57, tokens=1_048_576),  # 57 have one
    # Layers that differ: 49 of 80 have attention.
    Kept("Llama-3_3-Nemotron-Super-49B-v1", kv=2 * 8 * 128 * 2 * 49, tokens=131_072),
    Kept("chatglm3-6b", kv=2 * 2 * 128 * 2 * 28, tokens=8_192),  # multi_query_group_num
    Kept("dbrx-instruct", kv=2 * 8 * 128 * 2 * 40, tokens=32_768),  # attn_config.kv_n_heads
    # vLLM keeps keys and values made of the latents: 40 heads of 64 + 32, values padded to keys.
    Kept("MiniCPM3-4B", kv=2 * 40 * 96 * 2 * 62, tokens=32_768),
    # Layouts like known ones.
    Kept("Kimi-K2-Instruct", kv=(512 + 64) * 2 * 61, tokens=131_072),
    Kept("Kimi-K2.5", kv=(512 + 64) * 2 * 61, tokens=262_144),
    Kept("EXAONE-3.0-7.8B-Instruct", kv=2 * 8 * 128 * 2 * 32, tokens=4_096),
    Kept("internlm2-7b", kv=2 * 8 * 128 * 2 * 32, tokens=65_536),  # dynamic, factor 2
    Kept("Phi-3.5-vision-instruct", kv=2 * 32 * 96 * 2 * 32, tokens=131_072),
    Kept("MiniMax-M2.5", kv=2 * 8 * 128 * 2 * 62, tokens=196_608),
    Kept("Mixtral-8x22B-v0.1", kv=2 * 8 * 128 * 2 * 56, tokens=65_536),
    Kept("Qwen3-VL-30B-A3B-Instruct", kv=2 * 4 * 128 * 2 * 48, tokens=262_144),
    Kept("Llama-3.1-405B", kv=2 * 8 * 128 * 2 * 126, tokens=131_072),
    Kept("Qwen3-32B-FP8-Static-PerTensor", kv=2 * 8 * 128 * 2 * 64, tokens=40_960),
    # Encoders keep nothing; a decoder keeps its own tokens and those of its encoder.
    Kept("bert-base-uncased", kv=0, tokens=512),
    Kept("clip-vit-base-patch32", kv=0, tokens=77),
    Kept("bart-large", kv=2 * (2 * 16 * 64 * 2 * 12), tokens=1_024),
    Kept("t5-small", kv=2 * (2 * 8 * 64 * 2 * 6)),
    Kept("whisper-tiny", kv=2 * 6 * 64 * 2 * 4, state=2 * 6 * 64 * 2 * 4 * 1500, tokens=448),
]


def planned(name: str, *, max_model_len: int | None = None) -> ModelPlan:
    model = PlannedModel(
        model_id=name,
        spec=spec_of(kind_config(name)),
        weights=NO_WEIGHTS,
        dtype="bfloat16",
        max_model_len=max_model_len,
    )
    return plan([model], runtime="vllm").models[0]


@pytest.mark.parametrize("kept", PUBLISHED, ids=str)
def test_a_request_takes_what_its_layers_keep(kept: Kept):
    model = planned(kept.name, max_model_len=None if kept.tokens else 512)

    assert model.kv_bytes_per_token == pytest.approx(kept.kv, rel=0.001)
    assert model.state_bytes_per_request == pytest.approx(kept.state, rel=0.005)
    assert model.max_model_len == (kept.tokens or 512)


@pytest.mark.parametrize("kept", [one for one in PUBLISHED if one.kv and one.state], ids=str)
def test_states_are_taken_once_a_request(kept: Kept):
    short, long = (planned(kept.name, max_model_len=length) for length in (64, 128))

    assert long.kv_bytes - short.kv_bytes == pytest.approx(64 * kept.kv, rel=0.001)
    assert short.kv_bytes - 64 * kept.kv == pytest.approx(kept.state, rel=0.005)


def test_a_model_without_a_limit_is_planned_with_the_length_that_vllm_takes():
    model = planned("t5-small")

    assert model.max_model_len == 2048
    [remark] = model.remarks
    assert "2,048" in remark
    assert "max_model_len" in remark
    assert not planned("t5-small", max_model_len=512).remarks


def test_windows_end_the_growth_of_the_layers_that_have_one_only():
    far, farther = (planned("MiMo-V2-Flash", max_model_len=length) for length in (65_536, 131_072))

    assert farther.kv_bytes - far.kv_bytes == 65_536 * 9 * 4 * (192 + 128) * 2
