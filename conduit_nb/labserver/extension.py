"""The Jupyter server extension: Jupyter calls `_load_jupyter_server_extension` when it starts.

Loads nothing of the state or the providers before somebody asks.
Layer 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conduit_nb.desk.desk import Desk
from conduit_nb.labserver.handlers import routes
from conduit_nb.session import process_session

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _load_jupyter_server_extension(server_app: ServerApp) -> None:  # pyright: ignore[reportUnusedFunction]  # Jupyter calls it by this name
    """Put our addresses beside the server's own."""
    session = process_session()
    desk = Desk(session)
    web_app = server_app.web_app
    web_app.add_handlers(".*$", routes(web_app.settings["base_url"], session, desk))
    server_app.log.info("Conduit answers JupyterLab's panels.")
