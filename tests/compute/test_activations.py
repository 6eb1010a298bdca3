"""compute/activations.py: the peak of a forward."""

from __future__ import annotations

from conduit_nb.compute.activations import activation_bytes, runtime_bytes
from conduit_nb.compute.overheads import overheads_of
from tests.models.published import spec_named


def peak(name: str, *, runtime: str = "vllm", stages: int = 1, last: bool = True, **other: int):
    return activation_bytes(
        spec_named(name),
        overheads_of(runtime),
        dtype="bfloat16",
        tensor_parallel=other.get("ranks", 1),
        pipeline_parallel=stages,
        is_last_stage=last,
    )


def test_a_large_vocabulary_outweighs_the_layers():
    assert peak("gemma-2-2b") > peak("Llama-3.1-8B-Instruct") > peak("CodeLlama-7b")


def test_only_the_last_stage_looks_at_logits():
    name = "Llama-3.1-8B-Instruct"

    assert peak(name, stages=2, last=False) < peak(name, stages=2, last=True)


def test_more_ranks_do_not_split_the_sampler():
    name = "Llama-3.1-8B-Instruct"

    assert peak(name, ranks=4) == peak(name)


def test_ranks_that_talk_take_memory_outside_of_tensors():
    spec, overheads = spec_named("Llama-3.1-8B-Instruct"), overheads_of("vllm")
    alone, graphs = runtime_bytes(spec, overheads, layers=32, tensor_parallel=1)
    split, fewer = runtime_bytes(spec, overheads, layers=16, tensor_parallel=2)

    assert split > alone
    assert fewer < graphs
