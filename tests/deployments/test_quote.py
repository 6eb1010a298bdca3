"""deployments/quote.py: what would be started, on what, for how much; nothing is created."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.request import Replicas
from conduit_nb.deployments.quote import make_quote, split_models
from conduit_nb.errors import ArgumentError, NoOfferingError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.runtimes.base import Runtime, ServerRequest
from conduit_nb.runtimes.custom import CustomRuntime
from conduit_nb.runtimes.lmlite import LmLiteRuntime
from conduit_nb.runtimes.vllm import VllmRuntime
from tests.compute.made_plans import made_plan
from tests.deployments.deployed import INSTALLATION, Bench, rented, request
from tests.fake_lmlite import ECHO_IMAGE, ECHO_SERVER, FakeRuntime

ONE, TWO = LmLiteModelConfig("m/one"), LmLiteModelConfig("m/two")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, cloud=rented(stack))


async def test_the_best_price_per_gib_comes_first_and_nothing_is_created(bench: Bench):
    quote = await make_quote(bench.context(), request("runpod", gpu=None))

    prices = [round(one.offering.usd_per_gib_hour, 9) for one in quote.servers[0].candidates]
    assert prices == sorted(prices)
    assert bench.running() == []
    assert quote.usd_per_hour == quote.servers[0].candidates[0].rates.running_usd_per_hour


@pytest.mark.parametrize("gib", [None, 20])
async def test_one_device_goes_before_three_at_three_times_the_price(bench: Bench, gib: int | None):
    plan = None if gib is None else made_plan(gib, runtime="lmlite")
    context = bench.context(plan_of=lambda *_: plan)
    quote = await make_quote(context, request("runpod", gpu="A100"))

    assert quote.servers[0].candidates[0].offering.count == 1


async def test_a_plan_leaves_what_holds_it(bench: Bench):
    context = bench.context(plan_of=lambda *_: made_plan(70, runtime="lmlite"))
    quote = await make_quote(context, request("runpod", gpu=None))

    (server,) = quote.servers
    assert {one.offering.hardware.memory_gib >= 70 for one in server.candidates} == {True}


async def test_price_and_number_are_the_users_to_bound(bench: Bench):
    quote = await make_quote(
        bench.context(),
        request(
            "runpod",
            gpu=None,
            gpu_count=2,
            constraint=DeploymentConstraint(max_usd_per_hour=2.0),
            replicas=Replicas(min=3, max=3),
        ),
    )

    offerings = [one.offering for one in quote.servers[0].candidates]
    assert {one.count for one in offerings} == {2}
    assert max(one.usd_per_hour for one in offerings) <= 2.0
    assert quote.usd_per_hour == pytest.approx(
        3 * quote.servers[0].candidates[0].rates.running_usd_per_hour
    )


async def test_of_all_providers_those_that_answer_count(bench: Bench):
    assert bench.cloud is not None
    bench.cloud.url = "http://127.0.0.1:9/v2"
    quote = await make_quote(bench.context(), replace(request("local"), provider=None))

    assert {one.provider for one in quote.servers[0].candidates} == {"local"}


async def test_nothing_that_would_do_says_how_much_was_looked_at(bench: Bench):
    constraint = DeploymentConstraint(max_usd_per_hour=0.01)
    with pytest.raises(NoOfferingError, match="runpod") as caught:
        await make_quote(bench.context(), request("runpod", gpu=None, constraint=constraint))

    assert caught.value.considered > 5


async def test_a_gpu_that_nobody_knows_is_an_error(bench: Bench):
    with pytest.raises((ArgumentError, NoOfferingError)):
        await make_quote(bench.context(), request("runpod", gpu="Q9000"))


def test_models_are_split_as_the_runtime_serves_them():
    together = FakeRuntime()
    apart = FakeRuntime(models_per_server=1)

    assert split_models((ONE, TWO), together) == [(ONE, TWO)]
    assert split_models((ONE, TWO), apart) == [(ONE,), (TWO,)]
    assert split_models((), together) == [()]


@pytest.mark.parametrize(
    ("runtime", "provider", "names", "instead"),
    [
        (LmLiteRuntime(), "local", {"lmlite"}, {"custom"}),
        (LmLiteRuntime(), "runpod", {"lmlite"}, {"custom"}),
        (LmLiteRuntime(), None, {"lmlite"}, {"custom"}),
        (VllmRuntime(), "local", {"vllm", "local"}, {"docker", "runpod"}),
    ],
)
async def test_a_command_that_would_be_ignored_is_refused_before_anything_is_written(
    bench: Bench, runtime: Runtime, provider: str | None, names: set[str], instead: set[str]
):
    service = bench.service(runtime=lambda _: runtime)
    context = service.context
    asked = replace(request("runpod"), provider=provider, command=("mine", "{port}"))
    before = context.store.revision()

    with pytest.raises(ArgumentError, match="--command") as caught:
        await service.deploy(asked)

    assert caught.value.param == "command"
    assert names <= set(re.findall(r"\w+", str(caught.value)))
    assert instead <= set(re.findall(r"\w+", caught.value.hint))
    assert (context.store.revision(), bench.running()) == (before, [])
    assert context.store.deployments(INSTALLATION.id, live_only=False) == []
    assert bench.cloud is not None
    assert [one for one in bench.cloud.exchanges if one.method != "GET"] == []


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"command": ("serve",)}, "image"), ({"image": "x"}, "command"), ({}, "image")],
)
async def test_what_a_custom_runtime_lacks_is_said_before_anything_is_written(
    bench: Bench, asked: dict[str, Any], param: str
):
    service = bench.service(runtime=lambda _: CustomRuntime())
    wanted = request("runpod", runtime="custom", **asked)

    for attempt in (service.quote, service.deploy):
        with pytest.raises(ArgumentError) as caught:
            await attempt(wanted)
        assert caught.value.param == param

    assert service.context.store.deployments(live_only=False) == []
    assert service.context.store.nodes(live_only=False) == []


async def test_offerings_on_which_the_runtime_cannot_be_started_are_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    class OnlyOnOne(FakeRuntime):
        def launch_spec(self, request: ServerRequest) -> LaunchSpec:
            if request.devices != 1:
                raise ArgumentError("One device only.", param="gpu_count", hint="Take one.")
            return super().launch_spec(request)

    context = bench.context(runtime=lambda _: OnlyOnOne())
    quote = await make_quote(context, request("runpod", gpu="A100"))

    assert {one.offering.count for one in quote.servers[0].candidates} == {1}
    with pytest.raises(ArgumentError) as caught:
        await make_quote(context, request("runpod", gpu="A100", gpu_count=2))
    assert caught.value.param == "gpu_count"


async def test_of_all_providers_those_that_follow_the_command_count(bench: Bench):
    asked = replace(request("runpod"), provider=None, gpu=None, command=("mine", "{port}"))
    quote = await make_quote(bench.context(), asked)

    assert {one.provider for one in quote.servers[0].candidates} == {"runpod"}


@pytest.mark.parametrize("runtime", [VllmRuntime(), CustomRuntime()], ids=lambda one: one.name)
async def test_a_command_is_what_runs_in_the_pod_with_model_and_port_put_in(
    bench: Bench, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    service = bench.service(runtime=lambda _: runtime)
    says = (
        "sh",
        "-c",
        'echo "serves $0"; CONDUIT_API_KEY="${VLLM_API_KEY:-$CONDUIT_API_KEY}" "$@"',
    )
    command = (*says, "{model}", "python3", ECHO_SERVER, "--port", "{port}")
    asked = request("runpod", command=command, image=ECHO_IMAGE)

    endpoint = await service.connect(asked)
    reply = await endpoint.chat({"model": "m/one", "messages": [{"role": "user", "content": "hi"}]})
    await service.aclose()

    assert "hi" in reply["choices"][0]["message"]["content"]
    assert bench.cloud is not None
    (pod,) = bench.cloud.account.pods()
    (node,) = service.context.store.nodes()
    lines = [line async for line in bench.provider("runpod").logs(node.name, pod.id)]
    assert any("serves m/one" in line for line in lines), lines
    await service.terminate("all")
