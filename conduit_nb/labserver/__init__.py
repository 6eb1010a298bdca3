"""Conduit in the Jupyter server: what JupyterLab's panels ask, answered by the session.

Layer 7.
"""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, str]]:  # pyright: ignore[reportUnusedFunction]  # Jupyter calls it by this name
    """Say to Jupyter which module it loads."""
    return [{"module": "conduit_nb.labserver.extension"}]
