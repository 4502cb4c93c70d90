"""Pictures of results: characters, the arms of an experiment, and the evidence over people."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed, nor wanted on a cluster

import matplotlib.pyplot as plt
import matplotlib_fontja  # noqa: F401  (makes IPAexGothic the font: labels are Japanese)
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from handwriting.storage.atomic import write_atomically
from training_character_classification.report.findings import (
    CharacterGain,
    Confusion,
    Finding,
    Gain,
    generators_of,
    people_text,
)

MAX_CHARACTERS = 60  # bars that can still be read
MAX_ARMS = 16  # rows of them


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
        for arm, found in list(seeds.items())[:MAX_ARMS]
    }
    first = next(iter(accuracy.values()))
    means = {c: np.mean([of_arm[c] for of_arm in accuracy.values()]) for c in first}
    characters = sorted(means, key=lambda c: float(means[c]))[:MAX_CHARACTERS]
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
    order = _winners_and_losers(gains)
    heights = [gains[c] for c in order]
    figure, axis = plt.subplots(figsize=(max(6.0, 0.22 * len(order)), 2.4), layout="constrained")
    colors = ["#2e7d4f" if height >= 0 else "#c0392b" for height in heights]
    axis.bar(range(len(order)), heights, color=colors)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(order)), order)
    axis.set_title(title, loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _winners_and_losers(gains: Mapping[str, float]) -> list[str]:
    """Characters by gain, largest first; where not all can be shown, without the middle."""
    order = sorted(gains, key=lambda c: -gains[c])
    if len(order) > MAX_CHARACTERS:
        order = order[: MAX_CHARACTERS // 2] + order[-MAX_CHARACTERS // 2 :]
    return order


# The evidence -------------------------------------------------------------------------------------

CONTROL, NAMED, CONTROLS, LOSS = "black", "#c0392b", "#8a8a8a", "#c0392b"
OTHERS = ("#3b6ea5", "#2e7d4f", "#8e5ea2", "#d68910", "#16a085", "#7d5a3c")  # generated arms
DASHES = ("--", ":", "-.", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
ACCURACY_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
NEAR_ZERO = 0.002  # and 1 minus that are the ends of the axis of accuracies, which has no 0 or 1
WIDEST_GAIN = 0.15  # beyond it an arm is an arrow at the edge, or the rest could not be read
MAX_PAIRS = 12  # of characters


def accuracy_over_people(findings: Sequence[Finding], control: str, named: str, path: Path) -> None:
    """The accuracy of each arm over the number of people, with its interval as a band.

    Args:
        findings: of arms and numbers of people.
        control: the arm to beat, in black; with most people, it is the ceiling.
        named: the arm that was named beforehand.
        path: of the PNG.
    """
    of_arm: dict[str, list[Finding]] = {}
    for found in findings:
        of_arm.setdefault(found.arm, []).append(found)
    fewest = min(found.people for found in findings)
    names = sorted(
        of_arm, key=lambda arm: (of_arm[arm][0].people > fewest, -of_arm[arm][0].accuracy)
    )
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    others, dashes = iter(cycle(OTHERS)), iter(cycle(DASHES))
    for arm in names:
        is_generated, stands_out = bool(generators_of(arm)), arm in (control, named)
        color = {control: CONTROL, named: NAMED}.get(arm) or (
            next(others) if is_generated else CONTROLS
        )
        line = of_arm[arm]
        people = [found.people for found in line]
        points = np.array([(f.accuracy, *(f.interval or (f.accuracy,) * 2)) for f in line])
        accuracy, low, high = points.clip(NEAR_ZERO, 1 - NEAR_ZERO).T
        axis.plot(
            people, accuracy, marker="o", markersize=4, color=color,
            linestyle="-" if is_generated or stands_out else next(dashes),
            linewidth=2.4 if stands_out else 1.2, label=arm, zorder=3 if stands_out else 2,
        )  # fmt: skip
        axis.fill_between(people, low, high, color=color, alpha=0.15 if stands_out else 0.05)
    people = sorted({found.people for found in findings})
    for found in of_arm.get(control, []):
        if found.people == people[-1]:
            label = f"ceiling: {control} with {found.people}"
            accuracy = min(found.accuracy, 1 - NEAR_ZERO)
            axis.axhline(accuracy, color=CONTROL, linestyle=":", linewidth=1, label=label)
    axis.set_xscale("log")
    axis.set_xticks(people, [str(number) for number in people])
    axis.set_yscale("logit")  # half the errors is the same step anywhere
    low, high = axis.get_ylim()
    ticks = [tick for tick in ACCURACY_TICKS if low <= tick <= high]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("people to learn from: real images of each character")
    axis.set_ylabel("accuracy on test writers")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, handlelength=3.5)
    save(figure, path)


def gains_over_control(findings: Sequence[Finding], control: str, named: str, path: Path) -> None:
    """The gain of each arm over the control with its interval, a column per number of people.

    Args:
        findings: of arms and numbers of people; those without a gain are left out.
        control: the arm that gains are over.
        named: the arm that was named beforehand.
        path: of the PNG.
    """
    gains = {(f.arm, f.people): f.gain for f in findings if f.gain}
    people = sorted({number for _, number in gains})
    means = {
        arm: np.mean([gain.gain for (other, _), gain in gains.items() if other == arm])
        for arm, _ in gains
    }
    names = sorted(means, key=lambda arm: float(means[arm]))
    figure, axes = plt.subplots(
        1, len(people), figsize=(3.4 + 2.4 * len(people), 1.2 + 0.3 * len(names)), sharex=True,
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    ends = [end for gain in gains.values() for end in (gain.interval or (gain.gain,))]
    low, high = np.clip([min(*ends, 0), max(*ends, 0)], -WIDEST_GAIN, WIDEST_GAIN)
    for axis, number in zip(axes[0], people, strict=True):
        for row, arm in enumerate(names):
            if (arm, number) in gains:
                color = (NAMED if arm == named else OTHERS[0]) if generators_of(arm) else CONTROLS
                _draw_gain(axis, row, gains[arm, number], color)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_xlim(low - 0.02, high + 0.02)
        axis.set_title(people_text(number), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(names)), names)
    figure.supxlabel(f"gain over {control}, 95 % interval over writers", fontsize=10)
    save(figure, path)


def _draw_gain(axis: Axes, row: int, gain: Gain, color: str) -> None:
    """A gain with its interval, or an arrow with its number where it lies beyond the edge."""
    if abs(gain.gain) > WIDEST_GAIN:
        side = 1 if gain.gain > 0 else -1
        axis.plot(side * WIDEST_GAIN, row, ">" if side > 0 else "<", color=color)
        axis.annotate(f"{gain.gain:+.2f}", (side * WIDEST_GAIN, row), (-9 * side, 0), fontsize=8,
                      textcoords="offset points", va="center", ha="right" if side > 0 else "left",
                      color=color)  # fmt: skip
        return
    if gain.interval:
        axis.plot(gain.interval, [row, row], color=color, linewidth=3, alpha=0.4)
    axis.plot(gain.gain, row, "o", color=color)


def character_gains(gains: Mapping[str, Mapping[str, CharacterGain]], path: Path) -> None:
    """The gain of each character with its interval, largest first, a row per comparison.

    Args:
        gains: what is compared -> character -> gain.
        path: of the PNG.
    """
    longest = min(MAX_CHARACTERS, max(len(of_one) for of_one in gains.values()))
    figure, axes = plt.subplots(
        len(gains), 1, figsize=(max(6.0, 0.22 * longest), 2.4 * len(gains)), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, (title, of_one) in zip(axes[:, 0], gains.items(), strict=True):
        order = _winners_and_losers({c: found.gain for c, found in of_one.items()})
        heights = np.array([of_one[c].gain for c in order])
        bounds = np.array([of_one[c].interval or (of_one[c].gain,) * 2 for c in order])
        colors = [OTHERS[1] if height >= 0 else LOSS for height in heights]
        axis.bar(range(len(order)), heights, color=colors)
        axis.vlines(range(len(order)), *bounds.T, color="#444444", linewidth=1)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(range(len(order)), order)
        axis.set_xlim(-1, len(order))
        axis.set_title(title, loc="left", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def confusion_pairs(found: Mapping[str, Sequence[Confusion]], control: str, path: Path) -> None:
    """The most frequent confusions of the control and of an arm, a column per comparison.

    Args:
        found: the arm and its people -> pairs, most frequent first.
        control: the arm that is compared with.
        path: of the PNG.
    """
    figure, axes = plt.subplots(
        1, len(found), figsize=(max(6.0, 3.8 * len(found)), 1.4 + 0.3 * MAX_PAIRS), sharex=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, (title, pairs) in zip(axes[0], found.items(), strict=True):
        shown = pairs[:MAX_PAIRS]
        for row, pair in enumerate(shown):
            axis.plot([pair.control, pair.arm], [row, row], color="#cccccc", zorder=1)
        rows = range(len(shown))
        axis.scatter(
            [pair.control for pair in shown], rows, 70, "none", edgecolors=CONTROL, label=control
        )
        axis.scatter(
            [pair.arm for pair in shown], rows, 20, NAMED, label="the arm with generated images"
        )
        axis.set_yticks(rows, [f"{pair.written}→{pair.read}" for pair in shown])
        axis.set_ylim(MAX_PAIRS - 0.5, -0.5)
        axis.set_title(title, loc="left", fontsize=8)
        axis.set_xlabel("how often")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_xlim(left=-0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save(figure, path)
