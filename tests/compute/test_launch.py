"""compute/launch.py: what a runtime asks of a provider can be written down."""

from __future__ import annotations

import dataclasses
import json

import pytest

from conduit_nb.compute.launch import LaunchSpec

SPEC = LaunchSpec(
    name="lmlite-local-1",
    command=("python", "-m", "server", "--port", "{port}"),
    environment={"OMP_NUM_THREADS": "1"},
    secrets=("CONDUIT_API_KEY",),
)


def test_a_spec_can_be_written_to_disk_and_read_again():
    written = json.dumps(dataclasses.asdict(SPEC))

    read = json.loads(written)

    assert LaunchSpec(
        **{**read, "command": tuple(read["command"]), "secrets": tuple(read["secrets"])}
    ) == (SPEC)


def test_a_spec_names_its_secrets_and_has_no_place_for_their_values():
    assert {field.name for field in dataclasses.fields(SPEC)} == {
        "name",
        "command",
        "environment",
        "secrets",
        "health_path",
        "dialect",
        "image",
        "port",
        "devices",
        "disk_gib",
        "ram_gib",
        "has_entrypoint",
        "key_name",
        "guard",
    }
    assert all(isinstance(name, str) for name in SPEC.secrets)


def test_a_spec_cannot_be_changed_after_it_was_shown():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.name = "another"  # type: ignore[misc]  # the point of the test
