"""The wire of Runpod's REST v2, as far as the local server speaks it: its own typed models.

Answers are TypedDicts, so that the type checker sees a missing field; bodies of requests are
validated as strictly as the real API does (unknown fields are refused).
Layer 6.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NotRequired, TypedDict, cast

from pydantic_core import SchemaValidator, core_schema
from pydantic_core import ValidationError as CoreError
from starlette.exceptions import HTTPException

Cloud = Literal["SECURE", "COMMUNITY"]
Level = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
Status = Literal["PROVISIONING", "STARTING", "RUNNING", "EXITED", "ERROR", "TERMINATED"]
Action = Literal["start", "stop", "restart", "terminate"]
LogSource = Literal["container", "system"]
Bucket = Literal["hour", "day", "week", "month", "year"]
Region = Literal["NORTH_AMERICA", "SOUTH_AMERICA", "EUROPE", "ASIA", "OCEANIA"]


class Refused(HTTPException):
    """A request that is answered with a problem (RFC 9457)."""

    def __init__(self, status: int, detail: str, *errors: str, retry_after_s: int | None = None):
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        super().__init__(status, detail, headers)
        self.errors = errors


class CenterStock(TypedDict):
    """Stock of one thing in one data centre."""

    id: str
    name: str
    availability: Level


class CloudPrices(TypedDict):
    """USD per hour of one device."""

    secure: float
    community: float
    serverless: NotRequired[float]


class CloudCounts(TypedDict):
    """The most devices of one pod."""

    secure: int
    community: int


class CudaStock(TypedDict):
    """A CUDA version, and whether a machine with it is free."""

    version: str
    available: bool


class GpuTypeWire(TypedDict):
    """One GPU type of the catalogue; stock only where it was asked for."""

    id: str
    name: str
    pool: str | None
    manufacturer: str
    memory: int
    secure: bool
    community: bool
    price: CloudPrices
    maxCount: CloudCounts
    availability: NotRequired[Level]
    dataCenters: NotRequired[list[CenterStock]]
    cudaVersions: NotRequired[list[CudaStock]]


class VcpuReach(TypedDict):
    """The least and the most vCPUs of a pod."""

    min: int
    max: int


class CpuPrices(TypedDict):
    """USD per hour of one vCPU."""

    securePerVcpu: float
    serverlessPerVcpu: float


class CpuTypeWire(TypedDict):
    """One CPU type of the catalogue; stock only where it was asked for."""

    id: str
    name: str
    group: str
    vcpu: VcpuReach
    ramGbPerVcpu: float
    price: CpuPrices
    availability: NotRequired[Level]
    dataCenters: NotRequired[list[CenterStock]]


class CenterWire(TypedDict):
    """One data centre of the catalogue."""

    id: str
    name: str
    region: Region
    globalNetwork: bool
    networkVolumeTypes: list[str]
    compliance: list[str]
    gpuAvailability: NotRequired[list[CenterStock]]
    cpuAvailability: NotRequired[list[CenterStock]]


class GpuWish(TypedDict):
    """Which devices a new pod should have."""

    id: str
    count: NotRequired[int]
    allowedCudaVersions: NotRequired[list[str]]
    minCudaVersion: NotRequired[str]


class CpuWish(TypedDict):
    """Which vCPUs a new pod should have."""

    id: str
    vcpuCount: int


class PersistentMount(TypedDict):
    """Disk of the pod's host, in GB."""

    size: int
    path: str


class Mounts(TypedDict):
    """Storage of a pod."""

    persistent: NotRequired[PersistentMount]
    network: NotRequired[list[dict[str, str]]]


class ContainerChange(TypedDict):
    """The settings that an update names."""

    name: NotRequired[str]
    image: NotRequired[str]
    args: NotRequired[str]
    disk: NotRequired[int]
    env: NotRequired[dict[str, str]]
    ports: NotRequired[list[str]]
    registry: NotRequired[str | None]
    mounts: NotRequired[Mounts]
    globalNetworking: NotRequired[bool]
    locked: NotRequired[bool]
    templateId: NotRequired[str]


class CreatePod(ContainerChange):
    """What a create call asks for."""

    cloud: NotRequired[Cloud]
    gpu: NotRequired[GpuWish]
    cpu: NotRequired[CpuWish]
    dataCenterIds: NotRequired[list[str]]
    startJupyter: NotRequired[bool]
    startSsh: NotRequired[bool]


class PodGpu(TypedDict):
    """The devices of a pod."""

    id: str
    count: int


class PodCpu(TypedDict):
    """The vCPUs of a pod, and its memory in GB."""

    id: str
    vcpuCount: int
    memory: int


class RuntimePort(TypedDict):
    """Where a port of a pod that runs can be reached."""

    private: int
    public: int | None
    type: str
    ip: str | None


class Runtime(TypedDict):
    """What is known of a pod only while it runs; `uptime` in seconds."""

    uptime: int
    ports: NotRequired[list[RuntimePort]]


class Ssh(TypedDict):
    """Ways into a pod by SSH: none here."""

    proxy: None
    direct: None


class Networking(TypedDict):
    """Whether a pod has a private address across data centres."""

    enabled: bool


class PodWire(TypedDict):
    """One pod; `cost` is USD per hour, 0 while it is stopped."""

    id: str
    name: str
    image: str
    args: str
    disk: int
    ports: list[str]
    env: dict[str, str]
    registry: str | None
    status: Status
    actions: list[Action]
    mounts: Mounts
    gpu: NotRequired[PodGpu]
    cpu: NotRequired[PodCpu]
    cloud: Cloud
    dataCenterId: str | None
    cudaVersion: str | None
    ssh: Ssh
    template: None
    cost: float
    locked: bool
    globalNetworking: Networking
    runtime: Runtime | None
    createdAt: str
    startedAt: str | None


class Amounts(TypedDict):
    """USD, by what they were paid for."""

    totalAmount: float
    gpuAmount: float
    cpuAmount: float
    diskAmount: float


class PodBill(Amounts):
    """What one pod cost within one bucket."""

    startTime: str
    endTime: str
    podId: str


class BillQuery(TypedDict):
    """The query as it was understood."""

    startTime: str
    endTime: str
    bucketSize: Bucket
    podId: NotRequired[str | None]


class BillMetadata(TypedDict):
    """The query, and the sums of the records."""

    query: BillQuery
    recordCount: int
    uniquePodCount: int
    totals: Amounts


class PodBills(TypedDict):
    """The bills of pods."""

    records: list[PodBill]
    metadata: BillMetadata


def read_create(body: bytes) -> CreatePod:
    """Return the body of a create call; raise Refused (422) where it breaks the contract."""
    create = cast("CreatePod", _read(_CREATE, body))
    if "image" not in create and "templateId" not in create:
        raise Refused(422, "The request is not valid.", "$: image is missing")
    return create


def read_change(body: bytes) -> ContainerChange:
    """Return the body of an update."""
    return cast("ContainerChange", _read(_CHANGE, body))


def read_action(body: bytes) -> Action:
    """Return the action that is asked for."""
    return cast("Action", _read(_ACTION, body)["action"])


def _read(validator: SchemaValidator, body: bytes) -> dict[str, Any]:
    try:
        return validator.validate_python(json.loads(body))
    except (ValueError, RecursionError) as err:
        if not isinstance(err, CoreError):
            raise Refused(400, "The body is no JSON.") from err
        problems = [
            f"$.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in err.errors(include_url=False, include_input=False)
        ]
        raise Refused(422, "The request is not valid.", *problems) from err


def _object(
    required: dict[str, core_schema.CoreSchema], optional: dict[str, core_schema.CoreSchema]
) -> core_schema.CoreSchema:
    fields = {name: core_schema.typed_dict_field(one) for name, one in required.items()}
    fields |= {
        name: core_schema.typed_dict_field(one, required=False) for name, one in optional.items()
    }
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid", strict=True)


_TEXT = core_schema.str_schema(strict=True)
_SOME_TEXT = core_schema.str_schema(min_length=1, strict=True)
_TEXTS = core_schema.list_schema(_TEXT, strict=True)
_FLAG = core_schema.bool_schema(strict=True)
_VERSION = core_schema.str_schema(pattern=r"^\d+\.\d+$", strict=True)
_PERSISTENT = _object(
    {"size": core_schema.int_schema(ge=10, strict=True), "path": _TEXT},
    {},
)
_MOUNTS = _object(
    {},
    {
        "persistent": _PERSISTENT,
        "network": core_schema.list_schema(
            _object({"volumeId": _TEXT, "path": _TEXT}, {}), max_length=1, strict=True
        ),
    },
)
_GPU = _object(
    {"id": _TEXT},
    {
        "count": core_schema.int_schema(ge=1, strict=True),
        "allowedCudaVersions": core_schema.list_schema(_VERSION, strict=True),
        "minCudaVersion": _VERSION,
    },
)
_CPU = _object({"id": _SOME_TEXT, "vcpuCount": core_schema.int_schema(ge=2, strict=True)}, {})
_CONTAINER = {
    "args": _TEXT,
    "disk": core_schema.int_schema(ge=1, strict=True),
    "env": core_schema.dict_schema(_TEXT, _TEXT, strict=True),
    "image": _TEXT,
    "ports": _TEXTS,
    "registry": core_schema.nullable_schema(_TEXT),
    "mounts": _MOUNTS,
    "globalNetworking": _FLAG,
}
_CREATE = SchemaValidator(
    _object(
        {"name": _SOME_TEXT},
        {
            **_CONTAINER,
            "cloud": core_schema.literal_schema(["SECURE", "COMMUNITY"]),
            "gpu": _GPU,
            "cpu": _CPU,
            "dataCenterIds": _TEXTS,
            "startJupyter": _FLAG,
            "startSsh": _FLAG,
            "templateId": _SOME_TEXT,
        },
    )
)
_CHANGE = SchemaValidator(
    _object({}, {**_CONTAINER, "name": _SOME_TEXT, "locked": _FLAG, "templateId": _TEXT})
)
_ACTION = SchemaValidator(
    _object({"action": core_schema.literal_schema(["start", "stop", "restart", "terminate"])}, {})
)
