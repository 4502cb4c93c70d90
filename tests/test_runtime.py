"""Device and precision."""

import pytest
import torch

from handwriting.errors import InputError
from handwriting.runtime import Runtime, precision_of
from tests.conftest import ComposeSmoke


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"avx2": True}, "no"),
        ({"avx512_bf16": False}, "no"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_precision_follows_the_processor(
    processor: dict[str, bool], expected: str, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert precision_of(smoke("runtime.precision=auto").runtime) == expected
    for chosen in ("no", "bf16"):
        assert precision_of(smoke(f"runtime.precision={chosen}").runtime) == chosen


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_networks_compute_in_the_precision(precision: str, smoke: ComposeSmoke) -> None:
    runtime = Runtime(smoke(f"runtime.precision={precision}").runtime)
    with runtime.autocast():
        found = torch.nn.functional.linear(torch.ones(2, 4), torch.ones(3, 4))
    assert found.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("runtime.precision=fp16", "expected auto, no or bf16"),
        ("runtime.device=tpu", "cpu or cuda"),
    ],
)
def test_what_is_unknown_is_named(override: str, message: str, smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=message):
        Runtime(smoke(override).runtime)
