"""providers/guarding.py: what is really started where a spec has a guard."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from conduit_nb import guard
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.errors import DeploymentError
from conduit_nb.providers.guarding import in_container, in_process, renewed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = GuardTerms(idle_s=60, boot_until=NOW, lease_until=NOW + timedelta(hours=1), not_after=NOW)
SPEC = LaunchSpec(name="n", command=("serve", "--port", "{port}"), key_name="A_KEY", guard=TERMS)


def test_a_spec_without_terms_is_started_as_it_is():
    started = in_process(replace(SPEC, guard=None), host="127.0.0.1", port=7)

    assert started.command == ("serve", "--port", "7")
    assert not started.environment


def test_a_process_is_started_by_the_guard_with_the_terms():
    started = in_process(SPEC, host="127.0.0.1", port=7)
    config = guard.Config(**json.loads(started.environment["CONDUIT_GUARD"]))

    assert started.command == (sys.executable, guard.__file__)
    assert (config.host, config.port, config.key_name) == ("127.0.0.1", 7, "A_KEY")
    assert config.command == ["serve", "--port", "{port}"]
    assert config.lease_until == NOW.timestamp() + 3600
    assert config.not_after == NOW.timestamp()
    assert config.end == {"kind": "exit"}


def test_without_a_price_the_money_ends_nothing():
    started = in_process(replace(SPEC, guard=replace(TERMS, not_after=None)), host="h", port=7)

    assert json.loads(started.environment["CONDUIT_GUARD"])["not_after"] is None


def test_any_image_with_python_carries_the_guard_in_its_environment():
    started = in_container(SPEC)
    done = subprocess.run(
        [sys.executable, *started.command[1:]],
        env={"PATH": os.environ["PATH"], **started.environment, "A_KEY": "k"},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert re.search(r"\bmoney\b", done.stderr)  # by what came along, and no more
    assert done.returncode == 0


def test_what_is_put_into_an_environment_is_small():
    started = in_container(SPEC)

    assert sum(map(len, started.environment.values())) < 20_000


def test_new_terms_have_later_moments_and_all_else_as_it_was():
    told = in_container(SPEC).environment["CONDUIT_GUARD"]
    later = NOW + timedelta(days=1)
    new = GuardTerms(idle_s=0, boot_until=later, lease_until=later, not_after=None, as_of=NOW)
    terms, key_name = renewed(told, new)

    moments = {"boot_until": later.timestamp(), "lease_until": later.timestamp(), "not_after": None}
    assert json.loads(terms) == {**json.loads(told), **moments, "as_of": NOW.timestamp()}
    assert key_name == "A_KEY"


@pytest.mark.parametrize("config", ["", "{", "[]", "null", "{}", '{"key_name": 3}', "[" * 20_000])
def test_a_configuration_that_conduit_has_not_written_is_an_error_of_ours(config: str):
    with pytest.raises(DeploymentError) as caught:
        renewed(config, TERMS)

    assert caught.value.code == "deployment"
