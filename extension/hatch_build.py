"""Puts JupyterLab's part into the wheel, built from its sources or as it came in the sdist.

Without node it is left out with a warning (with CI=true that is a failure): all else works.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ExtensionHook(BuildHookInterface):
    """Hatchling's hook: it is called once for every wheel and every sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # Hatchling's protocol
        """Build the extension, and name its files where the wheel is to have them."""
        script = Path(self.root, "scripts/extension.py")
        specification = importlib.util.spec_from_file_location("extension", script)
        assert specification is not None
        assert specification.loader is not None
        extension = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(extension)
        try:
            extension.build_extension()
        except extension.ExtensionError as error:
            if extension.is_ci():
                raise
            self.app.display_warning(f"JupyterLab's part of Conduit is left out: {error}")
            return
        if self.target_name == "wheel":
            build_data["shared_data"] |= {
                "extension/labextension": extension.INSTALLED,
                "extension/install.json": f"{extension.INSTALLED}/install.json",
            }
