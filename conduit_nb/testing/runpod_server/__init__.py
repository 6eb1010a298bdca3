"""A local server that speaks Runpod's REST v2, for tests: a real socket, the real wire format.

Layer 6. Needs the extra `conduit-nb[testing]` (starlette, uvicorn).
"""

from conduit_nb.testing.runpod_server.containers import Container, ContainerHandle, Processes
from conduit_nb.testing.runpod_server.faults import HOSTILE_KINDS, Behaviour, Fault, hostile
from conduit_nb.testing.runpod_server.server import RunpodServer, runpod_server
from conduit_nb.testing.runpod_server.stock import CpuType, DataCenter, GpuType, Machine, Stock

__all__ = [
    "HOSTILE_KINDS",
    "Behaviour",
    "Container",
    "ContainerHandle",
    "CpuType",
    "DataCenter",
    "Fault",
    "GpuType",
    "Machine",
    "Processes",
    "RunpodServer",
    "Stock",
    "hostile",
    "runpod_server",
]
