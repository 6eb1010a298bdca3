"""The seam to how our own things look: whoever is shown in a notebook asks the notebook part.

Layer 0: imports nothing of ours until something is shown.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Displayed:
    """Something that Jupyter shows by itself, wherever it stands last in a cell."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:  # noqa: ARG002  # Jupyter's protocol
        return import_module("conduit_nb.notebook.looks").bundle_of(self)
