"""Keys stand where they must, and nowhere else: state, logs, outputs, containers, tracebacks."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduit_nb.errors import ConduitError
from conduit_nb.testing.runpod_server import Fault, RunpodServer
from tests.deployments.deployed import INSTALLATION, Bench, rented, request

HUB_TOKEN = "hf_0123456789abcdefSECRET"
FILED_TOKEN = "hf_fedcba9876543210SECRET"


@pytest.fixture
def cloud() -> Iterator[RunpodServer]:
    with ExitStack() as stack:
        yield rented(stack)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder, apart from where the test looks for keys."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("HF_HOME", str(folder))
    (folder / ".runpod").mkdir()
    return folder


async def test_after_everything_that_a_deployment_does_no_key_is_left_anywhere(
    cloud: RunpodServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HF_TOKEN", HUB_TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")  # so the model may be a gated one
    (home / "token").write_text(FILED_TOKEN)
    (home / ".runpod" / "config.toml").write_text(f'[default]\napi_key = "{cloud.key}"\n')
    bench = Bench(tmp_path, cloud=cloud, gives_key=False)
    service = bench.service()
    shown: list[str] = []
    for provider in ("local", "runpod"):
        info = await service.deploy(request(provider))
        nodes = bench.nodes(info)
        lines = [
            line
            for node in nodes
            async for line in bench.provider(provider).logs(node.name, node.provider_id)
        ]
        shown += [repr(info), repr(bench.record(info)), repr(nodes), *lines]
        shown += [repr(await service.cost())]
        shown += [repr(await bench.provider(provider).list_nodes())]
        await service.terminate(info.name)
    cloud.spoil(Fault(answer=500, method="POST", path="/pods", detail=f"no: {cloud.key}", times=9))
    try:
        await service.deploy(request("runpod"))
    except ConduitError as err:
        shown += [str(err), err.hint, "".join(traceback.format_exception(err))]
    shown += bench.told
    for record in bench.records():
        await service.terminate(record.name)

    keys = {
        "the account's": cloud.key,
        "the hub's": HUB_TOKEN,
        "the hub's in the file": FILED_TOKEN,
        "the installation's": INSTALLATION.secret.decode(),
        **{
            f"the endpoint's of {one.id}": INSTALLATION.endpoint_key(one.id)
            for one in bench.context().store.deployments(live_only=False)
        },
        **{f"the pod's {pod.name}": pod.key for pod in cloud.account.pods()},
    }
    assert len(keys) >= 7
    texts = {**{f"shown {number}": text for number, text in enumerate(shown)}, **_files(tmp_path)}
    found = [
        f"{whose} key in {where}"
        for where, text in texts.items()
        for whose, key in keys.items()
        if key in text
    ]
    assert found == []
    # The one exception: a node's own endpoint key, in the call that creates it.
    created = [
        json.loads(one.body)
        for one in cloud.exchanges
        if (one.method, one.path) == ("POST", "/v2/pods")
    ]
    for body in created:
        named = {name for name, key in keys.items() if key in json.dumps(body)}
        assert {name.split(" of ")[0] for name in named} <= {"the endpoint's"}


def _files(folder: Path) -> dict[str, str]:
    """Return everything that was written below a folder: the state, records, logs, the summary."""
    found: dict[str, str] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            found[str(path.relative_to(folder))] = path.read_bytes().decode(errors="replace")
    assert any("sqlite" in name for name in found)
    return found
