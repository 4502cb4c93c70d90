"""Weights: what was saved is what is loaded; anything else is named, and no code is run."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from test_run import Call
from torch import Tensor, nn

from handwriting.errors import InputError
from handwriting.runs.weights import (
    METADATA,
    STEPS,
    Weights,
    build,
    in_bytes,
    load_weights,
    save_weights,
)

STATE = nn.Linear(3, 2).state_dict()
DESCRIPTION = {
    "kind": "clip",
    "arguments": {"in_features": 3, "out_features": 2},
    "facts": {"characters": ["木", "休"], "seed": 3},
}


def saved(path: Path, state: dict[str, Any] = STATE, **changed: Any) -> Path:
    return save_weights(path, state=state, **{**DESCRIPTION, **changed})  # type: ignore[arg-type]


def loaded(folder: Path, **changed: Any) -> Weights:
    return load_weights(saved(folder / "clip.safetensors", **changed), "clip")


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path / "clip.safetensors")
    for place in (path, tmp_path, str(path)):
        weights = load_weights(place, "clip")
        assert {name: getattr(weights, name) for name in DESCRIPTION} == DESCRIPTION
        for name, tensor in build(nn.Linear, weights).state_dict().items():
            assert torch.equal(tensor, STATE[name])


def test_a_weight_of_a_byte_is_right_to_half_a_step_of_its_row(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))
    with torch.no_grad():
        network[0].weight *= torch.logspace(-6, 3, 8)[:, None, None, None]  # type: ignore[operator]
        network[2].weight[1] = 0
    state = network.state_dict()
    found = loaded(tmp_path, state=in_bytes(state)).state
    assert found.keys() == state.keys()
    for name, values in state.items():
        if values.dim() < 2:
            torch.testing.assert_close(found[name].to(values), values, rtol=1e-3, atol=1e-6)
            continue
        apart = (found[name] - values).flatten(1).abs().amax(dim=1)
        largest = values.flatten(1).abs().amax(dim=1)
        assert (apart <= largest * (0.5 / 127 + 1e-6)).all(), name
    whole = saved(tmp_path / "whole", {"w": torch.randn(1000, 100)}).stat().st_size
    small = saved(tmp_path / "small", in_bytes({"w": torch.randn(1000, 100)})).stat().st_size
    assert small < 0.27 * whole


@pytest.mark.parametrize("steps", [torch.ones(3, 1), torch.ones(2, 2)])
def test_steps_that_belong_to_no_weights_are_refused(steps: Tensor, tmp_path: Path) -> None:
    for state in (
        {"weight" + STEPS: steps},
        {"weight": torch.zeros(2, 3), "weight" + STEPS: steps},
    ):
        with pytest.raises(InputError, match="damaged or not a weight file"):
            loaded(tmp_path, state=state)


def test_equal_weights_have_equal_bytes(tmp_path: Path) -> None:
    first, second = (saved(tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def described(description: Any) -> bytes:
    return safetensors.torch.save(STATE, {METADATA: json.dumps(description)})


WHOLE = described(DESCRIPTION)
BROKEN = {
    "empty": b"",
    "text": b"text",
    "truncated": WHOLE[:-5],
    "header cut": WHOLE[:40],
    "endless header": b"\xff" * 8 + WHOLE[8:],
    "no description": safetensors.torch.save(STATE),
    "description that is no JSON": safetensors.torch.save(STATE, {METADATA: "{"}),
    "list": described([]),
    "facts missing": described({"kind": "clip", "arguments": {}}),
    "kind missing": described({"arguments": {}, "facts": {}}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_weight_file_is_named_with_the_cure(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.safetensors").write_bytes(content)
    with pytest.raises(
        InputError, match=r"clip\.safetensors is damaged or .*: run training_clip/train_clip\.py"
    ):
        load_weights(tmp_path, "clip")


def test_code_in_a_weight_file_is_not_executed(tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"kind": "clip", "arguments": {}, "facts": {"x": Call()}, "state": {}}, content)
    test_what_is_no_weight_file_is_named_with_the_cure(content.getvalue(), tmp_path)


def test_weights_of_another_kind_or_none_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "clip.safetensors")
    with pytest.raises(
        InputError,
        match=r"holds clip weights, expected generator \(training_style_transfer/train\.py\)",
    ):
        load_weights(path, "generator")
    with pytest.raises(
        InputError, match=r"no generator weights at .*: run training_style_transfer/train\.py first"
    ):
        load_weights(tmp_path, "generator")


@pytest.mark.parametrize(
    "changed",
    [
        {"arguments": {"in_features": 3}},
        {"arguments": {"in_features": 3, "out_features": -2}},
        {"arguments": {"in_features": 3, "out_features": 5}},
        {"state": {"weight": STATE["weight"]}},
        {"state": {**STATE, "more": torch.zeros(1)}},
    ],
)
def test_weights_of_another_network_are_named(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.safetensors.* use clip weights of a run"):
        build(nn.Linear, loaded(tmp_path, **changed))


def test_a_fact_that_is_missing_is_named(tmp_path: Path) -> None:
    weights = loaded(tmp_path)
    with pytest.raises(InputError, match=r"clip\.safetensors: vocabulary is missing; re-run"):
        weights.facts["vocabulary"]
    weights.require_characters("木休")
    with pytest.raises(InputError, match=r"trained on other characters \(2: 木休\) than"):
        weights.require_characters("休木")
