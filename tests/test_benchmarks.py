"""The speed benchmark times the real scripts, and leaves them as they were."""

import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SMOKE

from handwriting.runs.runtime import Runtime


def test_training_and_generation_are_timed_beside_a_plain_side(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import speed

    overrides = ["experiment=smoke", f"data.characters={SMOKE}", f"cache_dir={cache_dir}"]
    sizes = [word for word in speed.SIZES if "characters" not in word]
    monkeypatch.setattr(speed, "SIZES", sizes)
    bench = speed.Bench(overrides, tmp_path, rounds=1, peak=1e9)
    before = Runtime.to_device, torch.optim.Adam.__init__
    (row,) = speed.training(bench, ["style_transfer"])
    assert row.shares.keys() == {"data", "augmentation", "forward", "backward", "optimizer"}
    assert sum(row.shares.values()) == pytest.approx(1)
    assert all(row.shares[kind] > 0 for kind in ("data", "forward", "backward", "optimizer"))
    assert row.rate > 0
    assert row.plain > 0
    assert row.of_peak > 0
    rows = list(speed.generation(bench, ["vae"]))
    assert [row.what for row in rows] == [f"generating vae, batch {n}" for n in (1, 16, 128)]
    assert all(row.rate > 0 and row.plain > 0 for row in rows)
    assert (Runtime.to_device, torch.optim.Adam.__init__) == before
    sys.modules.pop("speed")
