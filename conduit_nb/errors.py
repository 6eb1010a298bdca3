"""Every error that Conduit raises. A message says what happened, `hint` says what to do.

    ConduitError
    ├── SchemaError                 a dataclass cannot become a schema
    ├── ValidationError             a record or a text does not fit its schema
    ├── ArgumentError               an argument, option or setting is wrong
    ├── MissingExtraError           an optional dependency is not installed
    ├── CredentialsError            a file of a login cannot be read or is malformed
    ├── StorageError                no space, no permission, a broken file or state of ours
    ├── StateConflictError          another client has changed the state meanwhile (retryable)
    ├── PipelineError               blocks cannot be chained like that
    │   └── UntrustedBlockError     a block with effects inside a pipeline without trusted=True
    ├── BlockError                  a block failed: a bug in it, or a step without success
    ├── ModelError                  something is wrong with a model
    │   ├── ModelNotFoundError      the id names nothing that can be had from here
    │   ├── ModelFilesError         the files are broken, incomplete or of an unsafe kind
    │   └── ContextLengthError      more tokens than the model or the block allows
    ├── ComputeError                what is needed and what there is do not meet
    │   ├── NoOfferingError           no offering holds the plan within the constraint
    │   ├── PlanError                 a split that the model or the runtime does not allow
    │   └── DoesNotFitError           the device has less memory than the plan needs
    ├── EndpointError               a model server did not answer as it should
    │   ├── EndpointUnreachableError  no connection, or it broke (retryable)
    │   ├── EndpointTimeoutError      no answer in time (retryable)
    │   ├── DeadlineError             the request's own deadline has passed
    │   ├── EndpointBusyError         the server asks to come back later (retryable)
    │   ├── EndpointAuthError         the server refuses the key
    │   ├── RequestRefusedError       the server refuses this request
    │   │   └── ReplyBudgetError        not even the shortest record fits into its tokens
    │   └── ServerFailedError         the server failed inside (retryable)
    ├── ProviderError               a provider's API did not do what it was asked
    │   ├── ProviderUnreachableError  no connection, no answer in time, or it broke (retryable)
    │   ├── ProviderBusyError         it asks to come back later (retryable)
    │   ├── ProviderFailedError       it failed inside, or its answer makes no sense (retryable)
    │   ├── ProviderAuthError         it refuses the key
    │   │   └── ProviderKeyMissingError   there is no key
    │   ├── ProviderBalanceError      the account has no money left
    │   └── ProviderRefusedError      it refuses this request
    ├── ReplyError                  the model's reply cannot be used
    │   └── TruncatedError          it was cut by the token limit
    ├── DeploymentError             a deployment cannot be started, found or ended
    │   ├── BootError               its process ended or never became ready
    │   ├── DeploymentEndedError    somebody has ended it meanwhile
    │   ├── NearMatchError          the same models run, but with other options
    │   ├── NameTakenError          the provider has a node of that name already
    │   ├── NoCapacityError         the provider has no such node left (retryable)
    │   ├── PartlyFailedError       of several things some were done and some were not
    │   └── SpendCapError           it would cost more than the user allows
    ├── RunError                    a run over rows failed as a whole
    └── Interrupted                 the user stopped it; what was finished is kept

Layer 0: imports nothing of ours but how text is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Literal, Self

from conduit_nb.displayed import Displayed
from conduit_nb.plain_text import plain

LONGEST_LINE = 4_000


class _ErrorsModule(ModuleType):
    """This module, which can be called too: `conduit_nb.errors(verdicts)`."""

    def __call__(self, result: object) -> Any:
        """Return the errors of a map's result, by row: see conduit_nb/notebook/row_errors.py."""
        return import_module("conduit_nb.notebook.row_errors").errors(result)


sys.modules[__name__].__class__ = _ErrorsModule


class ConduitError(Exception, Displayed):
    """Base of every error: `str(err)` says what happened, `err.hint` what to do."""

    code: ClassVar[str] = "conduit"
    retryable: ClassVar[bool] = False
    line: int | None = None
    """The line of the cell where it happened, where that is known."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def at_line(self, line: int, source: str) -> Self:
        """Say in the message at which line of the cell it happened, and what stands there."""
        if self.line is None:
            self.line = line
            where = f", in `{source}`" if source else ""
            message = str(self).rstrip(".") if source else str(self)
            self.args = (f"line {line}: {message}{where}",)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep attributes through pickling: errors travel in DataFrames and between processes."""
        return (_rebuild, (type(self), self.args, self.__dict__))

    def _render_traceback_(self) -> list[str]:
        """Show the user two lines in a notebook, not our stack."""
        lines = [f"{type(self).__name__}: {self}", *([f"  {self.hint}"] if self.hint else [])]
        return [
            plain(line) if len(line) <= LONGEST_LINE else f"{plain(line[:LONGEST_LINE])}…"
            for line in lines
        ]


def _rebuild(
    kind: type[ConduitError], args: tuple[Any, ...], state: dict[str, Any]
) -> ConduitError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SchemaError(ConduitError):
    """A dataclass cannot become a schema; `path` names the field (`$.files[].size`)."""

    code = "schema"

    def __init__(self, message: str, *, path: str = "$", hint: str = "") -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


ProblemKind = Literal[
    "mismatch",
    "missing",
    "unexpected",
    "duplicate_key",
    "not_json",
    "too_deep",
    "circular",
    "raised",
    "redefined",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a record: where (`$.files[1].bytes`) and what.

    `kind` says for programs what: "mismatch" (another type or value than expected), "missing" or
    "unexpected" (a field), "duplicate_key", "not_json" (the text is not JSON, or JSON has no such
    value), "too_deep", "circular", "raised" (code of the class itself raised an exception) or
    "redefined" (a record of an earlier definition of its class).
    """

    path: str
    message: str
    kind: ProblemKind = "mismatch"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ValidationError(ConduitError):
    """A record or a text does not fit its schema; `problems` lists everything at once.

    `subject` says what does not fit, and `text` is what was read, where it was a text.
    """

    code = "validation"

    def __init__(
        self, problems: tuple[Problem, ...], *, subject: str = "record", text: str | None = None
    ) -> None:
        shown = "; ".join(str(problem) for problem in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        super().__init__(f"{subject} does not fit: {shown}{more}")
        self.problems = problems
        self.subject = subject
        self.text = text


class ArgumentError(ConduitError):
    """An argument, option or setting is wrong; the message names it and what it takes.

    `param` is its name in Python (`gpu_count`) or of the setting (`CONDUIT_MODEL`), where it is one
    alone that is wrong: a form marks its field with it.
    """

    code = "argument"

    def __init__(self, message: str, *, param: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class MissingExtraError(ConduitError):
    """An optional dependency is not installed; the hint is the command that installs it."""

    code = "missing_extra"


class CredentialsError(ConduitError):
    """A file that a login has written cannot be read or is malformed."""

    code = "credentials"


class StorageError(ConduitError):
    """No space, no permission, or a broken file of ours; nothing is left half-written.

    `ended` names nodes that were terminated all the same.
    """

    code = "storage"
    ended: tuple[str, ...] = ()


class StateConflictError(ConduitError):
    """Another client has changed a record of the state meanwhile, or was quicker to add it."""

    code = "state_conflict"
    retryable = True


class PipelineError(ConduitError):
    """Blocks cannot be chained like that."""

    code = "pipeline"


class UntrustedBlockError(PipelineError):
    """A block with effects stands in a pipeline without `trusted=True`."""

    code = "untrusted_block"


class BlockError(ConduitError):
    """A block raised something that is no ConduitError (it is the `__cause__`), or it gave a
    result without success to a block of a pipeline that cannot use one.
    """

    code = "block"


class ModelError(ConduitError):
    """Something is wrong with a model."""

    code = "model"


NotFoundReason = Literal["missing", "invalid", "access", "unreachable", "offline"]


class ModelNotFoundError(ModelError):
    """The id names nothing that can be had from here; the hint lists what can.

    `reason` says why, where that is known: "missing" (there is no such model, revision or folder),
    "invalid" (it is no id), "access" (the hub refuses the token, or wants one), "unreachable" (the
    hub or the package index) or "offline" (a setting forbids to ask). `available` are the ids that
    can be had without a network.
    """

    code = "model_not_found"

    def __init__(
        self,
        message: str,
        *,
        reason: NotFoundReason | None = None,
        available: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason: NotFoundReason | None = reason
        self.available = available


class ModelFilesError(ModelError):
    """A model's files are broken, incomplete or of an unsafe kind."""

    code = "model_files"


class ContextLengthError(ModelError):
    """More tokens than the model or the block allows."""

    code = "context_length"


class ComputeError(ConduitError):
    """What a model needs and what compute there is do not meet."""

    code = "compute"


class NoOfferingError(ComputeError):
    """No offering holds the plan within the constraint; `reasons` counts what speaks against them.

    `needed_gib` is what each device must have, `largest_gib` the most that any of them has.
    """

    code = "no_offering"

    def __init__(
        self,
        message: str,
        *,
        needed_gib: float,
        largest_gib: float,
        considered: int,
        reasons: Mapping[str, int],
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.needed_gib = needed_gib
        self.largest_gib = largest_gib
        self.considered = considered
        self.reasons = reasons


class PlanError(ComputeError):
    """A model or a runtime does not allow what a plan asks of it: a split, a device, a length.

    `param` names the argument to change (`tensor_parallel`), None where it is the model itself.
    """

    code = "plan"

    def __init__(self, message: str, *, param: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class DoesNotFitError(ComputeError):
    """A device has less memory than the plan needs of it, or cannot do what it must.

    `largest_model_len` and `largest_concurrency` would fit, each with the other as asked; None
    where not even the least does.
    """

    code = "does_not_fit"

    def __init__(
        self,
        message: str,
        *,
        needed_gib: float,
        available_gib: float,
        largest_model_len: int | None,
        largest_concurrency: int | None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.needed_gib, self.available_gib = needed_gib, available_gib
        self.largest_model_len, self.largest_concurrency = largest_model_len, largest_concurrency


class EndpointError(ConduitError):
    """A model server did not answer as it should; `status` is the HTTP status of an error."""

    code = "endpoint"
    status: int | None = None


class EndpointUnreachableError(EndpointError):
    """No connection to the server, or it broke."""

    code = "endpoint_unreachable"
    retryable = True


class EndpointTimeoutError(EndpointError):
    """The server did not answer in time."""

    code = "endpoint_timeout"
    retryable = True


class DeadlineError(EndpointError):
    """The reply was not finished by the deadline that the request set itself."""

    code = "deadline"


class EndpointBusyError(EndpointError):
    """The server asks to come back in `retry_after_s` seconds."""

    code = "endpoint_busy"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class EndpointAuthError(EndpointError):
    """The server refuses the key."""

    code = "endpoint_auth"


class RequestRefusedError(EndpointError):
    """The server refuses this request and would refuse it again.

    `param` names the field at fault (`messages[0].role`), where there is one.
    """

    code = "request_refused"

    def __init__(self, message: str, *, param: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class ReplyBudgetError(RequestRefusedError):
    """Not even the shortest record of the schema fits into the tokens that the reply may have.

    `needed_tokens` are what it takes, None where the server did not tell.
    """

    code = "reply_budget"
    needed_tokens: int | None = None


ServerFailure = Literal["stopping", "load", "step", "grammar", "ended"]


class ServerFailedError(EndpointError):
    """The server failed inside.

    `reason` says where, if the server is LmLite: it is "stopping", the "load" of the model failed,
    a "step" of it, the "grammar" of the reply, or the model's engine has "ended".
    """

    code = "server_failed"
    retryable = True

    def __init__(
        self, message: str, *, reason: ServerFailure | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason: ServerFailure | None = reason


class ProviderError(ConduitError):
    """A provider's API did not do what it was asked; the edge sets what its answer says.

    `may_have_arrived`: nobody knows whether the provider did what it was asked all the same.
    """

    code = "provider"
    status: int | None = None
    may_have_arrived: bool = False
    retry_after_s: float | None = None


class ProviderUnreachableError(ProviderError):
    """No connection, no answer in time, or it broke."""

    code = "provider_unreachable"
    retryable = True


class ProviderBusyError(ProviderError):
    """The provider asks to come back in `retry_after_s` seconds."""

    code = "provider_busy"
    retryable = True


class ProviderFailedError(ProviderError):
    """The provider failed inside, or its answer makes no sense."""

    code = "provider_failed"
    retryable = True


class ProviderAuthError(ProviderError):
    """The provider refuses the key, altogether or for this."""

    code = "provider_auth"


class ProviderKeyMissingError(ProviderAuthError):
    """There is no key for the provider: it was never set up here."""

    code = "provider_key_missing"


class ProviderBalanceError(ProviderError):
    """The account has no money left: nothing can be started there."""

    code = "provider_balance"


class ProviderRefusedError(ProviderError):
    """The provider refuses this request: a rule, no capacity, a thing that is gone."""

    code = "provider_refused"


class ReplyError(ConduitError):
    """A model's reply cannot be used; `text` is what it said."""

    code = "reply"

    def __init__(self, message: str, *, text: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text


class TruncatedError(ReplyError):
    """A reply was cut by the token limit; `partial` is the record that it was closed to, if any."""

    code = "truncated"
    partial: Any = None


class DeploymentError(ConduitError):
    """A deployment cannot be started, found or ended."""

    code = "deployment"


class BootError(DeploymentError):
    """A server's process ended or never became ready; the message has the log's last lines.

    `reason` says which: "exited" (with `exit_code`, where that is known; one below 0 is a signal),
    "gone", "failed" or "deadline". `log` are the last lines.
    """

    code = "boot"
    reason: str = "deadline"
    exit_code: int | None = None
    log: tuple[str, ...] = ()


class DeploymentEndedError(DeploymentError):
    """Somebody has ended the deployment, or a node of it, while it was worked on."""

    code = "deployment_ended"


class NameTakenError(DeploymentError):
    """The provider has a node of that name, which runs: nothing was created."""

    code = "name_taken"


class NearMatchError(DeploymentError):
    """A deployment of the same models runs with other options than those that are asked for.

    `name` is the deployment's; `differences` has by option what it has and what is asked for.
    """

    code = "near_match"

    def __init__(self, name: str, *, differences: Mapping[str, tuple[str, str]]) -> None:
        shown = ", ".join(
            f"{option} is {has} (requested: {asked})"
            for option, (has, asked) in differences.items()
        )
        super().__init__(
            f"{name} serves the same models with other options: {shown}.",
            hint=f"Use it with --on {name} (on={name!r} in Python), change the options, or deploy"
            " another one first with %conduit deploy.",
        )
        self.name = name
        self.differences = dict(differences)


class NoCapacityError(DeploymentError):
    """The provider has no node of that offering left; nothing was created."""

    code = "no_capacity"
    retryable = True


class PartlyFailedError(DeploymentError):
    """Of several things some were done and some were not.

    `done` names the former, `failures` has the errors of the latter by name. `usd_per_hour` is what
    is still billed because of them.
    """

    code = "partly_failed"

    def __init__(
        self,
        what: str,
        *,
        done: tuple[str, ...],
        failures: Mapping[str, ConduitError],
        usd_per_hour: float = 0.0,
        hint: str = "",
    ) -> None:
        failed = "; ".join(f"{name}: {str(error).rstrip('.')}" for name, error in failures.items())
        billed = f" Still billed: ${usd_per_hour:.2f}/h." if usd_per_hour > 0 else ""
        succeeded = f" Succeeded: {', '.join(done)}." if done else ""
        super().__init__(
            f"{what} failed for {len(failures)} of {len(failures) + len(done)}: {failed}."
            f"{billed}{succeeded}",
            hint=hint or next((error.hint for error in failures.values() if error.hint), ""),
        )
        self.done = done
        self.failures = dict(failures)
        self.usd_per_hour = usd_per_hour


class SpendCapError(DeploymentError):
    """It would cost more than the user allows; `left_usd` is what may still be spent.

    Where the day's cap is the limit, `held_by` has what each other deployment has spent of it, or
    may still spend, by its name.
    """

    code = "spend_cap"

    def __init__(
        self,
        message: str,
        *,
        left_usd: float,
        held_by: Mapping[str, float] | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.left_usd = left_usd
        self.held_by = dict(held_by or {})


class RunError(ConduitError):
    """A run over rows failed as a whole; every row keeps its own error."""

    code = "run"


class Interrupted(ConduitError):  # noqa: N818  # the word users know from the stop button
    """The user stopped it; what was finished is kept."""

    code = "interrupted"
