"""plans/documents.py: the JSON that `--json` prints, whose names are a promise."""

from __future__ import annotations

import json
from pathlib import Path

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.detection import Detection
from conduit_nb.errors import ArgumentError, PlanError
from conduit_nb.models.tensors import Tensor
from conduit_nb.plans.answer import PlanOptions, answer_plan, make_plan
from conduit_nb.plans.choice import choose
from conduit_nb.plans.documents import error_document, offerings_document, plan_document
from tests.models.published import safetensors_header
from tests.plans.described_market import MARKET
from tests.plans.model_folders import config_folder

DEVICE_FIELDS = {
    "stage",
    "rank",
    "weights_gib",
    "kv_bytes_per_token",
    "kv_gib",
    "activation_gib",
    "overhead_gib",
    "total_gib",
    "memory_gib",
    "fits",
    "terms",
}


def test_a_device_has_the_promised_fields_and_they_add_up(tmp_path: Path):
    folder = config_folder(tmp_path, "Llama-3.1-8B-Instruct")
    plan = make_plan([str(folder)], PlanOptions(tensor_parallel=2, max_model_len=8192))

    document = plan_document(answer_plan(plan, gpu="L40S"))

    assert len(document["devices"]) == 2
    for device in document["devices"]:
        assert set(device) == DEVICE_FIELDS
        parts = ("weights_gib", "kv_gib", "activation_gib", "overhead_gib")
        assert abs(sum(device[part] for part in parts) - device["total_gib"]) < 1e-5
        assert abs(sum(term["gib"] for term in device["terms"]) - device["total_gib"]) < 1e-4
        assert all(term["formula"] and term["source"] for term in device["terms"])
        assert device["kv_bytes_per_token"] == 65_536
        assert device["fits"] is True
    assert document["fits"] is True
    assert document["gpu"]["count"] == 2


def test_what_a_model_keeps_of_a_request_and_what_was_assumed_are_told(tmp_path: Path):
    config = {
        "model_type": "strange",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 300,
        "max_position_embeddings": 128,
        "sliding_window": 32,
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "mamba_d_state": 16,
        "layer_types": ["mamba", "telepathy"],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensor = Tensor(name="model.norm.weight", shape=(64,))
    (tmp_path / "model.safetensors").write_bytes(safetensors_header([tensor]))
    plan = make_plan([str(tmp_path)], PlanOptions())

    (model,) = plan_document(answer_plan(plan, gpu="L40S"))["models"]

    assert model["kv_bytes_per_token"] == 2 * 2 * 16 * 2
    assert model["state_bytes_per_request"] == 8 * 16 * 16 * 2 + (8 * 16 + 2 * 16) * 3 * 2
    assert len(model["remarks"]) == 1
    assert "telepathy" in model["remarks"][0]


def test_what_is_not_known_is_null_with_a_reason(tmp_path: Path):
    plan = make_plan([str(config_folder(tmp_path, "Qwen3-8B"))], PlanOptions())

    document = plan_document(answer_plan(plan, detection=Detection()))

    assert document["fits"] is None
    assert [device["fits"] for device in document["devices"]] == [None]
    assert document["gpu"] is None
    assert "--gpu" in document["why_unknown"]


def test_what_does_not_fit_has_its_reasons_and_what_would(tmp_path: Path):
    plan = make_plan([str(config_folder(tmp_path, "Qwen3-8B"))], PlanOptions())

    document = plan_document(answer_plan(plan, gpu="A10"))

    assert document["fits"] is False
    assert [one["code"] for one in document["why_not"]] == ["memory"]
    assert 0 < document["largest_max_model_len"] < 40_960
    assert document["largest_concurrency"] is None
    assert document["hint"]


def test_offerings_become_json_with_what_is_left_out_only_where_asked():
    choice = choose(MARKET, constraint=DeploymentConstraint(regions=("EU-1",)))

    brief, whole = offerings_document(choice), offerings_document(choice, why=True)

    assert [one["id"] for one in brief["offerings"]] == ["a100", "l40s"]
    assert "excluded" not in brief
    assert brief["excluded_count"] == len(whole["excluded"]) == 2
    reasons = {one["id"]: [why["code"] for why in one["why_not"]] for one in whole["excluded"]}
    assert reasons == {"h100": ["availability"], "l4": ["region"]}
    assert brief["failures"][0]["provider"] == "other"
    assert brief["failures"][0]["code"] == "provider_auth"
    assert brief["plan"] is None
    assert brief["offerings"][0]["fits"] is None
    json.dumps(whole, allow_nan=False)


def test_a_wrong_argument_is_named_beside_the_words_of_its_error():
    document = error_document(ArgumentError("gpu='L40SS' is not known.", param="gpu"))

    assert (document["error"]["code"], document["error"]["param"]) == ("argument", "gpu")


def test_an_error_has_a_stable_code():
    document = error_document(PlanError("It cannot be split.", hint="Split it otherwise."))

    assert document["error"] == {
        "type": "PlanError",
        "code": "plan",
        "param": None,
        "message": "It cannot be split.",
        "hint": "Split it otherwise.",
        "retryable": False,
    }
