"""Pictures of results: people's hands, arms and gains, accuracy over people, characters."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # needs no display

import matplotlib.pyplot as plt
import matplotlib_fontja  # noqa: F401  (makes IPAexGothic the font: labels are Japanese)
import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from handwriting.images.canonical import Uint8
from handwriting.storage.atomic import write_atomically
from training_character_classification.arms import Arm
from training_character_classification.report.results import (
    Estimate,
    Finding,
    Place,
    Results,
    people_text,
)

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False,
                     "figure.constrained_layout.use": True})  # fmt: skip

MAX_CHARACTERS = 60  # bars in a row that remain legible
MAX_ARMS = 16  # rows of bars
MAX_PAIRS = 12  # of confused characters
MAX_NAME = 24  # last characters of a writer's name that are shown
CELL_INCHES = 0.5  # width of a character in a row of images
CONTROL, NAMED, CONTROLS, LOSS = "black", "#c0392b", "#8a8a8a", "#c0392b"
CANDIDATES = ("#3b6ea5", "#2e7d4f", "#8e5ea2", "#d68910", "#16a085", "#7d5a3c")
DASHES = ("--", ":", "-.", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
ACCURACY_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
NEAR_ZERO = 0.002  # accuracies are drawn in [this, 1 - this]: a logit axis has no 0 or 1
GAIN_TICKS = (-0.5, -0.2, -0.05, 0, 0.05, 0.2, 0.5)
LINEAR_GAIN = 0.05  # beyond it the axis of gains is logarithmic, so that small ones stay legible


def save(figure: Figure, path: Path) -> None:
    try:
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110))
    finally:
        plt.close(figure)


def _ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Label those of the ticks that lie within the axis's limits, without minor ticks."""
    low, high = axis.get_view_interval()
    shown = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(shown, labels=[f"{tick:g}" for tick in shown], fontsize=8)
    axis.set_ticks([], minor=True)


# People -------------------------------------------------------------------------------------------


def rows_of_images(blocks: Mapping[str, Mapping[str, Uint8]], path: Path) -> None:
    """Blocks of labelled rows of images (N, H, W), black on white."""
    size_px = next(iter(next(iter(blocks.values())).values())).shape[-1]
    cell, gap = size_px + 2, size_px // 3  # px between rows and between blocks
    labels, tops, parts = list[str](), list[int](), list[Uint8]()
    height = 0
    for title, rows in blocks.items():
        for i, (label, images) in enumerate(rows.items()):
            labels.append(label if i else f"{title[-MAX_NAME:]}: {label}")
            tops.append(height)
            strip = np.hstack([np.pad(image, ((0, 2), (1, 1))) for image in images])
            parts.append(strip if i < len(rows) - 1 else np.pad(strip, ((0, gap), (0, 0))))
            height += len(parts[-1])
    picture = 255 - np.vstack(parts)
    inches = CELL_INCHES / cell
    figure, axis = plt.subplots(figsize=(2.0 + inches * picture.shape[1], inches * len(picture)))
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axis.set_xticks([])
    axis.set_yticks([top + size_px / 2 for top in tops], labels, fontsize=8)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    save(figure, path)


def images_with_captions(rows: Mapping[str, Sequence[tuple[Uint8, str]]], path: Path) -> None:
    """Labelled rows of images (H, W), black on white, each with a caption beneath."""
    longest = max(1, *map(len, rows.values()))
    size = 3.0 + 0.8 * longest, 1.05 * len(rows)
    figure, axes = plt.subplots(len(rows), longest, figsize=size, squeeze=False)
    for row, (label, shown) in zip(axes, rows.items(), strict=True):
        row[0].text(-0.1, 0.5, label, transform=row[0].transAxes, ha="right", va="center", size=8)
        for axis in row:
            axis.axis("off")
        for axis, (image, caption) in zip(row, shown, strict=False):
            axis.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
            axis.set_title(caption, y=-0.3, fontsize=9)
    save(figure, path)


# Arms ---------------------------------------------------------------------------------------------


def arm_intervals(
    points: Mapping[Place, Estimate], control: Arm, named: Arm | None,
    label: str, path: Path, are_gains: bool = False,
) -> None:  # fmt: skip
    """A value of each arm with its interval, a column for each number of people.

    The control is black, the arm that was named beforehand red, other candidates are blue.

    Args:
        points: the values and their intervals.
        label: of the axis of values.
        are_gains: draws them around zero, on a scale that is logarithmic beyond ``LINEAR_GAIN``.
    """
    people = sorted({number for _, number in points})
    means: dict[Arm, list[float]] = {}
    for (arm, _), (value, _) in points.items():
        means.setdefault(arm, []).append(value)
    arms = sorted(means, key=lambda arm: float(np.mean(means[arm])))
    size = 3.4 + 2.4 * len(people), 1.2 + 0.3 * len(arms)
    figure, axes = plt.subplots(
        1, len(people), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axis, number in zip(axes[0], people, strict=True):
        for row, arm in enumerate(arms):
            if (arm, number) in points:
                value, bounds = points[arm, number]
                color = _color(arm, control, named, CANDIDATES[0])
                axis.plot(bounds or (value,) * 2, [row, row], color=color, linewidth=3, alpha=0.4)
                axis.plot(value, row, "o", color=color)
        if are_gains:
            axis.axvline(0, color="black", linewidth=0.8)
            axis.set_xscale("symlog", linthresh=LINEAR_GAIN)
            _ticks(axis.xaxis, GAIN_TICKS)
        axis.set_title(people_text(number), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0, 0].set_yticks(range(len(arms)), [str(arm) for arm in arms])
    figure.supxlabel(label, fontsize=10)
    save(figure, path)


def _color(arm: Arm, control: Arm, named: Arm | None, candidate: str) -> str:
    special = {control: CONTROL, named: NAMED}
    return special.get(arm) or (CONTROLS if arm.is_control else candidate)


def accuracy_over_people(
    findings: Sequence[Finding], control: Arm, named: Arm | None, path: Path
) -> None:
    """The accuracy of each arm against the number of people, with its interval as a band.

    The control is black, and with the most people the ceiling; the arm named beforehand is red.
    """
    lines: dict[Arm, list[Finding]] = {}
    for found in findings:
        lines.setdefault(found.arm, []).append(found)
    people = sorted({found.people for found in findings})
    # In the order of their first points; lines that begin later come last.
    order = sorted(lines, key=lambda arm: (lines[arm][0].people > people[0],
                                           -lines[arm][0].accuracy))  # fmt: skip
    figure, axis = plt.subplots(figsize=(9, 5))
    colors, dashes = iter(cycle(CANDIDATES)), iter(cycle(DASHES))
    for arm in order:
        stands_out = arm in (control, named)
        candidate = CANDIDATES[0] if arm.is_control else next(colors)
        color = _color(arm, control, named, candidate)
        points = np.array([(f.accuracy, *(f.interval or (f.accuracy,) * 2)) for f in lines[arm]])
        accuracy, low, high = points.clip(NEAR_ZERO, 1 - NEAR_ZERO).T
        x = [found.people for found in lines[arm]]
        axis.plot(
            x, accuracy, marker="o", markersize=4, color=color,
            linestyle=next(dashes) if arm.is_control and not stands_out else "-",
            linewidth=2.4 if stands_out else 1.2, label=str(arm), zorder=3 if stands_out else 2,
        )  # fmt: skip
        axis.fill_between(x, low, high, color=color, alpha=0.15 if stands_out else 0.05)
    for found in lines.get(control, []):
        if found.people == people[-1]:
            label = f"ceiling: {control} with {found.people}"
            accuracy = min(found.accuracy, 1 - NEAR_ZERO)
            axis.axhline(accuracy, color=CONTROL, linestyle=":", linewidth=1, label=label)
    axis.set_xscale("log")
    axis.set_xticks(people, [str(number) for number in people])
    axis.set_yscale("logit")  # halving the errors is about the same distance everywhere
    _ticks(axis.yaxis, ACCURACY_TICKS)
    axis.set_xlabel("people trained on")
    axis.set_ylabel("accuracy on test writers")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, handlelength=3.5)
    save(figure, path)


# Characters ---------------------------------------------------------------------------------------


def per_character_bars(results: Results, path: Path) -> None:
    """Accuracy on each character, one row of bars per arm; the hardest characters first."""
    accuracy = results.by_character.groupby(level="character").mean().iloc[:, :MAX_ARMS]
    hardest = accuracy.mean(axis=1).sort_values(kind="stable").index[:MAX_CHARACTERS]
    accuracy = accuracy.loc[hardest]
    size = max(6.0, 0.22 * len(accuracy)), 0.8 + 0.75 * accuracy.shape[1]
    figure, axes = plt.subplots(accuracy.shape[1], 1, figsize=size, sharex=True, squeeze=False)
    arms = accuracy.columns.get_level_values("arm")
    for axis, arm, heights in zip(axes[:, 0], arms, accuracy.to_numpy().T, strict=True):
        axis.bar(hardest, heights, color=CANDIDATES[0])
        axis.set_ylim(0, 1)
        axis.set_yticks([0, 1])
        axis.set_title(str(arm), loc="left", fontsize=8, pad=2)
    save(figure, path)


def gains_per_character(gains: Mapping[str, Mapping[str, Estimate]], path: Path) -> None:
    """The gain on each character with its interval, largest first, a row per comparison.

    Args:
        gains: title of the comparison -> character -> gain; if there are too many characters, those
            with middling gains are left out.
    """
    longest = min(MAX_CHARACTERS, max(len(found) for found in gains.values()))
    size = max(6.0, 0.22 * longest), 2.4 * len(gains)
    figure, axes = plt.subplots(len(gains), 1, figsize=size, sharey=True, squeeze=False)
    for axis, (title, found) in zip(axes[:, 0], gains.items(), strict=True):
        order = sorted(found, key=lambda c: -found[c][0])
        if len(order) > MAX_CHARACTERS:
            order = order[: MAX_CHARACTERS // 2] + order[-MAX_CHARACTERS // 2 :]
        heights = [found[c][0] for c in order]
        bounds = np.array([found[c][1] or (found[c][0],) * 2 for c in order])
        colors = [CANDIDATES[1] if height >= 0 else LOSS for height in heights]
        axis.bar(range(len(order)), heights, color=colors)
        axis.vlines(range(len(order)), *bounds.T, color="#444444", linewidth=1)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(range(len(order)), order)
        axis.set_xlim(-1, len(order))
        axis.set_title(title, loc="left", fontsize=9)
    save(figure, path)


def confusion_pairs(found: Mapping[str, pd.DataFrame], control: Arm, path: Path) -> None:
    """The most frequent confusions of the control and of an arm, a column per comparison.

    Args:
        found: title of the comparison -> written, read, control, arm: see ``confusions``.
    """
    size = max(6.0, 3.8 * len(found)), 1.4 + 0.3 * MAX_PAIRS
    figure, axes = plt.subplots(1, len(found), figsize=size, sharex=True, squeeze=False)
    for axis, (title, pairs) in zip(axes[0], found.items(), strict=True):
        shown = pairs[:MAX_PAIRS]
        rows = range(len(shown))
        axis.hlines(rows, shown["control"], shown["arm"], color="#cccccc", zorder=1)
        axis.scatter(shown["control"], rows, 70, "none", edgecolors=CONTROL, label=str(control))
        axis.scatter(shown["arm"], rows, 20, NAMED, label="the arm compared with it")
        axis.set_yticks(rows, shown["written"] + "→" + shown["read"])
        axis.set_ylim(MAX_PAIRS - 0.5, -0.5)
        axis.set_title(title, loc="left", fontsize=8)
        axis.set_xlabel("count")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="x", alpha=0.3)
    axes[0, 0].set_xlim(left=-0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save(figure, path)
