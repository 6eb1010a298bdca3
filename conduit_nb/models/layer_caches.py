"""Read from config.json what each layer caches of a request: keys and values, a state, or nothing.

Families name the pattern of their layers in different fields. `PATTERNS` lists the readers of these
fields, `STATES` those of the size of a constant state. An unknown pattern is planned as full
attention, the largest cache of a layer, and noted in a remark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from conduit_nb.models.fields import (
    EXPAND,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    LAYERS,
    first,
    list_at,
    mapping_at,
    numbers_at,
    positive,
)
from conduit_nb.models.tensors import TensorDtype

Config = Mapping[str, Any]
Kind = Literal["full", "sliding", "linear", "hybrid", "hybrid_sliding", "none"]
"""The attention of a layer; "linear" has a state instead, "hybrid" in addition."""

Sizes = tuple[int, int, int]
"""The sizes of a state: width and kernel of its convolution, and its number of elements."""

MAX_LAYERS = 10_000
"""A config.json with more layers is not a model's."""

INDEXER_SCALE_BYTES = 4
"""The scale of a key in a sparse attention's indexer: float32, beside one byte per value (vLLM)."""

KINDS: Mapping[str, Kind] = {
    "full_attention": "full",
    "attention": "full",
    "full": "full",
    "global": "full",
    "global_attention": "full",
    "indexed_attention": "full",
    "deepseek_sparse_attention": "full",
    "qwen_sparse_attention": "full",
    "minimax_m3_sparse": "full",
    "reference_sliding_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "sliding",
    "sliding": "sliding",
    "local": "sliding",
    "local_attention": "sliding",
    "linear_attention": "linear",
    "mamba": "linear",
    "mamba2": "linear",
    "recurrent": "linear",
    "conv": "linear",
    "hybrid": "hybrid",
    "hybrid_sliding": "hybrid_sliding",
    "mlp": "none",
    "moe": "none",
}
_LETTERS: Mapping[str, Kind] = {"M": "linear", "*": "full", "-": "none", "E": "none"}
# All layers of these slide where a window is set (vLLM and transformers).
_ALL_SLIDE = frozenset(
    {"mistral", "mixtral", "phi3", "phi3_v", "phimoe", "starcoder2", "ministral", "moshi"}
    | {"kyutai_speech_to_text", "voxtral_realtime_text"}
)
# All layers of these have a state, or a state beside their attention.
_ALL_LINEAR = frozenset(
    {"mamba", "mamba2", "falcon_mamba", "rwkv", "rwkv5", "rwkv6", "rwkv7", "xlstm"}
)
_ALL_HYBRID = frozenset({"falcon_h1", "zaya"})
# Their linear layers are MiniMax's lightning attention.
_LIGHTNING = frozenset(
    {"minimax", "minimax_m1", "minimax_text_01", "bailing_moe_linear", "bailing_moe_linear_v2"}
)
# Two attentions in each layer.
_TWICE = frozenset({"longcat_flash", "longcat_flash_ngram"})
# These have a latent rank in their configuration, but runtimes keep the keys and values made of it.
_EXPANDED_LATENTS = frozenset({"minicpm3"})
# fmt: off
ENCODERS = frozenset({
    "albert", "align", "altclip", "bert", "bert-generation", "big_bird", "blip_text_model",
    "bros", "camembert", "canine", "chinese_clip", "clap", "clip", "clip_text_model",
    "clip_vision_model", "clipseg", "convbert", "data2vec-text", "deberta", "deberta-v2", "deit",
    "dinov2", "dinov2_with_registers", "dinov3_vit", "distilbert", "dpr", "electra",
    "embedding_gemma2", "embedding_gemma2_text", "ernie", "esm", "esmc", "eurobert", "flaubert",
    "fnet", "funnel", "gte", "hubert", "ibert", "jina_embeddings_v3", "layoutlm", "layoutlmv2",
    "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "megatron-bert", "metaclip_2",
    "mobilebert", "modernbert", "mpnet", "mra", "new", "nomic_bert", "nystromformer",
    "openai_privacy_filter", "owlv2", "owlvit", "parakeet_ctc", "rembert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "siglip", "siglip2", "siglip_text_model",
    "siglip_vision_model", "splinter", "squeezebert", "tapas", "timm_wrapper", "vit", "wav2vec2",
    "wav2vec2-bert", "wavlm", "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
})
# fmt: on
"""Model types that cache nothing of a request, unless `is_decoder` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePart:
    """One part of a layer's cache of a request.

    "full" stores every token, "sliding" the last `window_tokens`: `numbers` for each of `kv_heads`,
    or one vector of `numbers` for all heads (`is_shared`: ranks do not split it), and `extra_bytes`
    in a precision of their own. Compressed attention stores one entry for `stride` tokens.
    `fixed_tokens` are stored for every request (the output of an encoder). A "state" has a constant
    size: the last `conv_inputs` of a convolution of `conv_width` in the model's precision, and
    `state_numbers` in that of `state_dtype` (None: the runtime chooses).
    """

    kind: Literal["full", "sliding", "state"]
    kv_heads: int = 1
    numbers: int = 0
    is_shared: bool = False
    extra_bytes: int = 0
    window_tokens: int | None = None
    stride: int = 1
    fixed_tokens: int | None = None
    conv_width: int = 0
    conv_inputs: int = 0
    state_numbers: int = 0
    state_dtype: TensorDtype | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCaches:
    """The caches of all layers: the kind and the parts of each, and the assumptions made."""

    kinds: tuple[Kind, ...]
    parts: tuple[tuple[CachePart, ...], ...]
    remarks: tuple[str, ...]


def layer_caches(config: Config) -> LayerCaches:
    """Return what each layer caches of a request.

    `config` is the language model's part of the file, completed with the defaults of the family.
    """
    layers = layer_count(config)
    remarks: list[str] = []
    if is_encoder(config):
        return LayerCaches(kinds=("none",) * layers, parts=((),) * layers, remarks=())
    if (ratios := _compress_ratios(config)) is not None:
        return _compressed(config, layers, ratios[:layers])
    kinds = _shared(config, _with_states(config, _kinds(config, layers, remarks), remarks))
    state = state_of(config)
    if state is None and any(kind == "linear" for kind in kinds):
        remarks.append(
            "The size of the state of its linear layers is not known; they are planned as full"
            " attention."
        )
    elif state is None and any(kind.startswith("hybrid") for kind in kinds):
        remarks.append(
            "The size of the state that its layers keep beside attention is not known; this plan"
            " leaves it out."
        )
    parts = tuple(tuple(_parts(config, layer, kind, state)) for layer, kind in enumerate(kinds))
    if not any(pattern(config, layers) for pattern in PATTERNS) and not any(
        part.kind == "state" for layer in parts for part in layer
    ):
        remarks += _unread_states(config)
    return LayerCaches(kinds=tuple(kinds), parts=parts, remarks=tuple(remarks))


def layer_count(config: Config) -> int:
    """Return the number of layers: the field's, else the length of the list of kinds."""
    named = list_at(config, "layers_block_type") or list_at(config, "layer_types")
    layers = first(config, *LAYERS) or len(named)
    return layers if layers <= MAX_LAYERS else 0


def is_encoder(config: Config) -> bool:
    """Return whether the model caches nothing of a request.

    The encoder of an encoder and decoder may stand alone: T5EncoderModel.
    """
    named = config.get("architectures")
    names = [str(name) for name in cast("list[object]", named)] if isinstance(named, list) else []
    if names and all(name.endswith("EncoderModel") for name in names):
        return True
    return str(config.get("model_type", "")) in ENCODERS and not config.get("is_decoder")


def window_of(config: Config) -> int | None:
    """Return the size of the sliding window in tokens."""
    return first(
        config,
        "sliding_window",
        "attention_chunk_size",
        "attention_window_size",
        "sliding_window_size",
        "window_size",
        "local_attention",
    )


# --- which layer is of which kind ---------------------------------------------------------------


def _kinds(config: Config, layers: int, remarks: list[str]) -> list[Kind]:
    """Return the kind of each layer: by the first pattern that matches, else by the model type."""
    model_type = str(config.get("model_type", ""))
    for pattern in PATTERNS:
        kinds = pattern(config, layers)
        if kinds is None:
            continue
        if unknown := sorted({str(kind) for kind in kinds if kind not in _KNOWN}):
            remarks.append(
                f"Layers of type {', '.join(unknown)} are not known; they are planned as full"
                " attention."
            )
        return [cast("Kind", kind) if kind in _KNOWN else "full" for kind in kinds]
    if model_type in _ALL_LINEAR:
        return ["linear"] * layers
    everywhere: Kind = "hybrid" if model_type in _ALL_HYBRID else "full"
    window = window_of(config)
    if window is None or config.get("use_sliding_window") is False:
        return [everywhere] * layers
    if model_type in _ALL_SLIDE:
        return ["sliding"] * layers
    remarks.append(
        f"config.json sets an attention window of {window:,} tokens, but not for which layers of a"
        f" {model_type or 'model without a type'}; all are planned as full attention."
    )
    return [everywhere] * layers


_KNOWN = frozenset({"full", "sliding", "linear", "hybrid", "hybrid_sliding", "none"})


def _by_names(config: Config, layers: int) -> list[str] | None:
    for field in (
        "layer_types",
        "layers_block_type",
        "block_types",
        "_block_types",
        "attention_layers",
    ):
        named = config.get(field)
        if not isinstance(named, list | tuple) or not named:
            continue
        names = [str(name) for name in cast("Sequence[object]", named)]
        if len(names) < layers:  # RecurrentGemma repeats a short list
            names = (names * layers)[:layers]
        is_local = config.get("attention_window_size") is not None
        kinds = [KINDS.get(name, name) for name in names[:layers]]
        return ["sliding" if is_local and kind == "full" else kind for kind in kinds]
    return None


def _by_letters(config: Config, layers: int) -> list[str] | None:
    letters = config.get("hybrid_override_pattern")
    if not isinstance(letters, str) or not letters:
        return None
    return [_LETTERS.get(letter, letter) for letter in letters.replace("|", "")][:layers]


def _by_blocks(config: Config, layers: int) -> list[str] | None:
    """Read nemotron-nas: each block has attention, a linear layer instead, or none."""
    if len(blocks := _blocks(config)) < layers or not layers:
        return None
    kinds: list[str] = []
    for block in blocks[:layers]:
        attention = mapping_at(block, "attention")
        is_gone = attention.get("no_op") or attention.get("replace_with_linear")
        kinds.append("none" if is_gone else "full")
    return kinds


def _by_numbers(config: Config, layers: int) -> list[str] | None:
    """Read lists of one number per layer: MiMo's windows, MiniMax's linear attention."""
    for field, zero, one in (
        ("hybrid_layer_pattern", "full", "sliding"),
        ("attn_type_list", "linear", "full"),
    ):
        named = config.get(field)
        if isinstance(named, list) and len(cast("list[object]", named)) >= layers > 0:
            return [one if number == 1 else zero for number in cast("list[object]", named)[:layers]]
    return None


def _by_indices(config: Config, layers: int) -> list[str] | None:
    """Read lists of layers: those with attention (the others have a state), or with both."""
    full = numbers_at(mapping_at(config, "linear_attn_config"), "full_attn_layers")
    if full:  # counted from one
        return _listed(layers, "full", [layer - 1 for layer in full])
    for field, kind in (
        ("attn_layer_indices", "full"),
        ("full_attn_idxs", "full"),
        ("hybrid_layer_ids", "hybrid"),
    ):
        if named := numbers_at(config, field):
            return _listed(layers, kind, named)
    return None


def _listed(layers: int, kind: str, which: Sequence[int]) -> list[str]:
    return [kind if layer in which else "linear" for layer in range(layers)]


def _by_period(config: Config, layers: int) -> list[str] | None:
    """Read a period: each n-th layer has attention, the others a state."""
    if period := positive(config, "attn_layer_period"):
        offset = positive(config, "attn_layer_offset") or 0
        kind = "hybrid" if config.get("model_type") == "zamba" else "full"
        return [kind if layer % period == offset else "linear" for layer in range(layers)]
    if interval := first(config, "full_attention_interval", "layer_group_size"):
        return ["linear" if (layer + 1) % interval else "full" for layer in range(layers)]
    return None


def _by_window(config: Config, layers: int) -> list[str] | None:
    """Read which layers slide, by the rules of transformers' configurations."""
    if window_of(config) is None or config.get("use_sliding_window") is False:
        return None
    rotated = config.get("no_rope_layers")  # Llama 4: chunks where there are rotations
    if positive(config, "attention_chunk_size") and isinstance(rotated, list) and rotated:
        listed = cast("list[object]", rotated)
        return ["sliding" if rope else "full" for rope in listed[:layers]]
    letters = config.get("sliding_window_pattern")
    if isinstance(letters, str) and letters:  # "LLLG": local and global
        return [
            "sliding" if letters[layer % len(letters)] == "L" else "full" for layer in range(layers)
        ]
    if pattern := first(
        config, "sliding_window_pattern", "_sliding_window_pattern", "layer_switch"
    ):
        return ["sliding" if (layer + 1) % pattern else "full" for layer in range(layers)]
    if every := positive(config, "global_attn_every_n_layers"):
        return ["sliding" if layer % every else "full" for layer in range(layers)]
    if config.get("use_sliding_window"):
        begin = positive(config, "max_window_layers") or 0
        return ["sliding" if layer >= begin else "full" for layer in range(layers)]
    return None


PATTERNS: tuple[Callable[[Config, int], list[str] | None], ...] = (
    _by_names,
    _by_letters,
    _by_blocks,
    _by_numbers,
    _by_indices,
    _by_period,
    _by_window,
)
"""The readers of the layers' kinds; the first that finds its field decides."""


def _with_states(config: Config, kinds: list[Kind], remarks: list[str]) -> list[Kind]:
    """Give each layer a state where the file has its size, but no pattern of layers."""
    if "full" not in kinds or any(kind not in ("full", "sliding", "none") for kind in kinds):
        return kinds
    has_pattern = any(pattern(config, len(kinds)) for pattern in PATTERNS)
    if has_pattern or state_of(config) is None:
        return kinds
    remarks.append(
        "config.json sizes the state of linear layers, but not which layers have one; all are"
        " planned with a state beside full attention."
    )
    return ["hybrid" if kind == "full" else kind for kind in kinds]


def _unread_states(config: Config) -> list[str]:
    """Return a remark where fields mention a state whose size is unknown."""
    fields = sorted(
        name
        for name, value in config.items()
        if _STATE_FIELD.search(name) and isinstance(value, int | dict) and value
    )
    if not fields:
        return []
    return [
        f"config.json has {', '.join(fields[:3])}, which is not known: if its layers keep a state"
        " of a request, this plan leaves it out."
    ]


_STATE_FIELD = re.compile(
    r"mamba|(^|_)ssm(_|$)|(^|_)s?conv(_size|_kernel|1d_width|_l_cache)|short_?conv|(^|_)lru(_|$)"
    r"|linear_(attn|num|key|value)|recurrent"
)


def _shared(config: Config, kinds: list[Kind]) -> list[Kind]:
    """Return the kinds without the layers that reuse another layer's keys and values."""
    own: list[Kind] = list(kinds)
    if shared := positive(config, "num_kv_shared_layers"):
        own = [kind if layer < len(own) - shared else "none" for layer, kind in enumerate(own)]
    sources = config.get("kv_source_layers")
    if isinstance(sources, list) and len(cast("list[int]", sources)) >= len(own):
        for layer, source in enumerate(cast("list[int]", sources)[: len(own)]):
            own[layer] = own[layer] if source == layer else "none"
    if config.get("use_cla") and (factor := positive(config, "cla_share_factor")):
        own = [kind if layer % factor == 0 else "none" for layer, kind in enumerate(own)]
    return own


# --- what a layer of a kind keeps ----------------------------------------------------------------


def _parts(config: Config, layer: int, kind: Kind, state: CachePart | None) -> Sequence[CachePart]:
    parts: list[CachePart] = []
    if layer in _cross_layers(config):
        return [_cross(config)]
    if kind in ("full", "hybrid") or (kind == "linear" and state is None):
        parts.append(_attention(config, layer, is_sliding=False))
    if kind in ("sliding", "hybrid_sliding"):
        parts.append(_attention(config, layer, is_sliding=True))
    if str(config.get("model_type")) in _TWICE:
        parts *= 2
    if kind in ("linear", "hybrid", "hybrid_sliding") and state is not None:
        parts.append(state)
    if parts and config.get("is_encoder_decoder"):
        parts.append(_cross(config))
    return parts


def _attention(config: Config, layer: int, *, is_sliding: bool) -> CachePart:
    """Return the keys and values of one layer."""
    window = window_of(config) if is_sliding else None
    own = _own_fields(config, layer, is_sliding=is_sliding)
    kind: Literal["full", "sliding"] = "sliding" if is_sliding and window else "full"
    rank, rope = positive(own, "kv_lora_rank"), (positive(own, "qk_rope_head_dim") or 0)
    is_expanded = str(config.get("model_type")) in _EXPANDED_LATENTS
    if rank and not is_expanded and config.get("use_mla") is not False:
        return CachePart(
            kind=kind,
            numbers=rank + rope,
            is_shared=True,
            extra_bytes=_indexer_bytes(config, layer),
            window_tokens=window,
        )
    key = head_dim_of(own) or 0
    value = positive(own, "v_head_dim") or key
    if rank and is_expanded:
        key = value = (positive(own, "qk_nope_head_dim") or 0) + rope  # values are padded to keys
    return CachePart(
        kind=kind,
        kv_heads=kv_heads_of(own, layer) or 1,
        numbers=key + value,
        extra_bytes=_indexer_bytes(config, layer),
        window_tokens=window,
    )


def _own_fields(config: Config, layer: int, *, is_sliding: bool) -> Config:
    """Return the configuration as it holds for one layer."""
    own: dict[str, Any] = dict(config)
    if is_sliding:
        for ours, theirs in (
            ("head_dim", "swa_head_dim"),
            ("v_head_dim", "swa_v_head_dim"),
            ("num_key_value_heads", "swa_num_key_value_heads"),
        ):
            if positive(config, theirs):
                own[ours] = config[theirs]
        other = config.get("attention_other_setting")  # Step 3.5
        if isinstance(other, dict):
            setting = cast("dict[str, Any]", other)
            own["num_key_value_heads"] = setting.get("num_attention_groups") or own.get(
                "num_attention_groups"
            )
            own["head_dim"] = setting.get("head_dim") or own.get("head_dim")
    else:
        own["head_dim"] = positive(config, "global_head_dim") or config.get("head_dim")
        heads = positive(config, "num_global_key_value_heads")
        if heads and config.get("attention_k_eq_v", True):
            own["num_key_value_heads"] = heads
    if len(blocks := _blocks(config)) > layer:
        attention = mapping_at(blocks[layer], "attention")
        if group := positive(attention, "n_heads_in_group"):
            own["num_key_value_heads"] = (first(config, *HEADS) or group) // group
        if heads := positive(attention, "num_key_value_heads"):
            own["num_key_value_heads"] = heads
    by_layer = mapping_at(config, "per_layer_config")
    for key in by_layer:
        if key.isdecimal() and int(key) == layer:  # "05" of thirty
            own |= mapping_at(by_layer, key)
    return own


def kv_heads_of(config: Config, layer: int = 0) -> int | None:
    """Return the number of key-value heads, by default that of all heads."""
    heads = first(config, *HEADS)
    model_type = config.get("model_type")
    if model_type == "falcon" and not config.get("new_decoder_architecture"):
        return 1 if config.get("multi_query", True) else heads
    if model_type == "gpt_bigcode":
        return 1 if config.get("multi_query", True) else heads
    if config.get("multi_query_attention") is False:
        return heads
    for name in KV_HEADS:
        listed = numbers_at(config, name)
        if listed and len(listed) > layer:
            return listed[layer]
    return first(config, *KV_HEADS) or heads


def head_dim_of(config: Config) -> int | None:
    """Return the size of a head, by default the hidden size divided by the heads."""
    if head_dim := first(config, *HEAD_DIM):
        return head_dim
    hidden = first(config, "attention_hidden_size", *HIDDEN)
    heads = first(config, *HEADS)
    if not heads:
        listed = numbers_at(config, "num_query_heads")
        heads = listed[0] if listed else None
    return hidden // heads if hidden and heads else None


def _indexer_bytes(config: Config, layer: int) -> int:
    """Return the bytes that the indexer of a sparse attention stores per token.

    DeepSeek's is a key of one byte a number. Layers of type "shared" use the choice of the one
    before them and have none (GLM 5.2). MiniMax M3's is a key of two bytes a number.
    """
    types = config.get("indexer_types")
    is_listed = isinstance(types, list) and len(cast("list[object]", types)) > layer
    if is_listed and cast("list[object]", types)[layer] == "shared":
        return 0
    if sparse := mapping_at(config, "sparse_attention_config"):
        layers = numbers_at(sparse, "sparse_attention_freq")
        is_sparse = layers is None or (len(layers) > layer and layers[layer] == 1)
        return 2 * (positive(sparse, "sparse_index_dim") or 0) if is_sparse else 0
    dim = positive(config, "index_head_dim")
    if not dim:
        return 0
    return dim + INDEXER_SCALE_BYTES if positive(config, "kv_lora_rank") else 2 * dim


def _compress_ratios(config: Config) -> list[int] | None:
    """Return the tokens per entry of each layer, from numbers or from transformers' kinds."""
    rates, types = mapping_at(config, "compress_rates"), list_at(config, "layer_types")
    if rates and types:
        return [positive(rates, str(kind)) or 0 for kind in types]
    return numbers_at(config, "compress_ratios")


def _compressed(config: Config, layers: int, ratios: Sequence[int]) -> LayerCaches:
    """Read DeepSeek V4: a window in each layer, and one entry for every `ratio` tokens.

    A key is its own value. Layers of ratio 4 choose among their entries with an indexer.
    """
    window, dim = window_of(config), head_dim_of(config) or 0
    parts: list[tuple[CachePart, ...]] = []
    smallest = min((ratio for ratio in ratios if ratio > 1), default=0)
    for ratio in ratios:
        kept = [
            CachePart(
                kind="sliding" if window else "full",
                numbers=dim,
                is_shared=True,
                window_tokens=window,
            )
        ]
        if ratio > 1:
            index = positive(config, "index_head_dim") if ratio == smallest else None
            kept.append(
                CachePart(
                    kind="full",
                    numbers=dim,
                    is_shared=True,
                    extra_bytes=index + INDEXER_SCALE_BYTES if index else 0,
                    stride=ratio,
                )
            )
        parts.append(tuple(kept))
    missing = layers - len(ratios)
    whole = (CachePart(kind="full", numbers=dim, is_shared=True),)
    kinds: list[Kind] = ["sliding" if layer < len(ratios) else "full" for layer in range(layers)]
    return LayerCaches(kinds=tuple(kinds), parts=(*parts, *[whole] * missing), remarks=())


def _cross_layers(config: Config) -> Sequence[int]:
    """Return the cross-attention layers to an image: Llama 3.2 Vision's."""
    return numbers_at(config, "cross_attention_layers") or ()


def _cross(config: Config) -> CachePart:
    """Return what a decoder caches of the output of its encoder or a vision tower."""
    return CachePart(
        kind="full",
        kv_heads=kv_heads_of(config) or 1,
        numbers=2 * (head_dim_of(config) or 0),
        fixed_tokens=positive(config, "cross_tokens")
        or (positive(config, "max_source_positions") if "num_mel_bins" in config else None),
    )


def _blocks(config: Config) -> list[dict[str, Any]]:
    blocks = config.get("block_configs")
    if not isinstance(blocks, list):
        return []
    listed = cast("list[object]", blocks)
    return [cast("dict[str, Any]", block) for block in listed if isinstance(block, dict)]


# --- the state of a linear layer -----------------------------------------------------------------


def state_of(config: Config) -> CachePart | None:
    """Return the state of a linear layer, None where its size is unknown."""
    for read in STATES:
        numbers = read(config)
        if numbers is not None:
            width, kernel, state = numbers
            return CachePart(
                kind="state",
                conv_width=width,
                conv_inputs=max(kernel - 1, 0),
                state_numbers=state,
                state_dtype=_state_dtype(config),
            )
    return None


def _state_dtype(config: Config) -> TensorDtype | None:
    dtype = str(config.get("mamba_ssm_cache_dtype") or config.get("mamba_ssm_dtype") or "")
    dtype = dtype.removeprefix("torch.")
    if dtype in ("float32", "bfloat16", "float16"):
        return cast("TensorDtype", dtype)
    # Kimi's delta attention, RG-LRU and xLSTM sum in float32 whatever the model's precision.
    is_summed = "linear_attn_config" in config or "lru_width" in config
    summed_types = ("recurrent_gemma", "kimi_linear", "bailing_hybrid", "xlstm")
    model_type = str(config.get("model_type", ""))
    is_summed = is_summed or model_type in summed_types or model_type.startswith("rwkv")
    return "float32" if is_summed else None


def _gated_delta(config: Config) -> Sizes | None:
    """Size Qwen3-Next's: value heads x key size x value size."""
    key_heads, value_heads = (
        positive(config, "linear_num_key_heads"),
        positive(config, "linear_num_value_heads"),
    )
    key_dim, value_dim = (
        positive(config, "linear_key_head_dim"),
        positive(config, "linear_value_head_dim"),
    )
    if not key_heads or not value_heads or not key_dim or not value_dim:
        return None
    kernel = positive(config, "linear_conv_kernel_dim") or 4
    mixed = 2 * key_heads * key_dim + value_heads * value_dim
    return mixed, kernel, value_heads * key_dim * value_dim


def _kimi_delta(config: Config) -> Sizes | None:
    """Size Kimi's: heads x head size squared, and convolutions of queries, keys and values."""
    linear = mapping_at(config, "linear_attn_config")
    heads = positive(linear, "num_heads") or positive(config, "linear_num_heads")
    size = positive(linear, "head_dim") or positive(config, "linear_head_dim")
    if config.get("model_type") == "bailing_hybrid":
        heads, size = heads or first(config, *HEADS), size or head_dim_of(config)
    if not heads or not size:
        return None
    kernel = (
        positive(linear, "short_conv_kernel_size")
        or first(config, "linear_conv_kernel_dim", "short_conv_kernel_size")
        or 4
    )
    return 3 * heads * size, kernel, heads * size * size


def _mamba2(config: Config) -> Sizes | None:
    """Size Mamba 2's: heads x head size x state size."""
    is_plain = config.get("model_type") == "mamba2"
    hidden = first(config, *HIDDEN) or 0
    inner = first(config, "mamba_d_ssm") or int(hidden * (numbers_in(config) or 2))
    heads = first(config, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads")
    head = first(config, "mamba_d_head", "mamba_head_dim", "mamba_headdim")
    if is_plain:
        heads, head = positive(config, "num_heads"), positive(config, "head_dim")
    state = first(config, "mamba_d_state", "ssm_state_size", "state_size")
    if heads and not head and config.get("mamba_d_head") == "auto":
        head = inner // heads
    if not heads or not head or not state:
        return None
    groups = first(config, "mamba_n_groups", "n_groups", "mamba_ngroups") or 1
    kernel = first(config, "mamba_d_conv", "conv_kernel") or 4
    return heads * head + 2 * groups * state, kernel, heads * head * state


def numbers_in(config: Config) -> float | None:
    """Return the expansion factor of a Mamba layer."""
    return next(
        (float(config[name]) for name in EXPAND if isinstance(config.get(name), int | float)), None
    )


def _mamba1(config: Config) -> Sizes | None:
    """Size Mamba 1's: inner size x state size."""
    model_type = config.get("model_type")
    is_plain = model_type in ("mamba", "falcon_mamba")
    state = first(config, "mamba_d_state", *(("state_size",) if is_plain else ()))
    widens, hidden = numbers_in(config), first(config, *HIDDEN)
    if not state or not hidden or (not widens and not is_plain):
        return None
    inner = positive(config, "intermediate_size") if is_plain else None
    inner = inner or int(hidden * (widens or 2))
    kernel = first(config, "mamba_d_conv", "conv_kernel") or 4
    return inner, kernel, inner * state


def _short_conv(config: Config) -> Sizes | None:
    """Size LFM2's: the last inputs of a short convolution."""
    length, hidden = positive(config, "conv_L_cache"), first(config, "conv_dim", *HIDDEN)
    return (hidden, length, 0) if length and hidden else None


def _lightning(config: Config) -> Sizes | None:
    """Size MiniMax's: heads x head size squared."""
    heads, size = first(config, *HEADS), head_dim_of(config)
    is_one = str(config.get("model_type")) in _LIGHTNING or "attn_type_list" in config
    return (0, 0, heads * size * size) if is_one and heads and size else None


def _recurrent_unit(config: Config) -> Sizes | None:
    """Size RecurrentGemma's: one number for each of its width."""
    if config.get("model_type") != "recurrent_gemma":
        return None
    width = first(config, "lru_width", *HIDDEN) or 0
    kernel = positive(config, "conv1d_width") or 4
    return width, kernel, width


def _rwkv(config: Config) -> Sizes | None:
    """Size RWKV's: two last inputs; three sums for each of version 4's width, or a matrix a head.

    Of RWKV 5 and 6 `num_attention_heads` is the size of a head.
    """
    hidden, model_type = first(config, *HIDDEN), str(config.get("model_type", ""))
    if not model_type.startswith("rwkv") or not hidden:
        return None
    width = positive(config, "attention_hidden_size") or hidden
    size = first(config, "head_size", "head_dim") or 64
    return 0, 0, 2 * hidden + width * (3 if model_type == "rwkv" else size)


def _xlstm(config: Config) -> Sizes | None:
    """Size xLSTM's: of each head a matrix, a vector and a number."""
    hidden, heads = first(config, *HIDDEN), positive(config, "num_heads")
    if config.get("model_type") != "xlstm" or not hidden or not heads:
        return None
    key = int(hidden * float(config.get("qk_dim_factor") or 0.5)) // heads
    value = int(hidden * float(config.get("v_dim_factor") or 1.0)) // heads
    return 0, 0, heads * (key * value + key + 1)


def _zaya(config: Config) -> Sizes | None:
    """Size Zaya's: the last inputs of two short convolutions of queries and keys."""
    heads, size = first(config, *HEADS), head_dim_of(config)
    if config.get("model_type") != "zaya" or not heads or not size:
        return None
    return (heads + (kv_heads_of(config) or heads)) * size, 2, size


def _inkling(config: Config) -> Sizes | None:
    """Size Inkling's: short convolutions of keys, values and both hidden states of a layer."""
    kernel, hidden = positive(config, "conv_kernel_size"), first(config, *HIDDEN)
    is_one = str(config.get("model_type", "")).startswith("inkling")
    if not is_one or not kernel or not hidden:
        return None
    heads = max(kv_heads_of(config) or 0, positive(config, "swa_num_key_value_heads") or 0)
    width = 2 * heads * (head_dim_of(config) or 0)
    return 2 * hidden + width, kernel, 0


STATES: tuple[Callable[[Config], Sizes | None], ...] = (
    _gated_delta,
    _kimi_delta,
    _mamba2,
    _mamba1,
    _short_conv,
    _lightning,
    _recurrent_unit,
    _rwkv,
    _xlstm,
    _zaya,
    _inkling,
)
"""The readers of the size of a linear layer's state."""
