"""Checks of what blocks are made of and called with.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from conduit_nb import plugins
from conduit_nb.blocks.ports import Port, snapshots
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.judging import KNOBS, terms_reasons
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.offerings import terms_of
from conduit_nb.errors import ArgumentError, SchemaError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Message
from conduit_nb.schemas.shapes import Bytes, Choice, Shape, Str, Union

Number = TypeVar("Number", int, float)


class _Checks(Protocol):
    """What of a runtime is asked here: runtimes stand beside blocks, and are found by name."""

    def check(self, models: Sequence[LmLiteModelConfig]) -> None: ...


ROLES = ("system", "user", "assistant")


def require_positive(name: str, value: Number) -> Number:
    """Return `value`; ArgumentError where it is no number above 0."""
    given: Any = value
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 2**53:
        raise ArgumentError(
            f"{name}={value!r} is not a number above 0.",
            param=name,
            hint=f"Give {name} as a plain number.",
        )
    return value


def require_text_field(block: str, port: Port, field: str, *, or_bytes: bool = False) -> None:
    """Raise SchemaError unless every record that goes into the block has text in `field`."""
    wanted = "str or bytes" if or_bytes else "str"
    for schema in port.schemas:
        shape = schema.fields.get(field)
        if shape is None:
            raise SchemaError(
                f"{schema.name} has no field {field!r}, which {block} reads.",
                hint=f"Add `{field}: {wanted}` to {schema.name}.",
            )
        if not _is_text(shape, or_bytes=or_bytes):
            raise SchemaError(
                f"{block} reads {field!r}, and in {schema.name} that is no {wanted}.",
                path=f"$.{field}",
                hint=f"Declare it as `{field}: {wanted}`.",
            )


def require_provider(provider: str | None) -> None:
    """Raise ArgumentError, with the names that are known, where no provider is called that."""
    if provider in (ComputeProvider.LOCAL, None):  # always there, and looking is not free
        return
    names = plugins.registered_names("conduit_nb.providers")
    if provider not in names:
        raise ArgumentError(
            f"compute_provider={provider!r} is not known.",
            param="compute_provider",
            hint=f"Use one of these: {', '.join(names)}; or give endpoint=URL.",
        )


def require_served(runtime: str, models: Sequence[LmLiteModelConfig]) -> None:
    """Raise ArgumentError where the runtime is not known, or lacks what a model's config asks."""
    registered = plugins.load_registered("conduit_nb.runtimes", runtime, kind="runtime")
    cast("Callable[[], _Checks]", registered)().check(models)


def require_within(constraint: DeploymentConstraint, provider: str | None) -> None:
    """Raise ArgumentError where nothing of the provider is within the constraint.

    Of this machine all is known; of others their name, until there is an offering to judge.
    """
    if constraint == DeploymentConstraint():
        return
    if provider == ComputeProvider.LOCAL:
        here = terms_of(provider, None, "high", False, False, True)
        found = terms_reasons(here, constraint, only_launchable=True)
        reasons, knobs = [str(one) for one in found], [KNOBS[one.code] for one in found]
    else:
        allowed = provider is None or provider in (constraint.providers or (provider,))
        reasons = [] if allowed else [f"{provider} is not among the providers"]
        knobs = [KNOBS["provider"]]
    if reasons:
        raise ArgumentError(
            f"constraint= rules out {provider}: {'; '.join(reasons)}.",
            param="constraint",
            hint=f"Choose another compute_provider, or {'; '.join(knobs)}.",
        )


def require_models(
    models: Sequence[LmLiteModelConfig | str],
) -> tuple[LmLiteModelConfig | str, ...]:
    """Return what a block may ask.

    Raises ArgumentError where there is none, one twice, or something else.
    """
    given: Any = models
    if isinstance(given, str | LmLiteModelConfig):
        raise ArgumentError(
            f"models={given!r} is one model, not a list.",
            param="models",
            hint="Put it into brackets: models=[…].",
        )
    found: list[LmLiteModelConfig | str] = []
    for one in given:
        if not isinstance(one, str | LmLiteModelConfig):
            raise ArgumentError(
                f"models= holds {one!r}, which is no model.",
                param="models",
                hint="Give an id, or LmLiteModelConfig(id, …) where there is more to say.",
            )
        found.append(one)
    configs = (LmLiteModelConfig(one) if isinstance(one, str) else one for one in found)
    ids = [one.model_id for one in configs]
    doubled = [one for one in ids if ids.count(one) > 1]
    if doubled or not found:
        raise ArgumentError(
            f"models= names {doubled[0]!r} twice." if doubled else "models= is empty.",
            param="models",
            hint="Give one LmLiteModelConfig for each model.",
        )
    return tuple(found)


def require_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages of a chat; ArgumentError where one is none, or there are none."""
    given: Any = messages
    for message in given:
        if (
            not isinstance(message, dict)
            or message.get("role") not in ROLES  # pyright: ignore[reportUnknownMemberType]  # checked right here
            or not isinstance(message.get("content"), str)  # pyright: ignore[reportUnknownMemberType]  # the same
        ):
            raise ArgumentError(
                f"messages= holds {message!r}, which is no message.",
                param="messages",
                hint='Write messages=[{"role": "user", "content": "…"}]; '
                f"roles are {', '.join(ROLES)}.",
            )
    if not given:
        raise ArgumentError(
            "messages= is empty.", param="messages", hint="Give at least one message."
        )
    return tuple(snapshots(messages))


def _is_text(shape: Shape, *, or_bytes: bool) -> bool:
    match shape:
        case Str():
            return True
        case Choice(values=values):
            return all(isinstance(value, str) for value in values)
        case Bytes():
            return or_bytes
        case Union(members=members):
            return all(_is_text(member, or_bytes=or_bytes) for member in members)
        case _:
            return False
