"""Typed AI pipelines inside Jupyter: dataclasses in, schema-correct records out.

The public names, each loaded when it is first used, so that the import costs next to nothing;
and `%load_ext conduit_nb`. `conduit_nb.ps()` shows what runs, `%conduit help` what there is.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, which checkers know by its name; typing is slow

if TYPE_CHECKING:
    from typing import Any

    from IPython.core.interactiveshell import InteractiveShell

    from conduit_nb.blocks.base import Block
    from conduit_nb.blocks.files import FileSystemReadBlock, FileSystemWriteBlock
    from conduit_nb.blocks.http import HttpGetBlock, HttpPostBlock
    from conduit_nb.blocks.llm import CustomBlock, LMLiteBlock, TensorRtBlock, VllmBlock
    from conduit_nb.blocks.pipeline import Pipeline
    from conduit_nb.blocks.records import (
        CommandResult,
        FileReadResult,
        FileWriteResult,
        HttpResult,
        SqlResult,
    )
    from conduit_nb.blocks.shell import SystemCommandBlock
    from conduit_nb.blocks.sqlite import Sqlite3Block
    from conduit_nb.blocks.tasks import DetailedAnswer, LlmTask
    from conduit_nb.compute.accelerators import find_accelerator
    from conduit_nb.compute.constraints import DeploymentConstraint
    from conduit_nb.compute.detection import local_offerings
    from conduit_nb.compute.names import ComputeProvider
    from conduit_nb.compute.offerings import ComputeOffering
    from conduit_nb.compute.request import DeploymentRequest, Replicas
    from conduit_nb.compute.selection import calculate_best_compute_offering, rank_offerings
    from conduit_nb.errors import (
        ArgumentError,
        BlockError,
        BootError,
        ComputeError,
        ConduitError,
        ContextLengthError,
        CredentialsError,
        DeadlineError,
        DeploymentEndedError,
        DeploymentError,
        DoesNotFitError,
        EndpointAuthError,
        EndpointBusyError,
        EndpointError,
        EndpointTimeoutError,
        EndpointUnreachableError,
        Interrupted,
        MissingExtraError,
        ModelError,
        ModelFilesError,
        ModelNotFoundError,
        NearMatchError,
        NoCapacityError,
        NoOfferingError,
        PartlyFailedError,
        PipelineError,
        Problem,
        ProviderError,
        ReplyBudgetError,
        ReplyError,
        RequestRefusedError,
        RunError,
        SchemaError,
        ServerFailedError,
        SpendCapError,
        StateConflictError,
        StorageError,
        TruncatedError,
        UntrustedBlockError,
        ValidationError,
    )
    from conduit_nb.models.config import LmLiteModelConfig
    from conduit_nb.notebook.control import (
        list_models,
        load_model,
        logs,
        ps,
        stop,
        unload_model,
    )
    from conduit_nb.notebook.deploying import (
        cost,
        deploy,
        extend,
        restart,
        start,
        terminate,
    )
    from conduit_nb.notebook.doctor import doctor
    from conduit_nb.notebook.keeping import attach, cleanup
    from conduit_nb.notebook.planning import find_offerings, plan
    from conduit_nb.notebook.row_errors import errors
    from conduit_nb.schemas import (
        Length,
        Pattern,
        Range,
        Schema,
        decode,
        encode,
        json_schema,
        mdl,
        schema_of,
        validate,
    )
    from conduit_nb.schemas.partial import Partial

__all__ = [  # noqa: RUF022  # in the order of the alphabet, whatever the case
    "ArgumentError",
    "attach",
    "Block",
    "BlockError",
    "BootError",
    "calculate_best_compute_offering",
    "cleanup",
    "CommandResult",
    "ComputeError",
    "ComputeOffering",
    "ComputeProvider",
    "ConduitError",
    "ContextLengthError",
    "cost",
    "CredentialsError",
    "CustomBlock",
    "DeadlineError",
    "decode",
    "deploy",
    "DeploymentConstraint",
    "DeploymentEndedError",
    "DeploymentError",
    "DeploymentRequest",
    "DetailedAnswer",
    "doctor",
    "DoesNotFitError",
    "encode",
    "EndpointAuthError",
    "EndpointBusyError",
    "EndpointError",
    "EndpointTimeoutError",
    "EndpointUnreachableError",
    "errors",
    "extend",
    "FileReadResult",
    "FileSystemReadBlock",
    "FileSystemWriteBlock",
    "FileWriteResult",
    "find_accelerator",
    "find_offerings",
    "HttpGetBlock",
    "HttpPostBlock",
    "HttpResult",
    "Interrupted",
    "json_schema",
    "Length",
    "list_models",
    "LlmTask",
    "LMLiteBlock",
    "LmLiteModelConfig",
    "load_model",
    "local_offerings",
    "logs",
    "mdl",
    "MissingExtraError",
    "ModelError",
    "ModelFilesError",
    "ModelNotFoundError",
    "NearMatchError",
    "NoCapacityError",
    "NoOfferingError",
    "Partial",
    "PartlyFailedError",
    "Pattern",
    "Pipeline",
    "PipelineError",
    "plan",
    "Problem",
    "ProviderError",
    "ps",
    "Range",
    "rank_offerings",
    "Replicas",
    "ReplyBudgetError",
    "ReplyError",
    "RequestRefusedError",
    "restart",
    "RunError",
    "Schema",
    "schema_of",
    "SchemaError",
    "ServerFailedError",
    "SpendCapError",
    "Sqlite3Block",
    "SqlResult",
    "start",
    "StateConflictError",
    "stop",
    "StorageError",
    "SystemCommandBlock",
    "TensorRtBlock",
    "terminate",
    "TruncatedError",
    "unload_model",
    "UntrustedBlockError",
    "validate",
    "ValidationError",
    "VllmBlock",
]

_HOMES = {
    "conduit_nb.blocks.base": ("Block",),
    "conduit_nb.blocks.files": ("FileSystemReadBlock", "FileSystemWriteBlock"),
    "conduit_nb.blocks.http": ("HttpGetBlock", "HttpPostBlock"),
    "conduit_nb.blocks.pipeline": ("Pipeline",),
    "conduit_nb.blocks.records": (
        "CommandResult",
        "FileReadResult",
        "FileWriteResult",
        "HttpResult",
        "SqlResult",
    ),
    "conduit_nb.blocks.llm": (
        "CustomBlock",
        "LMLiteBlock",
        "TensorRtBlock",
        "VllmBlock",
    ),
    "conduit_nb.blocks.shell": ("SystemCommandBlock",),
    "conduit_nb.blocks.sqlite": ("Sqlite3Block",),
    "conduit_nb.blocks.tasks": ("DetailedAnswer", "LlmTask"),
    "conduit_nb.compute.accelerators": ("find_accelerator",),
    "conduit_nb.compute.constraints": ("DeploymentConstraint",),
    "conduit_nb.compute.detection": ("local_offerings",),
    "conduit_nb.compute.names": ("ComputeProvider",),
    "conduit_nb.compute.offerings": ("ComputeOffering",),
    "conduit_nb.compute.request": ("DeploymentRequest", "Replicas"),
    "conduit_nb.compute.selection": ("calculate_best_compute_offering", "rank_offerings"),
    "conduit_nb.errors": (
        "ArgumentError",
        "BlockError",
        "BootError",
        "ComputeError",
        "ConduitError",
        "ContextLengthError",
        "CredentialsError",
        "DeadlineError",
        "DeploymentEndedError",
        "DeploymentError",
        "DoesNotFitError",
        "EndpointAuthError",
        "EndpointBusyError",
        "EndpointError",
        "EndpointTimeoutError",
        "EndpointUnreachableError",
        "Interrupted",
        "MissingExtraError",
        "ModelError",
        "ModelFilesError",
        "ModelNotFoundError",
        "NearMatchError",
        "NoCapacityError",
        "NoOfferingError",
        "PartlyFailedError",
        "PipelineError",
        "Problem",
        "ProviderError",
        "ReplyBudgetError",
        "ReplyError",
        "RequestRefusedError",
        "RunError",
        "SchemaError",
        "ServerFailedError",
        "SpendCapError",
        "StateConflictError",
        "StorageError",
        "TruncatedError",
        "UntrustedBlockError",
        "ValidationError",
    ),
    "conduit_nb.models.config": ("LmLiteModelConfig",),
    "conduit_nb.notebook.control": (
        "list_models",
        "load_model",
        "logs",
        "ps",
        "stop",
        "unload_model",
    ),
    "conduit_nb.notebook.deploying": (
        "cost",
        "deploy",
        "extend",
        "restart",
        "start",
        "terminate",
    ),
    "conduit_nb.notebook.doctor": ("doctor",),
    "conduit_nb.notebook.keeping": ("attach", "cleanup"),
    "conduit_nb.notebook.planning": ("find_offerings", "plan"),
    "conduit_nb.schemas": (
        "Length",
        "Pattern",
        "Range",
        "Schema",
        "decode",
        "encode",
        "json_schema",
        "mdl",
        "schema_of",
        "validate",
    ),
    "conduit_nb.schemas.partial": ("Partial",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # checkers are to know the names above, and no others

    def __getattr__(name: str) -> Any:
        """Load a public name from the module where it lives."""
        if name == "errors":  # a module of that name, which can be called
            return import_module("conduit_nb.errors")
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_meant(name)}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def _meant(name: str) -> str:
    if name.startswith("_"):  # asked by Python itself, all the time
        return ""
    if name in ("schema", "block", "map", "pipeline"):
        cure = "in Python, LMLiteBlock([model]).task(In, Out) answers records and .batch many"
        return f": it is the word of a cell, %%conduit {name}; {cure}"
    meant = import_module("conduit_nb.spelling").nearest(name, _HOME)
    return f". {meant}" if meant else ""


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: InteractiveShell | None) -> None:
    """Carry out `%load_ext conduit_nb`."""
    import_module("conduit_nb.notebook.magics").load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Carry out `%unload_ext conduit_nb`."""
    import_module("conduit_nb.notebook.magics").unload(ipython)
