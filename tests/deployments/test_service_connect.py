"""deployments/service.py, `connect`: what runs under a name, and what runs nearly as asked for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.client import Endpoint
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.deployments.service import Deployments
from conduit_nb.errors import ArgumentError, EndpointUnreachableError, NearMatchError, StorageError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import ChatRequest
from conduit_nb.providers.local import LocalProvider
from tests.deployments.faulty_cloud import FaultyCloud, answering_server, service_of
from tests.local_nodes import SECRETS, spec

MODEL = LmLiteModelConfig("m/one")
WANTED = DeploymentRequest(
    models=(MODEL,), runtime="vllm", provider="faulty", gpu="L40S", max_usd=20, name="mine"
)
HELLO: ChatRequest = {"model": "m/one", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CONDUIT_MAX_USD_PER_DAY", "1000")


@pytest.fixture
async def cloud() -> AsyncIterator[FaultyCloud]:
    with answering_server() as server:
        yield FaultyCloud(server.url)
    for node in await LocalProvider().list_nodes():
        await LocalProvider(grace_s=1).terminate(node.name)


async def deployed(cloud: FaultyCloud, request: DeploymentRequest = WANTED) -> Deployments:
    """Have a deployment, and return another client than the one that made it."""
    await service_of(cloud).deploy(request)
    cloud.expect(None)
    return service_of(cloud)


def names(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.name, endpoint.url


class TestByName:
    @pytest.mark.parametrize("by", ["name", "id"])
    async def test_what_runs_is_asked_and_nothing_is_started(self, cloud: FaultyCloud, by: str):
        service = await deployed(cloud)
        info = await service.find("mine")
        endpoint = await service.connect(getattr(info, by))

        assert [one["id"] for one in await endpoint.models()] == ["m/one"]
        assert endpoint.name == "mine"
        assert "launch" not in cloud.calls
        await service.aclose()

    @pytest.mark.parametrize("by_itself", [False, True])
    async def test_what_is_stopped_is_not_started_and_says_how_that_is_done(
        self, cloud: FaultyCloud, by_itself: bool
    ):
        service = await deployed(cloud)
        if by_itself:
            (node,) = cloud.rented.values()
            node.status = "stopped"
        else:
            await service.stop("mine")

        with pytest.raises(EndpointUnreachableError, match=r"\bmine\b.*\bstopped\b") as caught:
            await service.connect("mine")

        assert "%conduit start mine" in caught.value.hint
        assert "start" not in cloud.calls
        assert cloud.names("stopped") == cloud.names()

    async def test_what_another_client_is_starting_is_not_taken_from_it(self, cloud: FaultyCloud):
        service = await deployed(cloud)
        store = await service.context.opened()
        (record,) = store.deployments()
        store.update_deployment(record, status="launching", owner="elsewhere|1|1.0")

        with pytest.raises(EndpointUnreachableError, match=r"\bmine\b.*\blaunching\b") as caught:
            await service.connect("mine")

        assert "ps" in caught.value.hint
        assert "launch" not in cloud.calls

    async def test_a_name_that_nothing_has_is_answered_with_the_one_that_was_meant(
        self, cloud: FaultyCloud
    ):
        service = await deployed(cloud)

        with pytest.raises(ArgumentError, match="'mime'") as caught:
            await service.connect("mime")

        assert caught.value.param == "name"
        assert re.search(r"\bmine\b", caught.value.hint)
        assert "launch" not in cloud.calls

    async def test_what_has_ended_is_unknown(self, cloud: FaultyCloud):
        service = await deployed(cloud)
        await service.connect("mine")
        await service.terminate("mine")

        with pytest.raises(ArgumentError, match="'mine'"):
            await service.connect("mine", fresh=True)
        assert cloud.names() == []

    async def test_where_nothing_was_ever_deployed_no_state_is_made_to_say_so(self, tmp_path: Path):
        service = service_of(FaultyCloud("http://127.0.0.1:9"))

        with pytest.raises(ArgumentError, match="'mine'"):
            await service.connect("mine")

        assert not (tmp_path / "data" / "state.sqlite3").exists()

    @pytest.mark.system
    async def test_the_shared_server_has_a_name_too_and_is_started_by_it(self, cloud: FaultyCloud):
        service = service_of(cloud)
        by_name = await service.connect(service.shared.name)
        by_request = await service.connect(DeploymentRequest())

        assert (await by_name.chat(HELLO))["choices"][0]["message"]["content"].endswith(": hi")
        assert names(by_name) == names(by_request)
        await service.stop(service.shared.name)
        assert await service.ps() == []
        again = await service.connect(service.shared.name)
        assert (await again.chat(HELLO))["choices"][0]["message"]["content"].endswith(": hi")
        await service.aclose()

    @pytest.mark.system
    async def test_what_the_shared_server_has_not_is_said_of_it_by_its_name(
        self, cloud: FaultyCloud
    ):
        service = service_of(cloud)
        name = service.shared.name
        await service.connect(name)

        for verb in (service.start(name), service.restart(name), service.extend(name, 1)):
            with pytest.raises(ArgumentError, match=name) as caught:
                await verb
            assert f"%conduit stop {name}" in caught.value.hint
        await service.require_affordable(1e6, name)  # it costs nothing
        await service.aclose()

    @pytest.mark.system
    async def test_the_shared_server_of_another_environment_is_reached_and_not_started(
        self, cloud: FaultyCloud
    ):
        service = service_of(cloud)
        other = await LocalProvider().launch(spec(name="lmlite-local-0123456789"), SECRETS)

        endpoint = await service.connect(other.name)

        assert names(endpoint) == (other.name, other.url)
        assert [info.name for info in await service.ps()] == [other.name]
        await service.stop(other.name)
        with pytest.raises(ArgumentError, match=other.name):
            await service.connect(other.name, fresh=True)
        await service.aclose()

    async def test_a_record_of_this_machine_that_cannot_be_read_keeps_nothing_rented(
        self, cloud: FaultyCloud, tmp_path: Path
    ):
        service = await deployed(cloud)
        in_the_way = tmp_path / "state" / "nodes" / "in-the-way.json"
        in_the_way.mkdir(parents=True)
        with pytest.raises(StorageError):
            await service.shared.infos()

        endpoint = await service.connect("mine")
        assert endpoint.name == "mine"
        assert [info.status for info in await service.stop("mine")] == ["stopped"]
        assert [info.status for info in await service.terminate("mine")] == ["terminated"]
        assert cloud.names() == []
        in_the_way.rmdir()


class TestNearMatch:
    @pytest.mark.parametrize(
        ("change", "differs"),
        [
            ({"gpu": "A100"}, {"gpu": ("L40S", "A100")}),
            ({"gpu_count": 2}, {"gpu_count": ("not set", "2")}),
            ({"provider": None}, {"provider": ("faulty", "any")}),
            ({"replicas": Replicas(2, 3)}, {"replicas": ("1", "2-3")}),
            ({"runtime_version": "0.9"}, {"runtime_version": ("not set", "0.9")}),
            ({"image": "own:1", "gpu": "A100"}, {"image", "gpu"}),
            ({"constraint": DeploymentConstraint(max_usd_per_hour=1)}, {"constraint"}),
            ({"models": (LmLiteModelConfig("m/one", max_model_len=512),)}, {"models"}),
        ],
        ids=lambda one: "-".join(sorted(one)),
    )
    async def test_what_differs_is_named_and_nothing_is_rented(
        self, cloud: FaultyCloud, change: dict[str, Any], differs: Any
    ):
        service = await deployed(cloud)

        with pytest.raises(NearMatchError) as caught:
            await service.connect(replace(WANTED, **{"name": None, **change}))

        found = caught.value.differences
        assert (found if isinstance(differs, dict) else found.keys()) == differs
        assert caught.value.name == "mine"
        assert all(option in str(caught.value) for option in found)
        assert "--on mine" in caught.value.hint
        assert "launch" not in cloud.calls
        assert len(cloud.rented) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"runtime": "custom"},
            {"models": (LmLiteModelConfig("m/two"),)},
            {"models": (MODEL, LmLiteModelConfig("m/two"))},
            {"models": ()},
        ],
    )
    async def test_another_runtime_or_other_models_are_something_else(
        self, cloud: FaultyCloud, change: dict[str, Any]
    ):
        service = await deployed(cloud)

        endpoint = await service.connect(replace(WANTED, name="another", **change))

        assert endpoint.name == "another"
        assert len(cloud.rented) == 2

    async def test_servers_of_no_known_model_are_not_alike(self, cloud: FaultyCloud):
        plain = replace(WANTED, models=(), runtime="custom")
        service = await deployed(cloud, plain)

        endpoint = await service.connect(replace(plain, name="another", image="own:2"))

        assert endpoint.name == "another"

    @pytest.mark.parametrize("bound", [{"max_usd": 10}, {"hours": 2}, {"name": None}])
    async def test_bounds_and_a_name_make_no_other_deployment(
        self, cloud: FaultyCloud, bound: dict[str, Any]
    ):
        service = await deployed(cloud)

        assert (await service.connect(replace(WANTED, **bound))).name == "mine"
        assert len(cloud.rented) == 1

    @pytest.mark.parametrize("state", ["stopped", "terminated"])
    async def test_what_does_not_run_keeps_nothing_from_being_rented(
        self, cloud: FaultyCloud, state: str
    ):
        service = await deployed(cloud)
        await (service.stop("mine") if state == "stopped" else service.terminate("mine"))

        endpoint = await service.connect(replace(WANTED, name="another", gpu_count=1))

        assert endpoint.name == "another"
        assert len(cloud.names("running")) == 1

    @pytest.mark.parametrize("end", ["vanished", "stopped"])
    async def test_what_has_ended_by_itself_is_seen_to_have(self, cloud: FaultyCloud, end: str):
        service = await deployed(cloud)
        (node,) = cloud.rented.values()
        if end == "vanished":
            cloud.rented.clear()
        else:
            node.status = "stopped"

        endpoint = await service.connect(replace(WANTED, name="another", gpu_count=1))

        assert endpoint.name == "another"
        assert len(cloud.names("running")) == 1

    async def test_a_deployment_that_is_asked_for_is_not_refused_and_then_used(
        self, cloud: FaultyCloud
    ):
        service = await deployed(cloud)
        other = replace(WANTED, name="another", gpu_count=1)
        with pytest.raises(NearMatchError):
            await service.connect(other)

        info = await service.deploy(other)

        assert (info.name, info.status) == ("another", "running")
        assert (await service.connect(replace(other, name=None))).name == "another"
        assert (await service.connect(WANTED)).name == "mine"
        assert len(cloud.rented) == 2
