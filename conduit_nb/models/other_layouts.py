"""The weights of families that are not Llama-like, and of vision towers, by arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.fields import first
from conduit_nb.models.spec import ModelSpec

Shapes = Iterator[tuple[str, tuple[int, ...]]]
"""Names and shapes of weights."""


class Numbers:
    """The whole numbers of a configuration, by name; one that lacks is an error that names it."""

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

    def flag(self, said: str | bool) -> bool:
        """Return an answer, or what the field of that name answers."""
        return said if isinstance(said, bool) else bool(self._config.get(said, False))


def siglip(spec: ModelSpec, hidden: int) -> Shapes:
    """Yield Gemma 3's vision tower and projector."""
    vision: Any = spec.vision
    said = Numbers(vision, "siglip_vision_model")
    width, size = said.get("hidden_size", 768), said.get("intermediate_size", 3072)
    patch, image = said.get("patch_size", 16), said.get("image_size", 224)
    tower = "model.vision_tower."
    yield f"{tower}embeddings.patch_embedding.weight", (width, 3, patch, patch)
    yield f"{tower}embeddings.patch_embedding.bias", (width,)
    yield f"{tower}embeddings.position_embedding.weight", ((image // patch) ** 2, width)
    yield from _encoder(tower, said.get("num_hidden_layers", 12), width, size)
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
    """Yield the vision tower of a model whose layout is not known, as a plain one of its sizes.

    Four patches become a token, as in InternVL. Nothing where config.json does not size it.
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
