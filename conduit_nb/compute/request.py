"""What a user wants to have running: models, in which runtime, on whose compute, how long.

The fields here, of a model's configuration and of a constraint are the only declaration of the
options of a deployment: shell, cell, panel, HTTP and Python read them with `parse`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypedDict, cast

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.names import Availability, ComputeProvider
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import (
    LmLiteModelConfig,
    WeightQuantization,
    require_one_model,
)
from conduit_nb.options import Option, option, options_in, options_of, read_options

LMLITE = "lmlite"
ANY = "any"
"""The provider that stands for the best offering of all."""
MAX_REPLICAS = 100
MAX_MODELS = 32
S_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many nodes serve a deployment: as many as the queue asks for, within these bounds."""

    min: int = 1
    max: int = 1

    def __post_init__(self) -> None:
        low, high = _REPLICAS.read((self.min, self.max))
        if high > MAX_REPLICAS:
            raise ArgumentError(
                f"replicas must be at most {MAX_REPLICAS} (got {high}).",
                param="replicas",
                hint="Deploy it twice, under two names.",
            )
        object.__setattr__(self, "min", low)
        object.__setattr__(self, "max", high)

    def __str__(self) -> str:
        return f"{self.min}-{self.max}" if self.max > self.min else f"{self.min}"


_REPLICAS = Option(name="replicas", kind="range", help="")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequest:
    """One thing to have running; requests with the same `identity` share one deployment.

    `provider` None (written "any") takes the best offering of any that can start it; without `gpu`
    and `gpu_count` the plan decides. In `command`, `{port}` and `{model}` are put in; where a
    runtime or a provider would not follow it, it is refused.
    `max_usd`, `hours`, `idle_s` and `name` bound or name a deployment, and are no part of what it
    is.

    Raises ArgumentError, with `param`, where a value is not valid.
    """

    models: tuple[LmLiteModelConfig, ...] = ()
    runtime: str = option(
        LMLITE,
        "Model server: lmlite, vllm, tensorrt or custom.",
        metavar="NAME",
        is_basic=True,
    )
    runtime_version: str | None = option(
        None, "Version of the runtime (default: the tested one).", metavar="VERSION"
    )
    provider: str | None = option(
        ComputeProvider.LOCAL.value,
        "Where to run: local, docker, runpod, or `any` for the best offering of all.",
        metavar="NAME",
        aliases=("compute_provider",),
        any_word=ANY,
        is_basic=True,
    )
    gpu: str | None = option(
        None, "GPU to run on, e.g. L40S, 'H100 SXM', 'A100 80GB'.", metavar="NAME", is_basic=True
    )
    gpu_count: int | None = option(None, "GPUs in a node.", kind="count", metavar="N")
    tensor_parallel: int = option(1, "Devices that share every layer.", kind="count", metavar="N")
    pipeline_parallel: int = option(
        1, "Stages of layers, one after the other.", kind="count", metavar="N"
    )
    replicas: Replicas = field(
        default=Replicas(),
        metadata={
            "option": Option(
                name="replicas",
                kind="range",
                help="Number of nodes, or the smallest and the largest number: 1-4.",
                metavar="N|N-N",
                default=Replicas(),
            )
        },
    )
    image: str | None = option(None, "Container image instead of the runtime's.", metavar="IMAGE")
    command: tuple[str, ...] = option(
        (),
        "Command to start in the image, with {port} and {model}.",
        kind="command",
        metavar="'PROGRAM …'",
    )
    constraint: DeploymentConstraint = field(default_factory=DeploymentConstraint)
    max_usd: float | None = option(
        None,
        "Spending limit of this deployment, instead of CONDUIT_MAX_USD_PER_DEPLOYMENT.",
        kind="usd",
        metavar="USD",
        is_basic=True,
    )
    hours: float | None = option(
        None,
        "Lease: the deployment ends by itself after this time unless it is extended.",
        kind="hours",
        metavar="H",
        is_basic=True,
    )
    idle_s: float | None = option(
        None,
        "End a node that idles this long (default: CONDUIT_IDLE_S).",
        kind="seconds",
        metavar="S",
    )
    name: str | None = option(None, "Name of the deployment, for other commands.", metavar="NAME")

    def __post_init__(self) -> None:
        for name, one in options_in(type(self)).items():
            value = getattr(self, name)
            if name == "replicas" and not isinstance(value, Replicas):
                value = Replicas(*one.read(value))
            elif value is not None and not isinstance(value, Replicas):
                value = one.read(value)
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Self:
        """Return the request that a user's options stand for, as texts or typed.

        `models` are ids, folders or configurations, one or a list of them; the options of a model
        (`max_model_len`, …) hold for those that are named by id. The options of a constraint stand
        beside the others, or in `constraint`. What is left out, or None, has its default.
        Raises ArgumentError, with `param`, for what is unknown or not valid.
        """
        given = read_options(deployment_options(), values, others=("models", "constraint"))
        own = options_in(cls)
        chosen = {
            name: given[one.name]
            for name, one in own.items()
            if one.name in given and name != "replicas"
        }
        if "replicas" in given:
            chosen["replicas"] = Replicas(*given["replicas"])
        of_model = _fields_of(LmLiteModelConfig, given)
        of_constraint = _fields_of(DeploymentConstraint, given)
        return cls(
            models=_models(values.get("models"), of_model),
            constraint=replace(_constraint(values.get("constraint")), **of_constraint),
            **chosen,
        )

    @property
    def lease_s(self) -> float | None:
        """Return the lease in seconds; None is the default of the settings."""
        return None if self.hours is None else self.hours * S_PER_HOUR

    @property
    def is_shared(self) -> bool:
        """Say whether the local server that all kernels of this user share is what is meant.

        It loads models on demand, so which models are asked for does not matter; what a constraint
        says of this machine is checked where the request is made.
        """
        plain = DeploymentRequest(models=self.models, constraint=self.constraint)
        return self.identity() == plain.identity()

    def identity(self) -> str:
        """Return everything that tells this deployment from another, as one line of JSON.

        The constraint's choice of providers counts, like all of it: it says what is accepted.
        """
        what = self.to_dict()
        for name in _NOT_IDENTITY:
            what.pop(name, None)
        what["models"] = sorted(what.get("models", ()), key=lambda model: model["model_id"])
        return json.dumps(what, sort_keys=True, separators=(",", ":"))

    def differences(self, other: DeploymentRequest) -> tuple[str, ...]:
        """Return the names of the fields by which two requests are not the same deployment."""
        return tuple(
            one.name
            for one in fields(self)
            if one.name not in _NOT_IDENTITY
            and _comparable(getattr(self, one.name)) != _comparable(getattr(other, one.name))
        )

    def compared(self, other: DeploymentRequest) -> dict[str, tuple[str, str]]:
        """Return by option in what two requests differ: what this one has, and the other."""
        return {
            name: (_shown(getattr(self, name), name), _shown(getattr(other, name), name))
            for name in self.differences(other)
        }

    def bounds(self) -> tuple[str, ...]:
        """Return the names of the options that are given, and are no part of what it is."""
        return tuple(name for name in _NOT_IDENTITY if getattr(self, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the request as plain JSON values, without what has its default."""
        return {
            one.name: _plain(one.name, getattr(self, one.name))
            for one in fields(self)
            if getattr(self, one.name) != getattr(_DEFAULTS, one.name)
        }

    def to_json(self) -> str:
        """Return the request as it is stored."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` has written, or an earlier version of Conduit."""
        stored: dict[str, Any] = json.loads(text) if text else {}
        if "lease_s" in stored:  # version 0.1 wrote every field
            stored = _of_version_0_1(stored)
        return cls.parse(stored)


class ComputeOptions(TypedDict, total=False):
    """The options of a block's deployment as keywords, for type checkers: see DeploymentRequest."""

    runtime_version: str | None
    gpu: str | None
    gpu_count: int | None
    tensor_parallel: int
    pipeline_parallel: int
    replicas: int | str | tuple[int, int] | Replicas
    image: str | None
    command: str | Sequence[str]
    max_usd: float | None
    hours: float | None
    idle_s: float | None
    constraint: DeploymentConstraint | None
    revision: str | None
    dtype: str
    quantization: WeightQuantization | None
    max_model_len: int | None
    max_concurrency: int | None
    enterprise: bool
    single_device: bool
    max_usd_per_hour: float | None
    regions: str | Sequence[str] | None
    providers: str | Sequence[str] | None
    min_availability: Availability | None
    interruptible: bool | None


class DeploymentOptions(ComputeOptions, total=False):
    """The options of a deployment as keywords, for type checkers: see DeploymentRequest."""

    runtime: str
    provider: str | None
    name: str | None


def deployment_options() -> tuple[Option, ...]:
    """Return every option of a deployment: its own, of its models, of its constraint."""
    return options_of(DeploymentRequest, LmLiteModelConfig, DeploymentConstraint)


_NOT_IDENTITY = ("max_usd", "hours", "idle_s", "name")
_DEFAULTS = DeploymentRequest()


def _fields_of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[one.name] for name, one in options_in(kind).items() if one.name in given}


def _models(given: object, options: Mapping[str, Any]) -> tuple[LmLiteModelConfig, ...]:
    several: Any = () if given is None else given
    if isinstance(several, str | LmLiteModelConfig | Mapping):
        several = (given,)
    if not isinstance(several, Iterable):
        raise _no_model(given)
    found = tuple(_model(one, options) for one in cast("Iterable[object]", several))
    if len(found) > MAX_MODELS:
        raise ArgumentError(
            f"models must be at most {MAX_MODELS} (got {len(found)}).",
            param="models",
            hint="Deploy them in groups.",
        )
    require_one_model(len(found), options.get("revision"))
    return found


def _model(given: Any, options: Mapping[str, Any]) -> LmLiteModelConfig:
    if isinstance(given, LmLiteModelConfig):
        if options:
            raise ArgumentError(
                f"{next(iter(options))} applies to models that are named by id.",
                param=next(iter(options)),
                hint=f"Set it in the configuration of {given.model_id}.",
            )
        return given
    if isinstance(given, str):
        return LmLiteModelConfig(given, **options)
    if isinstance(given, Mapping):
        stored = dict(cast("Mapping[str, Any]", given))
        known = {one.name for one in fields(LmLiteModelConfig)}
        if isinstance(stored.get("model_id"), str) and stored.keys() <= known:
            return LmLiteModelConfig(**stored)
    raise _no_model(given)


def _no_model(given: Any) -> ArgumentError:
    return ArgumentError(
        f"models must be model ids or folders (got {given!r:.80}).",
        param="models",
        hint="Name an id, owner/name, or a folder; or a list of them.",
    )


def _constraint(given: object) -> DeploymentConstraint:
    if given is None:
        return DeploymentConstraint()
    if isinstance(given, DeploymentConstraint):
        return given
    if isinstance(given, Mapping):
        values = cast("Mapping[str, object]", given)
        read = read_options(options_of(DeploymentConstraint), values)
        return DeploymentConstraint(**_fields_of(DeploymentConstraint, read))
    raise ArgumentError(
        f"constraint must be a DeploymentConstraint (got {given!r:.80}).",
        param="constraint",
        hint="Write DeploymentConstraint(max_usd_per_hour=…, regions=…).",
    )


def _shown(value: object, name: str) -> str:
    plain = _plain(name, value)
    if plain is None:
        return "not set"
    return plain if isinstance(plain, str) else json.dumps(plain)


def _comparable(value: object) -> object:
    if isinstance(value, tuple):
        several = cast("tuple[object, ...]", value)
        configs = [one for one in several if isinstance(one, LmLiteModelConfig)]
        return sorted(configs, key=lambda one: one.model_id) or several
    return value


def _plain(name: str, value: Any) -> Any:
    if name == "provider" and value is None:
        return ANY
    if isinstance(value, Replicas):
        return str(value)
    if isinstance(value, DeploymentConstraint):
        return _without_defaults(value)
    if name == "models":
        return [_without_defaults(model) for model in value]
    return _listed(value)


def _listed(value: object) -> object:
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value


def _without_defaults(value: Any) -> dict[str, Any]:
    return {
        one.name: _listed(found)
        for one in fields(value)
        if (found := getattr(value, one.name)) != one.default
    }


def _of_version_0_1(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a request that version 0.1 has stored in today's form."""
    bounds = stored.pop("replicas")
    lease_s = stored.pop("lease_s")
    return {
        **stored,
        "provider": stored["provider"] or ANY,
        "replicas": (bounds["least"], bounds["most"]),
        "hours": None if lease_s is None else lease_s / S_PER_HOUR,
    }
