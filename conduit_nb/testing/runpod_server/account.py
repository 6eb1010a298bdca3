"""One account of the local Runpod server: its pods, what they do over time, what they cost.

Time is the clock that is passed in; pods come to where they should be whenever somebody looks.
Every public method may be called from any thread.
Layer 6.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from conduit_nb.errors import ConduitError
from conduit_nb.testing.runpod_server.billing import Ledger, disk_usd_per_hour
from conduit_nb.testing.runpod_server.containers import (
    Container,
    ContainerHandle,
    StartContainer,
    resolve_secrets,
)
from conduit_nb.testing.runpod_server.faults import Behaviour
from conduit_nb.testing.runpod_server.pods import ACTIONS, LogLine, Pod
from conduit_nb.testing.runpod_server.stock import Stock, meets_cuda
from conduit_nb.testing.runpod_server.wire import (
    Action,
    ContainerChange,
    CpuWish,
    CreatePod,
    GpuWish,
    PodWire,
    Refused,
)

NO_CAPACITY = "No machine is free for what this pod asks for; try again later."
NEEDS_NEW_CONTAINER = {"image", "args", "disk", "env", "ports", "registry", "mounts"}


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


class Account:
    """Pods and their bills. `api_url` is what containers are told; `key` is the account's own."""

    def __init__(
        self,
        *,
        stock: Stock,
        behaviour: Behaviour,
        key: str,
        clock: Callable[[], datetime] = utc_now,
        secrets: Mapping[str, str] | None = None,
        start_container: StartContainer | None = None,
    ) -> None:
        self.stock = stock
        self.behaviour = behaviour
        self.key = key
        self.ledger = Ledger()
        self.has_container_hook = start_container is not None
        self._clock = clock
        self._secrets = dict(secrets or {})
        self._start_container = start_container
        self._pods: dict[str, Pod] = {}
        self._lock = threading.RLock()
        self._ending = ThreadPoolExecutor(thread_name_prefix="end-container")

    def now(self) -> datetime:
        """Return the moment that it is."""
        return self._clock()

    def date(self) -> datetime:
        """Return the moment that the `Date` headers of its replies say, in UTC."""
        ahead = timedelta(seconds=self.behaviour.date_ahead_s)
        return self.now().astimezone(UTC) + ahead

    def close(self) -> None:
        """End every container, and return when all have ended."""
        with self._lock:
            for pod in self._pods.values():
                self._end_container(pod)
        self._ending.shutdown()

    def look(self) -> None:
        """Bring every pod to where it should be by now."""
        with self._lock:
            for pod in self._pods.values():
                self._advance(pod)

    def create(self, wish: CreatePod, *, pod_id: str | None = None) -> PodWire:
        """Make a pod; raise Refused where a rule, the stock or the balance speak against it.

        `pod_id` gives it a known id, for tests that restore the pods of an earlier account.
        """
        with self._lock:
            pod = self._place(wish)
            if pod_id is not None:
                assert pod_id not in self._pods, "ids are unique"
                pod.id = pod_id
            pod.apply(wish)
            _check_ports(pod)
            self._take(pod)
            self._pods[pod.id] = pod
            pod.enter("PROVISIONING", pod.created_at)
            return self._to_wire(pod)

    def pods(self) -> list[Pod]:
        """Return every pod that there ever was, as it is now: the truth, for tests."""
        with self._lock:
            self.look()
            return list(self._pods.values())

    def list_pods(self) -> list[PodWire]:
        """Return every pod, as the list knew them `list_lag_s` ago."""
        with self._lock:
            self.look()
            now = self.now()
            then = now - timedelta(seconds=self.behaviour.list_lag_s)
            return [
                self._to_wire(pod, as_before_its_end=True)
                for pod in self._pods.values()
                if pod.created_at <= then and (pod.gone_at is None or then < pod.gone_at)
            ]

    def get(self, pod_id: str) -> PodWire:
        """Return one pod; raise Refused (404) where there is none."""
        with self._lock:
            return self._to_wire(self.find(pod_id))

    def update(self, pod_id: str, change: ContainerChange) -> PodWire:
        """Change a pod's settings; a running container is started anew where it must be."""
        with self._lock:
            pod = self._living(pod_id)
            _check_mounts(pod, change)
            pod.apply(change)
            _check_ports(pod)
            if pod.status == "RUNNING" and NEEDS_NEW_CONTAINER & set(change):
                self._restart(pod)
            return self._to_wire(pod)

    def act(self, pod_id: str, action: Action) -> PodWire | None:
        """Do it and return the pod, None where it is terminated; Refused (409) where it may not."""
        with self._lock:
            pod = self._living(pod_id)
            if action not in ACTIONS[pod.status]:
                raise Refused(409, f"A pod that is {pod.status} takes no {action}.")
            if pod.locked and action in ("stop", "restart"):
                raise Refused(409, "The pod is locked.")
            if action == "terminate":
                self.remove(pod_id)
                return None
            {"start": self._start, "stop": self._stop, "restart": self._restart}[action](pod)
            return self._to_wire(pod)

    def remove(self, pod_id: str) -> None:
        """End a pod for ever, as `terminate` does and as a host that fails does."""
        with self._lock:
            pod, now = self._living(pod_id), self.now()
            self._give_back(pod)
            self._end_container(pod)
            self.ledger.end(pod.id, now)
            pod.gone_at, pod.last_status = now, pod.status
            pod.enter("TERMINATED", now)

    def run_out_of_money(self) -> None:
        """Stop every pod, and let nothing start from now on."""
        with self._lock:
            self.behaviour.has_balance = False
            for pod in self._pods.values():
                if pod.is_up:
                    self._stop(pod)

    def find(self, pod_id: str) -> Pod:
        """Return a pod as it is now, for a while also a terminated one; else Refused (404)."""
        with self._lock:
            pod = self._pods.get(pod_id)
            if pod is None or self._is_forgotten(pod):
                raise Refused(404, f"There is no pod {pod_id!r}.")
            self._advance(pod)
            return pod

    def pod_of_key(self, key: str) -> Pod | None:
        """Return the pod whose own key that is."""
        with self._lock:
            return next((pod for pod in self._pods.values() if pod.key == key), None)

    def log_lines(self, pod_id: str, begin: int) -> list[LogLine]:
        """Return the lines of a pod's log from that place on."""
        with self._lock:
            return self._pods[pod_id].log[begin:]

    def is_gone(self, pod_id: str) -> bool:
        """Say whether the pod has ended for ever."""
        with self._lock:
            return self._pods[pod_id].gone_at is not None

    def billing_pods(self) -> list[str]:
        """Return the ids of the pods that cost something now."""
        with self._lock:
            return sorted({span.pod_id for span in self.ledger.spans if span.end is None})

    def _to_wire(self, pod: Pod, *, as_before_its_end: bool = False) -> PodWire:
        wire = pod.to_wire(self.now(), as_before_its_end=as_before_its_end)
        if self.behaviour.is_price_hidden:
            wire["cost"] = 0.0
        return wire

    def _is_forgotten(self, pod: Pod) -> bool:
        known = timedelta(seconds=self.behaviour.terminated_s)
        return pod.gone_at is not None and self.now() >= pod.gone_at + known

    def _living(self, pod_id: str) -> Pod:
        pod = self.find(pod_id)
        if pod.gone_at is not None:
            raise Refused(404, f"There is no pod {pod_id!r} any more.")
        return pod

    def _place(self, wish: CreatePod) -> Pod:
        """Return a new pod on a machine that can hold it."""
        if "templateId" in wish:
            raise Refused(404, f"There is no template {wish['templateId']!r}.")
        if wish.get("mounts", {}).get("network") is not None:
            raise Refused(400, "This account has no network volumes.")
        if ("gpu" in wish) == ("cpu" in wish):
            raise Refused(400, "Exactly one of gpu and cpu is given.")
        if not self.behaviour.has_balance:
            raise Refused(402, "The balance of the account is used up.")
        return self._place_gpu(wish, wish["gpu"]) if "gpu" in wish else self._place_cpu(wish)

    def _place_gpu(self, wish: CreatePod, gpu: GpuWish) -> Pod:
        cloud, count, now = wish.get("cloud", "SECURE"), gpu.get("count", 1), self.now()
        exactly, at_least = gpu.get("allowedCudaVersions", []), gpu.get("minCudaVersion")
        if exactly and at_least:
            raise Refused(400, "allowedCudaVersions and minCudaVersion exclude each other.")
        kind = self.stock.gpu(gpu["id"])
        if kind is None:
            raise Refused(400, f"There is no GPU type {gpu['id']!r}.")
        centers = wish.get("dataCenterIds") or [center.id for center in self.stock.centers]
        fitting = [
            machine
            for machine in self.stock.machines_of(kind.id, cloud)
            if machine.center in centers
            and machine.free >= count
            and meets_cuda(machine, exactly=exactly, at_least=at_least)
        ]
        if not fitting or kind.id in self.behaviour.sold_out:
            raise Refused(400, NO_CAPACITY)
        machine = min(fitting, key=lambda one: (centers.index(one.center), one.free))
        return Pod(
            name=wish.get("name", ""),
            image=wish.get("image", ""),
            cloud=cloud,
            center=machine.center,
            usd_per_hour=kind.usd_per_hour(cloud) * count * self.behaviour.price_factor,
            created_at=now,
            since=now,
            gpu={"id": kind.id, "count": count},
            machine=machine,
        )

    def _place_cpu(self, wish: CreatePod) -> Pod:
        assert "cpu" in wish
        cpu: CpuWish = wish["cpu"]
        kind, vcpus, now = self.stock.cpu(cpu["id"]), cpu["vcpuCount"], self.now()
        if kind is None or not kind.least_vcpus <= vcpus <= kind.most_vcpus:
            raise Refused(400, f"There is no CPU type {cpu['id']!r} with {vcpus} vCPUs.")
        if vcpus & (vcpus - 1):
            raise Refused(400, f"vcpuCount {vcpus} is no power of two.")
        if "persistent" in wish.get("mounts", {}):
            raise Refused(400, "A CPU pod has no persistent mount.")
        wanted = wish.get("dataCenterIds") or kind.centers
        centers = [center for center in wanted if center in kind.centers]
        if not centers or wish.get("cloud") == "COMMUNITY" or kind.id in self.behaviour.sold_out:
            raise Refused(400, NO_CAPACITY)
        memory_gb = max(round(kind.ram_gb_per_vcpu * vcpus), 1)
        return Pod(
            name=wish.get("name", ""),
            image=wish.get("image", ""),
            cloud="SECURE",
            center=centers[0],
            usd_per_hour=kind.usd_per_vcpu * vcpus * self.behaviour.price_factor,
            created_at=now,
            since=now,
            cpu={"id": kind.id, "vcpuCount": vcpus, "memory": memory_gb},
        )

    def _take(self, pod: Pod) -> None:
        """Let the pod have its devices, and pay for them."""
        if pod.gpu is not None:
            assert pod.machine is not None
            pod.machine.used += pod.gpu["count"]
        device = "gpu" if pod.gpu is not None else "cpu"
        disk = disk_usd_per_hour(pod.total_disk_gb, is_running=True)
        self.ledger.begin(pod.id, {device: pod.usd_per_hour, "disk": disk}, self.now())

    def _give_back(self, pod: Pod) -> None:
        if pod.is_up and pod.gpu is not None and pod.machine is not None:
            pod.machine.used -= pod.gpu["count"]

    def _start(self, pod: Pod) -> None:
        if not self.behaviour.has_balance:
            raise Refused(402, "The balance of the account is used up.")
        if pod.gpu and pod.machine and pod.machine.free < pod.gpu["count"]:
            raise Refused(400, "The machine that this pod is tied to has no free devices.")
        self._take(pod)
        pod.enter("STARTING", self.now())
        self._launch(pod)

    def _stop(self, pod: Pod) -> None:
        self._give_back(pod)
        self._end_container(pod)
        disk = disk_usd_per_hour(pod.total_disk_gb, is_running=False)
        self.ledger.begin(pod.id, {"disk": disk}, self.now())
        pod.enter("EXITED", self.now())

    def _restart(self, pod: Pod) -> None:
        self._end_container(pod)
        pod.enter("STARTING", self.now())
        self._launch(pod)

    def _advance(self, pod: Pod) -> None:
        now, behaviour = self.now(), self.behaviour
        never = behaviour.never_boots
        is_stuck = never is not None and re.fullmatch(never, pod.name) is not None
        starting = pod.since + timedelta(seconds=behaviour.provisioning_s)
        if pod.status == "PROVISIONING" and now >= starting:
            pod.enter("STARTING", starting)
            if not is_stuck:
                self._launch(pod)
        running = pod.since + timedelta(seconds=behaviour.starting_s)
        if pod.status == "STARTING" and now >= running and not is_stuck:
            pod.started_at = running
            pod.enter("RUNNING", running)
        code = pod.container.exit_code() if pod.container is not None else None
        if code is not None and pod.is_up:
            self._exited(pod, code)

    def _exited(self, pod: Pod, code: int) -> None:
        pod.write("system", f"The container exited with code {code}.", self.now())
        pod.container = None
        if not self.behaviour.restarts_containers:
            self._stop(pod)
            return
        pod.restarts += 1
        pod.started_at = self.now()
        self._launch(pod)

    def _launch(self, pod: Pod) -> None:
        """Start the pod's container, where there is a hook for that."""
        if self._start_container is None:
            return
        env = {
            **resolve_secrets(pod.env, self._secrets),
            "RUNPOD_POD_ID": pod.id,
            "RUNPOD_API_KEY": pod.key,
        }

        def log(text: str) -> None:
            with self._lock:
                pod.write("container", text, self.now())

        container = Container(
            pod_id=pod.id,
            name=pod.name,
            image=pod.image,
            args=pod.args,
            env=env,
            ports=pod.published_ports(),
            log=log,
        )
        try:
            pod.container = self._start_container(container)
        except (OSError, ConduitError) as err:
            pod.write("system", f"The container cannot be started: {err}", self.now())
            self._stop(pod)
            pod.enter("ERROR", self.now())

    def _end_container(self, pod: Pod) -> None:
        """End it in the background: what asks for its own end still gets an answer."""
        container: ContainerHandle | None = pod.container
        pod.container = None
        if container is not None:
            self._ending.submit(container.stop)


def _check_ports(pod: Pod) -> None:
    for port in pod.ports:
        if not re.fullmatch(r"\d{1,5}/(http|tcp|udp)", port):
            raise Refused(400, f"{port!r} is no port: it is like 8000/http.")


def _check_mounts(pod: Pod, change: ContainerChange) -> None:
    new = change.get("mounts", {})
    if "network" in new or ("persistent" in new and "persistent" not in pod.mounts):
        raise Refused(400, "A mount cannot be added to a pod that was made without it.")
