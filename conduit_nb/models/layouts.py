"""Compute the names and shapes of a model's weights from its configuration.

Most families are Llama-like and stand in `FAMILIES`; others, and vision towers, have a function of
their own.

Each is compared with transformers' own model on torch's meta device by the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.fields import (
    INNER,
    SHARED_EXPERTS,
    first,
    list_at,
    mapping_at,
    numbers_at,
    positive,
)
from conduit_nb.models.spec import ModelSpec
from conduit_nb.models.tensors import Tensor

Shapes = Iterator[tuple[str, tuple[int, ...]]]
"""Names and shapes of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a family of Llama-like decoders differs from Llama.

    `qkv_bias` and `output_bias` name the field that says whether there is one, or are the answer.
    `norms` are those of one layer. `inner_parts` is by how much the size of the MLP in the file is
    more than its own: Qwen 1 counts gate and up together.
    """

    qkv_bias: str | bool = "attention_bias"
    output_bias: str | bool = "attention_bias"
    mlp_bias: str | bool = False
    has_head_norms: bool = False
    has_router_bias: bool = False
    is_fused: bool = False
    inner_parts: int = 1
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")


_FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_WIDEST = Family(
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    has_head_norms=True,
    has_router_bias=True,
    norms=_FOUR_NORMS,
)
_BLOCK_MULTIPLE = 256  # nemotron-nas rounds the sizes of its MLPs up to it
_PLAIN = Family(qkv_bias=False, output_bias=False)

FAMILIES: Mapping[str, Family] = {
    "llama": Family(mlp_bias="mlp_bias"),
    "granite": Family(mlp_bias="mlp_bias"),
    "smollm3": Family(mlp_bias="mlp_bias"),
    "mistral": _PLAIN,
    "mixtral": _PLAIN,
    "qwen2": Family(qkv_bias=True, output_bias=False),
    "qwen2_moe": Family(qkv_bias="qkv_bias", output_bias=False),
    "qwen3": Family(has_head_norms=True),
    "qwen3_moe": Family(has_head_norms=True),
    "qwen3_next": Family(has_head_norms=True),
    "gemma": Family(),
    "gemma2": Family(norms=_FOUR_NORMS),
    "gemma3_text": Family(has_head_norms=True, norms=_FOUR_NORMS),
    "phi3": Family(qkv_bias=False, output_bias=False, is_fused=True),
    "gpt_oss": Family(),
    "deepseek_v2": Family(mlp_bias="mlp_bias"),
    "deepseek_v3": Family(has_router_bias=True),
    "deepseek_v32": Family(has_router_bias=True),
    "kimi_k2": Family(has_router_bias=True),
    "deepseek": Family(),
    "nemotron-nas": Family(mlp_bias="mlp_bias"),
    "chatglm": Family(qkv_bias="add_qkv_bias", output_bias=False, is_fused=True),
    "phi3_v": Family(qkv_bias=False, output_bias=False, is_fused=True),
    "qwen": Family(qkv_bias=True, output_bias=False, inner_parts=2),
    "internlm": Family(qkv_bias="bias", output_bias="bias"),
    "internlm2": Family(qkv_bias="bias", output_bias="bias"),
    "exaone": _PLAIN,
    "baichuan": _PLAIN,
    "minicpm": _PLAIN,
    "xverse": _PLAIN,
    "aquila": _PLAIN,
    "orion": _PLAIN,
    "Yi": _PLAIN,
    "dbrx": _PLAIN,
    "mimo": Family(qkv_bias="attention_bias", output_bias=False),
    "minimax_m1": _PLAIN,
    "minimax_text_01": _PLAIN,
}


def tensors_of(spec: ModelSpec) -> tuple[Tensor, ...]:
    """Return the weights of a model of a known family; tied embeddings occur once.

    Raises ModelFilesError where the family is unknown, or its configuration lacks a number.
    """
    if spec.is_multimodal and spec.model_type not in ("gemma3", "phi3_v"):
        raise unknown(spec.model_type)
    return _language_tensors(spec)


def assumed_tensors(spec: ModelSpec) -> tuple[Tensor, ...]:
    """Return the approximate weights of a model of unknown layout, by its sizes.

    The language model is one of a known family, else a Llama-like decoder with everything that such
    families add. A vision tower is included where config.json has its sizes. Raises ModelFilesError
    where a number is missing.
    """
    try:
        language = _language_tensors(spec)
    except ModelFilesError:
        if any(kind not in ("full", "sliding") for kind in spec.attention):
            raise
        config = Numbers(_usual_names(spec), spec.model_type)
        language = _named(_decoder(spec, config, _WIDEST))
    return (*language, *_named(other_parts(spec)))


def _language_tensors(spec: ModelSpec) -> tuple[Tensor, ...]:
    config = Numbers(_usual_names(spec), spec.model_type)
    model_type = str(spec.config.get("model_type", spec.model_type))
    model_type = "gemma3_text" if model_type == "gemma3" else model_type
    if not spec.heads or not spec.head_dim:
        raise unknown(model_type)
    if model_type in FAMILIES:
        return _named(_decoder(spec, config, FAMILIES[model_type]))
    if model_type in _OTHERS:
        return _named(_OTHERS[model_type](spec, config))
    raise unknown(model_type)


def _named(shapes: Shapes) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=name, shape=shape) for name, shape in shapes)


def _usual_names(spec: ModelSpec) -> dict[str, Any]:
    """Return the configuration with the sizes under their usual names.

    Missing sizes are left out: reading one is an error that names it.
    """
    named = {
        "hidden_size": spec.hidden_size,
        "vocab_size": spec.vocab_tokens,
        "intermediate_size": first(spec.config, *INNER[:-1]),
    }
    return {**spec.config, **{name: size for name, size in named.items() if size}}


def unknown(model_type: str) -> ModelFilesError:
    """Return the error for a family whose weights cannot be derived from its configuration."""
    known = ", ".join(sorted([*FAMILIES, *_OTHERS]))
    return ModelFilesError(
        f"The weights of a model of type {model_type!r} cannot be told from its config.json alone.",
        hint=f"Put its safetensors (or their index) beside it, or install torch: "
        f'pip install "conduit-nb[lmlite]". Known by arithmetic: {known}.',
    )


def _decoder(spec: ModelSpec, config: Numbers, family: Family) -> Shapes:
    hidden = config["hidden_size"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer, kind in enumerate(spec.attention):
        prefix = f"model.layers.{layer}."
        parts: list[tuple[str, tuple[int, ...]]] = [
            (f"{norm}.weight", (hidden,)) for norm in family.norms
        ]
        if kind == "linear" and "linear_num_value_heads" in spec.config:
            parts.extend(_gated_delta(config, hidden))
        elif kind == "linear":
            parts.extend(_lightning(spec, hidden))
        elif spec.latent_dim:
            parts.extend(_latent_attention(config, hidden))
        elif kind != "none":
            parts.extend(_attention(spec, config, family, hidden, layer))
        parts.extend(_feed_forward(spec, config, family, layer))
        for name, shape in parts:
            yield prefix + name, shape
    yield "model.norm.weight", (hidden,)
    if not spec.has_tied_embeddings:
        yield "lm_head.weight", (config["vocab_size"], hidden)
    if spec.model_type == "gemma3":
        yield from siglip(spec, hidden)
    elif spec.model_type == "phi3_v":
        yield from clip_of_phi3(hidden)


def _attention(spec: ModelSpec, config: Numbers, family: Family, hidden: int, layer: int) -> Shapes:
    assert spec.head_dim is not None
    assert spec.heads is not None
    kept = next(part for part in spec.caches[layer] if part.kind != "state")
    queries, keys = spec.heads * spec.head_dim, kept.kv_heads * spec.head_dim
    model_type = str(spec.config.get("model_type"))
    gated = 2 if model_type == "qwen3_next" else 1  # a gate for each query
    if family.is_fused:
        yield "self_attn.qkv_proj.weight", (queries + 2 * keys, hidden)
    else:
        for name, size in (("q", queries * gated), ("k", keys), ("v", keys)):
            yield f"self_attn.{name}_proj.weight", (size, hidden)
            if config.flag(family.qkv_bias):
                yield f"self_attn.{name}_proj.bias", (size,)
    yield "self_attn.o_proj.weight", (hidden, queries)
    if config.flag(family.output_bias):
        yield "self_attn.o_proj.bias", (hidden,)
    if family.has_head_norms:
        yield "self_attn.q_norm.weight", (spec.head_dim,)
        yield "self_attn.k_norm.weight", (spec.head_dim,)
    if model_type == "gpt_oss":
        yield "self_attn.sinks", (spec.heads,)


def _latent_attention(config: Numbers, hidden: int) -> Shapes:
    """Yield DeepSeek's multi-head latent attention."""
    heads = config["num_attention_heads"]
    rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    if query_rank := config.get("q_lora_rank", 0):
        yield "self_attn.q_a_proj.weight", (query_rank, hidden)
        yield "self_attn.q_a_layernorm.weight", (query_rank,)
        yield "self_attn.q_b_proj.weight", (heads * (nope + rope), query_rank)
    else:
        yield "self_attn.q_proj.weight", (heads * (nope + rope), hidden)
    yield "self_attn.kv_a_proj_with_mqa.weight", (rank + rope, hidden)
    yield "self_attn.kv_a_layernorm.weight", (rank,)
    yield "self_attn.kv_b_proj.weight", (heads * (nope + value), rank)
    yield "self_attn.o_proj.weight", (hidden, heads * value)
    if config.flag("attention_bias"):
        yield "self_attn.kv_a_proj_with_mqa.bias", (rank + rope,)
        yield "self_attn.o_proj.bias", (hidden,)
        if config.get("q_lora_rank", 0):
            yield "self_attn.q_a_proj.bias", (config["q_lora_rank"],)
    if size := config.get("index_head_dim", 0):  # the indexer of sparse attention
        index_heads = config["index_n_heads"]
        yield "self_attn.indexer.wq_b.weight", (index_heads * size, config["q_lora_rank"])
        yield "self_attn.indexer.wk.weight", (size, hidden)
        yield "self_attn.indexer.k_norm.weight", (size,)
        yield "self_attn.indexer.k_norm.bias", (size,)
        yield "self_attn.indexer.weights_proj.weight", (index_heads, hidden)


def _gated_delta(config: Numbers, hidden: int) -> Shapes:
    """Yield Qwen3-Next's gated delta network."""
    key_heads, value_heads = config["linear_num_key_heads"], config["linear_num_value_heads"]
    keys = key_heads * config["linear_key_head_dim"]
    values = value_heads * config["linear_value_head_dim"]
    yield "linear_attn.in_proj_qkvz.weight", (2 * keys + 2 * values, hidden)
    yield "linear_attn.in_proj_ba.weight", (2 * value_heads, hidden)
    yield (
        "linear_attn.conv1d.weight",
        (
            2 * keys + values,
            1,
            config["linear_conv_kernel_dim"],
        ),
    )
    yield "linear_attn.dt_bias", (value_heads,)
    yield "linear_attn.A_log", (value_heads,)
    yield "linear_attn.norm.weight", (config["linear_value_head_dim"],)
    yield "linear_attn.out_proj.weight", (hidden, values)


def _lightning(spec: ModelSpec, hidden: int) -> Shapes:
    """Yield MiniMax's lightning attention, whose output is gated."""
    width = (spec.heads or 0) * (spec.head_dim or 0)
    yield "self_attn.qkv_proj.weight", (3 * width, hidden)
    yield "self_attn.output_gate.weight", (width, hidden)
    yield "self_attn.norm.weight", (width,)
    yield "self_attn.out_proj.weight", (hidden, width)


def _feed_forward(spec: ModelSpec, config: Numbers, family: Family, layer: int) -> Shapes:
    hidden = config["hidden_size"]
    if spec.experts and _is_sparse(spec, config, layer):
        yield from _experts(spec, config, family, hidden)
        return
    if isinstance(spec.config.get("block_configs"), list):
        yield from _block_feed_forward(spec, layer, hidden)
        return
    size = config["intermediate_size"] // family.inner_parts
    if family.is_fused:
        yield "mlp.gate_up_proj.weight", (2 * size, hidden)
        yield "mlp.down_proj.weight", (hidden, size)
        return
    for name, shape in _gated("mlp", hidden, size):
        yield name, shape
        if config.flag(family.mlp_bias):
            yield name.replace("weight", "bias"), shape[:1]


def _block_feed_forward(spec: ModelSpec, layer: int, hidden: int) -> Shapes:
    """Yield the MLP of a nemotron-nas block: of its own size, a single matrix, or none."""
    blocks = list_at(spec.config, "block_configs")
    whole = blocks[layer] if layer < len(blocks) else None
    block = mapping_at(cast("dict[str, Any]", whole), "ffn") if isinstance(whole, dict) else {}
    if block.get("no_op"):
        return
    if block.get("replace_with_linear"):
        yield "mlp.linear_mlp.weight", (hidden, hidden)
        return
    multiple = block.get("ffn_mult")
    size = positive(block, "intermediate_size")
    if size is None and not isinstance(multiple, int | float):
        raise unknown(spec.model_type)
    if size is None:
        size = int(2 * float(multiple or 0) * hidden / 3)
        size = -(-size // _BLOCK_MULTIPLE) * _BLOCK_MULTIPLE
    yield from _gated("mlp", hidden, size)


def _is_sparse(spec: ModelSpec, config: Numbers, layer: int) -> bool:
    """Return whether a layer has experts: some families have dense layers first or in between."""
    dense: Any = spec.config.get("mlp_only_layers") or ()
    if layer in dense or layer < config.get("first_k_dense_replace", 0):
        return False
    return (layer + 1) % config.get("decoder_sparse_step", 1) == 0


def _experts(spec: ModelSpec, config: Numbers, family: Family, hidden: int) -> Shapes:
    model_type = str(spec.config.get("model_type"))
    experts = spec.experts or 0
    size = spec.expert_size or config["intermediate_size"]
    router = "mlp.router" if model_type == "gpt_oss" else "mlp.gate"
    yield f"{router}.weight", (experts, hidden)
    yield "mlp.experts.gate_up_proj", (experts, 2 * size, hidden)
    yield "mlp.experts.down_proj", (experts, hidden, size)
    if model_type == "gpt_oss":
        yield f"{router}.bias", (experts,)
        yield "mlp.experts.gate_up_proj_bias", (experts, 2 * size)
        yield "mlp.experts.down_proj_bias", (experts, hidden)
    if family.has_router_bias:
        yield f"{router}.e_score_correction_bias", (experts,)
    if shared := config.get("shared_expert_intermediate_size", 0):
        yield from _gated("mlp.shared_expert", hidden, shared)
        yield "mlp.shared_expert_gate.weight", (1, hidden)
    listed = numbers_at(spec.config, "num_shared_expert") or ()  # one for each layer
    if shared := first(spec.config, *SHARED_EXPERTS) or max(listed, default=0):
        yield from _gated("mlp.shared_experts", hidden, shared * size)


def _gated(module: str, hidden: int, size: int) -> Shapes:
    yield f"{module}.gate_proj.weight", (size, hidden)
    yield f"{module}.up_proj.weight", (size, hidden)
    yield f"{module}.down_proj.weight", (hidden, size)


class Numbers:
    """The integers of a configuration, by name. Raises ModelFilesError for a missing one."""

    def __init__(self, config: Mapping[str, Any], model_type: str) -> None:
        self._config = config
        self._model_type = model_type

    def __getitem__(self, name: str) -> int:
        value = self._config.get(name)
        if not isinstance(value, int):
            raise ModelFilesError(
                f"The config.json of a {self._model_type} has no {name}.",
                hint="Fetch the model's config.json again.",
            )
        return int(value)

    def get(self, name: str, default: int) -> int:
        """Return the number, `default` where there is none."""
        return self[name] if isinstance(self._config.get(name), int) else default

    def flag(self, flag: str | bool) -> bool:
        """Return `flag` itself where it is a bool, else the field of that name."""
        return flag if isinstance(flag, bool) else bool(self._config.get(flag, False))


def siglip(spec: ModelSpec, hidden: int) -> Shapes:
    """Yield Gemma 3's vision tower and projector."""
    vision: Any = spec.vision
    sizes = Numbers(vision, "siglip_vision_model")
    width, size = sizes.get("hidden_size", 768), sizes.get("intermediate_size", 3072)
    patch, image = sizes.get("patch_size", 16), sizes.get("image_size", 224)
    tower = "model.vision_tower."
    yield f"{tower}embeddings.patch_embedding.weight", (width, 3, patch, patch)
    yield f"{tower}embeddings.patch_embedding.bias", (width,)
    yield f"{tower}embeddings.position_embedding.weight", ((image // patch) ** 2, width)
    yield from _encoder(tower, sizes.get("num_hidden_layers", 12), width, size)
    yield f"{tower}post_layernorm.weight", (width,)
    yield f"{tower}post_layernorm.bias", (width,)
    yield "model.multi_modal_projector.mm_input_projection_weight", (width, hidden)
    yield "model.multi_modal_projector.mm_soft_emb_norm.weight", (width,)


def clip_of_phi3(hidden: int) -> Shapes:
    """Yield the vision tower of Phi 3 Vision, CLIP ViT-L/14 at 336 pixels, and its projection.

    Its config.json does not hold these sizes; they stand in its `image_embedding_phi3_v.py`.
    """
    width, size, patch, positions = 1024, 4096, 14, (336 // 14) ** 2 + 1
    tower = "model.vision_embed_tokens."
    model = f"{tower}img_processor.vision_model."
    yield f"{model}embeddings.class_embedding", (width,)
    yield f"{model}embeddings.patch_embedding.weight", (width, 3, patch, patch)
    yield f"{model}embeddings.position_embedding.weight", (positions, width)
    yield from _encoder(model, 24, width, size)
    yield from _biased_norms(model, width, "pre_layrnorm", "post_layernorm")
    yield f"{tower}glb_GN", (1, 1, 4 * width)
    yield f"{tower}sub_GN", (1, 1, 1, 4 * width)
    for name, inputs in (("img_projection.0", 4 * width), ("img_projection.2", hidden)):
        yield f"{tower}{name}.weight", (hidden, inputs)
        yield f"{tower}{name}.bias", (hidden,)


def other_parts(spec: ModelSpec) -> Shapes:
    """Yield a plain vision tower with the sizes of a model of unknown layout.

    Four patches become a token, as in InternVL. Yields nothing where config.json has no sizes.
    """
    width = first(spec.vision, "hidden_size", "width", "embed_dim")
    layers = first(spec.vision, "num_hidden_layers", "depth", "layers", "num_layers")
    if not width or not layers:
        return
    multiple = spec.vision.get("mlp_ratio")
    inner = int(width * (multiple if isinstance(multiple, int | float) else 4))
    size = first(spec.vision, "intermediate_size") or inner
    patch = first(spec.vision, "patch_size") or 14
    image = first(spec.vision, "image_size") or 448
    tower, hidden = "vision_tower.", spec.hidden_size or 0
    yield f"{tower}embeddings.patch_embedding.weight", (width, 3, patch, patch)
    yield f"{tower}embeddings.position_embedding.weight", ((image // patch) ** 2 + 1, width)
    yield from _encoder(tower, layers, width, size)
    for name, inputs in (("linear_1", 4 * width), ("linear_2", hidden)):
        yield f"multi_modal_projector.{name}.weight", (hidden, inputs)


def _encoder(tower: str, layers: int, width: int, size: int) -> Shapes:
    """Yield the layers of CLIP and SigLIP."""
    for layer in range(layers):
        module = f"{tower}encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{module}self_attn.{name}.weight", (width, width)
            yield f"{module}self_attn.{name}.bias", (width,)
        for name, shape in (("fc1", (size, width)), ("fc2", (width, size))):
            yield f"{module}mlp.{name}.weight", shape
            yield f"{module}mlp.{name}.bias", shape[:1]
        yield from _biased_norms(module, width, "layer_norm1", "layer_norm2")


def gpt2(spec: ModelSpec, config: Numbers) -> Shapes:
    """Yield GPT-2: learned positions, a bias everywhere, weights as `[in, out]`."""
    hidden = config["n_embd"]
    inner = config.get("n_inner", 0) or 4 * hidden
    yield "transformer.wte.weight", (config["vocab_size"], hidden)
    yield "transformer.wpe.weight", (config["n_positions"], hidden)
    for layer in range(spec.layers):
        module = f"transformer.h.{layer}."
        shapes = (
            ("attn.c_attn", (hidden, 3 * hidden)),
            ("attn.c_proj", (hidden, hidden)),
            ("mlp.c_fc", (hidden, inner)),
            ("mlp.c_proj", (inner, hidden)),
        )
        for name, shape in shapes:
            yield f"{module}{name}.weight", shape
            yield f"{module}{name}.bias", shape[1:]
        yield from _biased_norms(module, hidden, "ln_1", "ln_2")
    yield from _biased_norms("transformer.", hidden, "ln_f")
    if not spec.has_tied_embeddings:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def opt(spec: ModelSpec, config: Numbers) -> Shapes:
    """Yield OPT: learned positions, and a narrower embedding in the one of 350 million."""
    hidden, inner = config["hidden_size"], config["ffn_dim"]
    width = config.get("word_embed_proj_dim", hidden)
    decoder = "model.decoder."
    yield f"{decoder}embed_tokens.weight", (config["vocab_size"], width)
    yield f"{decoder}embed_positions.weight", (config["max_position_embeddings"] + 2, hidden)
    if width != hidden:
        yield f"{decoder}project_in.weight", (hidden, width)
        yield f"{decoder}project_out.weight", (width, hidden)
    for layer in range(spec.layers):
        module = f"{decoder}layers.{layer}."
        shapes = [(f"self_attn.{name}_proj", (hidden, hidden)) for name in ("q", "k", "v", "out")]
        for name, shape in (*shapes, ("fc1", (inner, hidden)), ("fc2", (hidden, inner))):
            yield f"{module}{name}.weight", shape
            yield f"{module}{name}.bias", shape[:1]
        yield from _biased_norms(module, hidden, "self_attn_layer_norm", "final_layer_norm")
    if spec.config.get("do_layer_norm_before", True):
        yield from _biased_norms(decoder, hidden, "final_layer_norm")
    if not spec.has_tied_embeddings:
        yield "lm_head.weight", (config["vocab_size"], width)


def falcon(spec: ModelSpec, config: Numbers) -> Shapes:
    """Yield Falcon in its three forms: 7b, 40b and rw."""
    assert spec.head_dim is not None
    hidden, keys = config["hidden_size"], (spec.kv_heads or 1) * spec.head_dim
    inner = config.get("ffn_hidden_size", 0) or 4 * hidden
    is_new = bool(spec.config.get("new_decoder_architecture"))
    is_parallel = is_new or bool(spec.config.get("parallel_attn", True))
    norms = ("input_layernorm",) if is_parallel else ("input_layernorm", "post_attention_layernorm")
    if is_new and config.get("num_ln_in_parallel_attn", 2) == 2:
        norms = ("ln_attn", "ln_mlp")
    yield "transformer.word_embeddings.weight", (config["vocab_size"], hidden)
    for layer in range(spec.layers):
        module = f"transformer.h.{layer}."
        shapes = (
            ("self_attention.query_key_value", (hidden + 2 * keys, hidden)),
            ("self_attention.dense", (hidden, hidden)),
            ("mlp.dense_h_to_4h", (inner, hidden)),
            ("mlp.dense_4h_to_h", (hidden, inner)),
        )
        for name, shape in shapes:
            yield f"{module}{name}.weight", shape
            if config.flag("bias"):
                yield f"{module}{name}.bias", shape[:1]
        yield from _biased_norms(module, hidden, *norms)
    yield from _biased_norms("transformer.", hidden, "ln_f")
    if not spec.has_tied_embeddings:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def phi(spec: ModelSpec, config: Numbers) -> Shapes:
    """Yield Phi 1 and 2: attention and MLP side by side behind one norm."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    assert spec.head_dim is not None
    keys = (spec.kv_heads or 1) * spec.head_dim
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(spec.layers):
        module = f"model.layers.{layer}."
        shapes = (
            ("self_attn.q_proj", (hidden, hidden)),
            ("self_attn.k_proj", (keys, hidden)),
            ("self_attn.v_proj", (keys, hidden)),
            ("self_attn.dense", (hidden, hidden)),
            ("mlp.fc1", (inner, hidden)),
            ("mlp.fc2", (hidden, inner)),
        )
        for name, shape in shapes:
            yield f"{module}{name}.weight", shape
            yield f"{module}{name}.bias", shape[:1]
        yield from _biased_norms(module, hidden, "input_layernorm")
    yield from _biased_norms("model.", hidden, "final_layernorm")
    yield "lm_head.weight", (config["vocab_size"], hidden)
    yield "lm_head.bias", (config["vocab_size"],)


def _biased_norms(module: str, hidden: int, *names: str) -> Shapes:
    for name in names:
        yield f"{module}{name}.weight", (hidden,)
        yield f"{module}{name}.bias", (hidden,)


_OTHERS: Mapping[str, Callable[[ModelSpec, Numbers], Shapes]] = {
    "gpt2": gpt2,
    "opt": opt,
    "falcon": falcon,
    "phi": phi,
}
