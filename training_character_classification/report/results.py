"""What a study found: its arms over seeds and writers, what each generator costs and gains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.reports.statistics import Float64
from handwriting.storage.json_files import read_json
from training_character_classification.arms import Arm as ArmName


@dataclass(frozen=True)
class Arm:
    """A recogniser's results over its seeds.

    Attributes:
        accuracy, macro_f1: means over seeds.
        per_writer: accuracy on each test writer, mean over seeds, (W,).
        per_character: accuracy of each character, mean over seeds.
        is_generated: whether it sees generated images.
    """

    name: str
    accuracy: float
    macro_f1: float
    per_writer: Float64
    per_character: dict[str, float]
    is_generated: bool

    @property
    def sees(self) -> tuple[str, ...]:
        return ArmName.parse(self.name).sources


def read_arms(recognisers: dict[str, Any]) -> list[Arm]:
    """The arms of ``test/metrics.json``: recognisers are named ``arm/seed_n`` there."""
    of_arm: dict[str, list[dict[str, Any]]] = {}
    for name, result in recognisers.items():
        of_arm.setdefault(name.rsplit("/", 1)[0], []).append(result)
    return [
        Arm(
            name,
            accuracy=float(np.mean([r["accuracy"] for r in results])),
            macro_f1=float(np.mean([r["macro_f1"] for r in results])),
            per_writer=np.mean([r["per_writer"] for r in results], axis=0),
            per_character={
                c: float(np.mean([r["per_character"][c]["accuracy"] for r in results]))
                for c in results[0]["per_character"]
            },
            is_generated=not ArmName.parse(name).is_control,
        )
        for name, results in of_arm.items()
    ]


def cost_and_gain(
    name: str, folder: Path, durations: dict[str, float], arms: list[Arm], table: dict[str, Any]
) -> dict[str, Any]:
    """What a generator costs in training and in use, and what its best arm gains, if it has one."""
    speed = read_json(folder / "generated" / name / "metrics.json")["images_per_s"]
    steps = f"style_transfer/{name}/"
    costs = {
        "images_per_s": speed,
        "training_s": sum(
            seconds
            for stage, seconds in durations.items()
            if stage == name or stage.startswith(steps)
        ),
    }
    own = [arm for arm in arms if name in arm.sees]
    if not own:
        return costs
    best = max(own, key=lambda arm: arm.accuracy)
    return {
        **costs,
        "best_arm": best.name,
        "gain": table[best.name]["gain"],
        "gain_interval": table[best.name]["gain_interval"],
    }
