"""`conduit_nb.ps()` and its like: what runs, in words that a script and a notebook share.

Knows no IPython, so that a script can use it.
Layer 7.
"""

from __future__ import annotations

from conduit_nb.deployments.info import DeploymentInfo, ServedModel
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.notebook.display import Table
from conduit_nb.notebook.keeping import unclaimed
from conduit_nb.session import process_session
from conduit_nb.units import require_within

MAX_LOG_LINES = 1_000_000


def ps(*, all_nodes: bool = False) -> Table[DeploymentInfo]:
    """Return what Conduit has started and what still runs; a notebook shows it as a table.

    Nodes of other installations in the same accounts come last; `attach` takes one over. Where
    nothing was ever deployed from here, providers are asked for them with `all_nodes` only.
    """
    listed = [*process_session().ps(), *unclaimed(all_nodes=all_nodes)]
    return Table(listed, empty="Nothing runs.")


def list_models() -> Table[ServedModel]:
    """Return the models that are loaded, and those that can be used without a network."""
    return Table(process_session().models(), empty="No model is loaded.")


def load_model(model: str | LmLiteModelConfig, *, replicas: int = 1) -> Table[ServedModel]:
    """Load a model into the local server before it is asked for; return what is loaded then.

    Each of several `replicas` goes on a device of its own. Raises DoesNotFitError where the memory
    budget has no room for it beside the models at work.
    """
    config = LmLiteModelConfig(model) if isinstance(model, str) else model
    process_session().load_model(config, replicas=replicas)
    return list_models()


def unload_model(model_id: str) -> Table[ServedModel]:
    """Free the memory of a loaded model; return what was unloaded. It must not be at work."""
    return Table(process_session().unload_model(model_id), empty="It was not loaded.")


def logs(name: str | None = None, *, tail: int = 100) -> list[str]:
    """Return the last `tail` lines that a server wrote; without a name, the local one."""
    require_within("tail", tail, 0, MAX_LOG_LINES)
    return process_session().logs(name, tail=tail)


def stop(name: str | None = None) -> Table[DeploymentInfo]:
    """End a server by its name, or "all"; without a name, the local one. Return what was ended."""
    return Table(process_session().stop(name), empty="Nothing ran.")
