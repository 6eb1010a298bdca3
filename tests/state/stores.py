"""Records to put into a state store, and a moment to count from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.state.records import DeploymentRecord, NodeRecord

NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
REQUEST = DeploymentRequest(
    models=(LmLiteModelConfig("Qwen/Qwen3-8B", max_model_len=4096),),
    runtime="vllm",
    provider="runpod",
    gpu="L40S",
    replicas=Replicas(1, 2),
    hours=1,
)


def deployment(**change: Any) -> DeploymentRecord:
    given: dict[str, Any] = {
        "id": "dep00001",
        "installation": "i1",
        "key": "k1",
        "name": "qwen",
        "runtime": "vllm",
        "provider": "runpod",
        "request": REQUEST,
        "status": "launching",
        "created_at": NOW,
        "lease_until": NOW + timedelta(hours=1),
        "idle_s": 60.0,
        "max_usd": 5.0,
        "wanted_replicas": 1,
        "owner": "host|1|2.0",
    }
    return DeploymentRecord(**{**given, **change})


def node(**change: Any) -> NodeRecord:
    given: dict[str, Any] = {
        "name": "conduit-0123456789ab-dep00001-0-1",
        "deployment": "dep00001",
        "replica": 0,
        "attempt": 1,
        "provider": "runpod",
        "status": "launching",
        "owner": "host:1:2.0",
        "created_at": NOW,
        "boot_until": NOW + timedelta(minutes=10),
        "usd_per_hour": 0.5,
        "stopped_usd_per_hour": 0.01,
        "budget_usd": 5.0,
        "not_after": NOW + timedelta(hours=10),
    }
    return NodeRecord(**{**given, **change})
