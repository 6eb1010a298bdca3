"""A local server that speaks Runpod's REST v2, for tests: a real socket, the real wire format.

Layer 6. Needs the extra `conduit-nb[testing]` (starlette, uvicorn).
"""

from conduit_nb.testing.runpod_server.containers import Container, ContainerHandle, Processes
from conduit_nb.testing.runpod_server.faults import Behaviour, Fault
from conduit_nb.testing.runpod_server.server import RunpodServer, runpod_server
from conduit_nb.testing.runpod_server.stock import CpuType, DataCenter, GpuType, Machine, Stock

__all__ = [
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
    "runpod_server",
]
