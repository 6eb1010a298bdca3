"""From a magic's options to a block that asks a model.

Layer 7.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TypeVar

from conduit_nb import settings
from conduit_nb.blocks.runtime_blocks import block_type
from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.notebook.arguments import MagicParser, add_model_options
from conduit_nb.notebook.line_options import add_options
from conduit_nb.plans.options import CONSTRAINT_OPTIONS

In = TypeVar("In")
Out = TypeVar("Out")


def add_task_options(parser: MagicParser) -> None:
    """Add the options that say which model answers, where it may run, and how."""
    add_model_options(parser)
    add_options(parser, CONSTRAINT_OPTIONS)


def task_of(
    arguments: argparse.Namespace,
    input_type: type[In],
    output_type: type[Out],
    *,
    name: str,
    guidance: str = "",
    examples: Sequence[tuple[In, Out]] = (),
) -> LlmTask[In, Out]:
    """Return the task that a magic's model options (`add_task_options`) stand for."""
    model_id: str = settings.default_model() if arguments.model is None else arguments.model
    config = LmLiteModelConfig(
        model_id,
        revision=arguments.revision,
        max_model_len=arguments.max_model_len,
        max_model_concurrency=arguments.max_concurrency,
    )
    block = block_type(arguments.runtime)(
        [config],
        arguments.provider,
        endpoint=arguments.endpoint,
        api_key_env=arguments.api_key_env,
        constraint=_constraint(arguments),
        replicas=arguments.replicas,
        gpu=arguments.gpu,
        gpu_count=arguments.gpu_count,
        tensor_parallel=arguments.tensor_parallel,
        image=arguments.image,
        max_usd=arguments.max_usd,
    )
    return block.task(
        input_type,
        output_type,
        model_id=model_id,
        guidance=guidance,
        examples=examples,
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        seed=arguments.seed,
        on_length=arguments.on_length,
        confidence=arguments.confidence,
        name=name,
    )


def _constraint(arguments: argparse.Namespace) -> DeploymentConstraint | None:
    """Return what the line accepts of the compute, None where it says nothing of it."""
    constraint = DeploymentConstraint(
        **{option.name: getattr(arguments, option.name) for option in CONSTRAINT_OPTIONS}
    )
    return None if constraint == DeploymentConstraint() else constraint
