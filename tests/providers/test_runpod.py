"""providers/runpod.py: pods over the real wire, on a local server that starts them as processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conduit_nb.client import Endpoint
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import (
    ArgumentError,
    DeploymentError,
    NoCapacityError,
    ProviderAuthError,
    ProviderBalanceError,
    ProviderError,
    ProviderFailedError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from conduit_nb.providers import runpod as module
from conduit_nb.providers.base import Node
from conduit_nb.providers.runpod import Runpod
from conduit_nb.testing.pod_processes import PodProcesses
from conduit_nb.testing.runpod_server import (
    Behaviour,
    Fault,
    RunpodServer,
    hostile,
    runpod_server,
)
from tests import waiting
from tests.providers.runpod_nodes import KEY, SECRETS, name_of, offering_of, provider_of, spec_of
from tests.runpod_specification import specified_runpod_server


@pytest.fixture
def cloud() -> Iterator[RunpodServer]:
    """Serve an account whose pods run nothing."""
    with specified_runpod_server() as server:
        yield server


@pytest.fixture
def real() -> Iterator[RunpodServer]:
    """Serve an account whose pods are processes."""
    with specified_runpod_server(start_container=PodProcesses()) as server:
        yield server


L40S = ComputeOffering(
    provider="runpod",
    id="1x NVIDIA L40S",
    accelerator="L40S",
    memory_gib=45,
    usd_per_hour=0.79,
    metadata={"gpu_id": "NVIDIA L40S", "cloud": "SECURE"},
)


async def quickly(provider: Runpod) -> Node:
    """Launch without a look at the catalogue."""
    return await provider.launch(spec_of(), SECRETS, L40S)


async def launched(provider: Runpod, name: str | None = None, *flags: str) -> Node:
    return await provider.launch(spec_of(name, *flags), SECRETS, await offering_of(provider))


def created(cloud: RunpodServer) -> list[dict[str, object]]:
    return [
        json.loads(one.body)
        for one in cloud.exchanges
        if (one.method, one.path) == ("POST", "/v2/pods")
    ]


async def test_its_address_and_key_are_those_of_the_environment_at_each_use(
    monkeypatch: pytest.MonkeyPatch,
):
    provider = Runpod()
    for _ in range(2):
        with specified_runpod_server() as cloud:
            for name, value in cloud.environment.items():
                monkeypatch.setenv(name, value)

            assert (await provider.offerings()).offerings
            assert cloud.exchanges


async def test_a_pod_is_asked_for_as_the_offering_and_the_spec_say(cloud: RunpodServer):
    provider = provider_of(cloud)
    offering = await offering_of(provider)
    spec = spec_of(environment={"A": "b"}, secrets=("CONDUIT_API_KEY", "HF_TOKEN"), disk_gib=100)

    node = await provider.launch(spec, {**SECRETS, "HF_TOKEN": "hf_secret"}, offering)

    await waiting.until(lambda: created(cloud))
    (body,) = created(cloud)
    assert body["gpu"] == {"id": "NVIDIA L40S", "count": offering.count}
    assert body["cloud"] == offering.metadata["cloud"]
    assert body["dataCenterIds"] == [offering.region]
    assert (body["disk"], body["ports"], body["image"]) == (108, ["8000/http"], "conduit/echo:1")
    environment = body["env"]
    assert isinstance(environment, dict)
    assert environment["A"] == "b"
    assert environment["CONDUIT_API_KEY"] == KEY
    assert environment["HF_TOKEN"] == "{{ RUNPOD_SECRET_hf_token }}"
    assert "hf_secret" not in json.dumps(body)
    assert cloud.key not in json.dumps(body)
    assert (node.name, node.status, node.provider) == (spec.name, "starting", "runpod")
    assert node.url == cloud.proxy_url.replace("{id}", node.id or "").replace("{port}", "8000")


async def test_a_pod_answers_through_the_proxy_and_its_log_is_read(real: RunpodServer):
    provider = provider_of(real)
    node = await launched(provider)
    endpoint = Endpoint(node.url, key=KEY, dialect="lmlite")

    async def is_ready() -> bool:
        found = await provider.describe(node.name)
        assert found is not None
        if found.status != "running":
            return False
        try:
            return (await endpoint.health())["status"] == "ok"
        except Exception as err:  # noqa: BLE001  # whatever it is, it is not ready
            return "ok" in repr(err)

    await waiting.until(is_ready)
    reply = [
        chunk
        async for chunk in endpoint.stream(
            {"model": "m", "messages": [{"role": "user", "content": "hi there"}]}
        )
    ]
    lines = [line async for line in provider.logs(node.name, tail=5)]
    await endpoint.aclose()

    assert reply[-1]["usage"]["total_tokens"] == 2  # type: ignore[typeddict-item, index]  # it was asked for
    assert any("fake LmLite begins" in line for line in lines)


async def test_a_pod_ends_itself_at_its_lease_with_its_own_key(real: RunpodServer):
    provider = provider_of(real)
    spec = spec_of()
    assert spec.guard is not None
    short = replace(spec.guard, lease_until=datetime.now(UTC) + timedelta(seconds=3))
    node = await provider.launch(replace(spec, guard=short), SECRETS, await offering_of(provider))

    async def is_gone() -> bool:
        return await provider.describe(node.name) is None

    await waiting.until(is_gone, within_s=40)
    assert not real.account.billing_pods()
    asked = [one for one in real.exchanges if one.path.endswith("/action")]
    assert asked
    assert not [one for one in asked if real.key in str(dict(one.headers))]


async def test_what_lives_is_listed_by_our_names_only(cloud: RunpodServer):
    provider = provider_of(cloud)
    await launched(provider, name_of(1))
    await launched(provider, name_of(2, installation="ffffffffffff"))
    await provider.launch(
        replace(spec_of(), name="somebody-elses"), SECRETS, await offering_of(provider)
    )

    names = [node.name for node in await provider.list_nodes()]
    assert names == [name_of(1), name_of(2, installation="ffffffffffff")]
    await provider.terminate(name_of(1))
    assert [node.name for node in await provider.list_nodes()] == names[1:]


async def test_stopping_and_starting_keep_the_pod_and_change_what_it_costs(cloud: RunpodServer):
    provider = provider_of(cloud)
    node = await launched(provider)
    await provider.stop(node.name)
    await provider.stop(node.name)
    stopped = await provider.describe(node.name)
    await provider.start(node.name)
    await provider.start(node.name)
    started = await provider.describe(node.name)
    await provider.restart(node.name)

    assert stopped is not None
    assert started is not None
    assert (stopped.status, started.status) == ("stopped", "running")
    assert 0 < (stopped.usd_per_hour or 0) < 0.02 < (started.usd_per_hour or 0)


async def test_ending_what_is_gone_is_success(cloud: RunpodServer):
    provider = provider_of(cloud)
    node = await launched(provider)
    for _ in range(2):
        await provider.terminate(node.name, node.id)
        await provider.terminate(node.name)
    await provider.stop(node.name)

    assert await provider.describe(node.name) is None
    with pytest.raises(DeploymentError, match=node.name) as caught:
        await provider.start(node.name)
    assert caught.value.code == "deployment"
    assert caught.value.__cause__ is None, "it was looked for, and not asked to start"


async def test_an_id_finds_what_the_list_does_not_show_yet():
    with specified_runpod_server(behaviour=Behaviour(list_lag_s=60)) as cloud:
        provider = provider_of(cloud)
        node = await launched(provider)

        assert await provider.describe(node.name) is None
        found = await provider.describe(node.name, node.id)
        assert found is not None
        await provider.terminate(node.name, node.id)
        assert not cloud.account.billing_pods()


async def test_what_is_sold_out_is_told_so_that_the_next_is_tried():
    with specified_runpod_server(behaviour=Behaviour(sold_out={"NVIDIA L40S"})) as cloud:
        with pytest.raises(NoCapacityError):
            await launched(provider_of(cloud))

        assert not cloud.account.billing_pods()


async def test_an_account_without_money_starts_nothing():
    with (
        specified_runpod_server(behaviour=Behaviour(has_balance=False)) as cloud,
        pytest.raises(ProviderBalanceError),
    ):
        await launched(provider_of(cloud))


async def test_a_create_call_that_broke_off_says_that_it_may_have_arrived(cloud: RunpodServer):
    cloud.spoil(Fault(answer="drop", method="POST", path="/pods", takes_effect=True))
    provider = provider_of(cloud)
    with pytest.raises(ProviderUnreachableError) as caught:
        await launched(provider)

    assert caught.value.may_have_arrived
    # The server notes the call when it has hung up, which may be a moment later.
    await waiting.until(lambda: created(cloud))
    assert len(created(cloud)) == 1
    assert [node.name for node in await provider.list_nodes()] == [name_of()]


async def no_pause(_: float) -> None:
    """Wait no time."""


def patient(cloud: RunpodServer) -> Runpod:
    return provider_of(cloud, pause=no_pause)


@pytest.fixture
def falsified() -> Iterator[RunpodServer]:
    """Serve an account whose replies may be false, which no specification allows."""
    with runpod_server() as server:
        yield server


SPOILED = (
    *("html", "empty", "{}", "null", "list", "text", "nested", "half", "no id"),
    *("id of another type", "id as a path", "name of another type", "failed after", "lost after"),
)


@pytest.mark.parametrize("kind", SPOILED)
async def test_a_create_call_whose_reply_cannot_be_read_may_have_arrived(
    falsified: RunpodServer, kind: str
):
    falsified.spoil(hostile(kind, "POST", "/pods"))
    provider = patient(falsified)

    with pytest.raises(ProviderError) as caught:
        await quickly(provider)

    assert caught.value.may_have_arrived
    assert [node.name for node in await provider.list_nodes()] == [name_of()]


@pytest.mark.parametrize("kind", ["unknown status", "status of another type", "price NaN"])
async def test_a_create_reply_with_an_id_and_a_name_is_the_pod(falsified: RunpodServer, kind: str):
    falsified.spoil(hostile(kind, "POST", "/pods"))

    node = await quickly(patient(falsified))

    (pod,) = falsified.account.pods()
    assert (node.id, node.name) == (pod.id, name_of())


@pytest.mark.parametrize(
    "kind", ["html", "empty", "{}", "null", "list", "text", "nested", "half", "no id"]
)
async def test_a_list_or_a_pod_that_cannot_be_read_is_an_error_and_never_none(
    falsified: RunpodServer, kind: str
):
    provider = patient(falsified)
    node = await quickly(provider)
    for path in ("/pods", f"/pods/{node.id}"):
        falsified.spoil(hostile(kind, "GET", path))
    with pytest.raises(ProviderError):
        await provider.list_nodes()
    with pytest.raises(ProviderError):
        await provider.describe(node.name, node.id)

    assert await provider.describe(node.name, node.id) is not None


@pytest.mark.parametrize(
    "pods", [b'{"pods": null}', b'{"pods": {}}', b'{"pods": "none"}', b'{"p": []}']
)
async def test_a_list_without_a_list_is_an_error(falsified: RunpodServer, pods: bytes):
    falsified.spoil(Fault(answer=200, content=pods))
    with pytest.raises(ProviderFailedError):
        await patient(falsified).list_nodes()


async def test_entries_of_a_list_that_are_nobodys_are_left_out(falsified: RunpodServer):
    provider = patient(falsified)
    node = await quickly(provider)
    junk = [None, 7, [], {}, {"name": 3}, {"name": "somebody-elses"}]

    def with_junk(body: bytes) -> bytes:
        return json.dumps({"pods": [*junk, *json.loads(body)["pods"]]}).encode()

    falsified.spoil(Fault(path="/pods", falsify=with_junk))

    assert [one.id for one in await provider.list_nodes()] == [node.id]


@pytest.mark.parametrize(
    "kind",
    [
        *("html", "empty", "{}", "null", "list", "half", "failed before", "failed after"),
        *("lost before", "lost after", "html before", "{} before", "bad gateway"),
    ],
)
@pytest.mark.parametrize("word", ["stop", "start", "restart"])
async def test_an_action_whose_reply_is_lost_is_seen_to_its_end(
    falsified: RunpodServer, kind: str, word: str
):
    provider = patient(falsified)
    node = await quickly(provider)
    await provider.describe(node.name, node.id)
    if word == "start":
        await provider.stop(node.name, node.id)
    falsified.spoil(hostile(kind, "POST", "/pods/[^/]+/action"))

    await getattr(provider, word)(node.name, node.id)

    (pod,) = falsified.account.pods()
    assert pod.status == "EXITED" if word == "stop" else pod.is_up


async def test_an_action_that_is_never_answered_is_given_up_with_its_error(
    falsified: RunpodServer,
):
    provider = patient(falsified)
    node = await quickly(provider)
    await provider.describe(node.name, node.id)
    falsified.spoil(hostile("html before", "POST", "/pods/[^/]+/action", times=99))

    with pytest.raises(ProviderFailedError) as caught:
        await provider.stop(node.name, node.id)

    assert caught.value.may_have_arrived


@pytest.mark.parametrize("kind", ["html", "null", "lost before", "lost after", "html before"])
async def test_new_terms_are_in_the_pod_whatever_is_said_of_them(
    falsified: RunpodServer, kind: str
):
    provider = patient(falsified)
    node = await quickly(provider)
    falsified.spoil(hostile(kind, "PATCH", "/pods/[^/]+"))
    later = datetime.now(UTC) + timedelta(hours=9)

    await provider.renew(node.name, node.id, boot_until=later, lease_until=later, not_after=None)

    (pod,) = falsified.account.pods()
    assert json.loads(pod.env["CONDUIT_GUARD"])["lease_until"] == later.timestamp()
    assert pod.env["CONDUIT_API_KEY"] == KEY


@pytest.mark.parametrize("env", [None, [], "x", {"CONDUIT_GUARD": 7}, {"CONDUIT_GUARD": "{"}, {}])
async def test_an_environment_that_cannot_be_read_is_never_replaced(
    falsified: RunpodServer, env: object
):
    provider = patient(falsified)
    node = await quickly(provider)

    def with_env(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "env": env}).encode()

    falsified.spoil(Fault(method="GET", path="/pods/[^/]+", falsify=with_env, times=9))
    later = datetime.now(UTC) + timedelta(hours=9)

    with pytest.raises((ProviderError, DeploymentError)):
        await provider.renew(
            node.name, node.id, boot_until=later, lease_until=later, not_after=None
        )

    assert not [one for one in falsified.exchanges if one.method == "PATCH"]


async def test_what_is_known_is_ended_even_where_the_list_cannot_be_read(falsified: RunpodServer):
    provider = patient(falsified)
    node = await quickly(provider)
    falsified.spoil(hostile("html", "GET", "/pods", times=9))

    await provider.terminate(node.name, node.id)

    assert not falsified.account.billing_pods()


@pytest.mark.parametrize(
    "records", [None, {}, "x", [None], [{}], [{"totalAmount": "1"}], [{"totalAmount": -1}], [[1]]]
)
async def test_a_bill_that_cannot_be_read_is_an_error_of_ours(
    falsified: RunpodServer, records: object
):
    provider = patient(falsified)
    node = await quickly(provider)
    falsified.spoil(Fault(answer=200, content=json.dumps({"records": records}).encode()))

    with pytest.raises(ProviderFailedError):
        await provider.billed_usd(node.name, node.id)


@pytest.mark.parametrize("kind", ["html before", "lost before", "failed before"])
async def test_a_log_that_cannot_be_read_is_an_error_of_ours(falsified: RunpodServer, kind: str):
    provider = patient(falsified)
    node = await quickly(provider)
    falsified.spoil(hostile(kind, "GET", "/pods/[^/]+/logs", times=9))

    with pytest.raises(ProviderError):
        await anext(aiter(provider.logs(node.name, node.id)))


async def test_a_log_that_is_followed_waits_ever_longer_before_it_is_taken_up_again(
    falsified: RunpodServer,
):
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    provider = provider_of(falsified, pause=pause)
    node = await quickly(provider)
    falsified.spoil(hostile("lost before", "GET", "/pods/[^/]+/logs", times=7))
    falsified.spoil(hostile("not found", "GET", "/pods/[^/]+/logs"))

    assert [line async for line in provider.logs(node.name, node.id, follow=True)] == []
    assert pauses[:5] == sorted(pauses[:5])
    assert 0.1 < pauses[0] < max(pauses) <= 30


async def test_a_body_that_breaks_a_rule_is_not_tried_again(cloud: RunpodServer):
    cloud.spoil(Fault(answer=422, method="POST", path="/pods"))
    with pytest.raises(ProviderRefusedError) as caught:
        await launched(provider_of(cloud))

    assert caught.value.status == 422
    await waiting.until(lambda: created(cloud))
    assert len(created(cloud)) == 1


async def test_a_busy_api_is_asked_again_as_late_as_it_says(cloud: RunpodServer):
    cloud.spoil(Fault(answer=429, method="POST", path="/pods", retry_after_s=0))

    assert (await launched(provider_of(cloud))).name == name_of()


async def test_without_a_key_the_error_names_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(ProviderAuthError) as caught:
        await Runpod("http://127.0.0.1:1").list_nodes()

    assert "RUNPOD_API_KEY" in caught.value.hint


async def test_the_key_of_runpods_own_program_opens_the_account_and_is_told_by_its_file(
    cloud: RunpodServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".runpod" / "config.toml"
    path.parent.mkdir()
    path.write_text(f'[default]\napi_key = "{cloud.key}"\n')
    assert await Runpod(cloud.url).list_nodes() == []

    path.write_text('[default]\napi_key = "rpa_wrong"\n')
    with pytest.raises(ProviderAuthError) as caught:
        await Runpod(cloud.url).list_nodes()

    assert str(path) in caught.value.hint


async def test_what_needs_no_container_is_refused_before_anything_is_asked(cloud: RunpodServer):
    provider = provider_of(cloud)
    offering = await offering_of(provider)
    with pytest.raises(ArgumentError) as without_image:
        await provider.launch(replace(spec_of(), image=None), SECRETS, offering)
    with pytest.raises(ArgumentError) as without_offering:
        await provider.launch(spec_of(), SECRETS)

    assert without_image.value.param == "image"
    assert without_offering.value.param == "offering"
    assert not created(cloud)


async def test_what_runpod_bills_is_told():
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with specified_runpod_server(clock=lambda: now[0]) as cloud:
        provider = provider_of(cloud)
        node = await launched(provider)
        now[0] += timedelta(hours=2)

        billed = await provider.billed_usd(node.name, node.id)
        found = await provider.describe(node.name, node.id)

    assert found is not None
    assert billed == pytest.approx(2 * (found.usd_per_hour or 0), rel=0.01)


async def test_a_log_goes_on_while_the_pod_lives(real: RunpodServer):
    provider = provider_of(real)
    node = await launched(provider)
    seen: list[str] = []
    async for line in provider.logs(node.name, node.id, follow=True):
        seen.append(line)
        if "ready" in line:
            await provider.terminate(node.name, node.id)

    assert any("ready" in line for line in seen)


def written_calls() -> set[tuple[str, str]]:
    """Return every call that stands in the provider's modules: its method, its path as a rule."""
    call = re.compile(r'\.(get|post|patch|delete|events)\(\s*f?"(/[^"]+)"')
    return {
        (method.upper().replace("EVENTS", "GET"), "/v2" + re.sub(r"\{[^}]+\}", "[^/]+", path))
        for source in Path(module.__file__).parent.glob("runpod*.py")
        for method, path in call.findall(source.read_text())
    }


async def test_every_call_that_the_provider_makes_is_as_specified():
    later = datetime.now(UTC) + timedelta(hours=1)
    with specified_runpod_server(start_container=PodProcesses()) as cloud:
        provider = provider_of(cloud)
        node = await launched(provider)
        await provider.describe(node.name, node.id)

        async def log() -> list[str]:
            return [line async for line in provider.logs(node.name, node.id)]

        await waiting.until(log)  # its server may not have said anything yet
        await provider.stop(node.name, node.id)
        await provider.renew(
            node.name, node.id, boot_until=later, lease_until=later, not_after=later
        )
        await provider.start(node.name, node.id)
        await provider.restart(node.name, node.id)
        await provider.billed_usd(node.name, node.id)
        await provider.terminate(node.name, node.id)

        written = written_calls()
        assert ("PATCH", "/v2/pods/[^/]+") in written

        def unmade() -> set[tuple[str, str]]:
            made = {(one.method, one.path) for one in cloud.exchanges}
            return {
                (method, path)
                for method, path in written
                if not any(method == one and re.fullmatch(path, at) for one, at in made)
            }

        # An exchange is noted when its answer is on its way, so the last one may be a moment late.
        await waiting.until(lambda: not unmade())
