"""Pictures of results: per-character accuracy, and the arms of an experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed, nor wanted on a cluster

import matplotlib.pyplot as plt
import matplotlib_fontja  # noqa: F401  (makes IPAexGothic the font: labels are Japanese)
import numpy as np
from matplotlib.figure import Figure

from handwriting.files import write_atomically

MOST_CHARACTERS = 60  # bars that can still be read
MOST_ARMS = 16  # rows of them


def save(figure: Figure, path: Path) -> None:
    try:
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110))
    finally:
        plt.close(figure)


def per_character_bars(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Accuracy of each character, one row of bars per arm; the hardest characters first.

    Args:
        results: ``arm/seed_n`` -> ``per_character`` -> character -> ``accuracy``.
        path: of the PNG.
    """
    seeds: dict[str, list[Mapping[str, Any]]] = {}
    for name, result in results.items():
        seeds.setdefault(name.rsplit("/seed_", 1)[0], []).append(result["per_character"])
    accuracy = {
        arm: {c: float(np.mean([each[c]["accuracy"] for each in found])) for c in found[0]}
        for arm, found in list(seeds.items())[:MOST_ARMS]
    }
    first = next(iter(accuracy.values()))
    means = {c: np.mean([of_arm[c] for of_arm in accuracy.values()]) for c in first}
    characters = sorted(means, key=lambda c: float(means[c]))[:MOST_CHARACTERS]
    figure, axes = plt.subplots(
        len(accuracy), 1, figsize=(max(6.0, 0.22 * len(characters)), 0.8 + 0.75 * len(accuracy)),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, (arm, of_arm) in zip(axes[:, 0], accuracy.items(), strict=True):
        axis.bar(range(len(characters)), [of_arm[c] for c in characters], color="#3b6ea5")
        axis.set_ylim(0, 1)
        axis.set_yticks([0, 1])
        axis.set_title(arm, loc="left", fontsize=8, pad=2)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xticks(range(len(characters)), characters)
    save(figure, path)


def arm_intervals(
    arms: Mapping[str, Mapping[str, Any]], controls: Sequence[str], path: Path
) -> None:
    """The accuracy of each arm with its interval over test writers.

    Args:
        arms: name -> ``accuracy`` and ``interval`` (low, high), which is None for one writer.
        controls: names of the arms without generated images.
        path: of the PNG.
    """
    names = sorted(arms, key=lambda name: float(arms[name]["accuracy"]))
    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.32 * len(names)), layout="constrained")
    for row, name in enumerate(names):
        color = "#8a8a8a" if name in controls else "#c0392b"
        if arms[name]["interval"] is not None:
            axis.plot(arms[name]["interval"], [row, row], color=color, linewidth=3, alpha=0.4)
        axis.plot(arms[name]["accuracy"], row, "o", color=color)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("accuracy on test writers, 95 % interval over writers")
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def gains_and_losses(gains: Mapping[str, float], title: str, path: Path) -> None:
    """Gain or loss in accuracy of each character, largest first.

    Args:
        gains: character -> difference of accuracies.
        title: what is compared.
        path: of the PNG.
    """
    order = sorted(gains, key=lambda c: -gains[c])
    if len(order) > MOST_CHARACTERS:  # winners and losers; the middle is not shown
        order = order[: MOST_CHARACTERS // 2] + order[-MOST_CHARACTERS // 2 :]
    heights = [gains[c] for c in order]
    figure, axis = plt.subplots(figsize=(max(6.0, 0.22 * len(order)), 2.4), layout="constrained")
    colors = ["#2e7d4f" if height >= 0 else "#c0392b" for height in heights]
    axis.bar(range(len(order)), heights, color=colors)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(order)), order)
    axis.set_title(title, loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)
