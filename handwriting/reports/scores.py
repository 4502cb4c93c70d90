"""A recogniser's scores, per character and overall."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from handwriting.reports.statistics import Float64, Int64


@dataclass(frozen=True)
class Scores:
    """A recogniser on a test set. Classes without a test image are not counted."""

    macro_f1: float  # mean of the tested classes' F1
    per_character: dict[str, dict[str, float]]  # accuracy, precision, recall, f1, support
    confusions: list[tuple[str, str, int]]  # (true, predicted, count), most frequent first


def score(
    labels: Int64, predicted: Int64, characters: Sequence[str], num_confusions: int
) -> Scores:
    """The scores of N predictions of K characters; labels and predicted classes are (N,)."""
    tested = np.unique(labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=tested, zero_division=0.0
    )
    # The accuracy on the images of one class is its recall.
    columns = {"accuracy": recall, "precision": precision, "recall": recall, "f1": f1,
               "support": support}  # fmt: skip
    per_character = {
        characters[label]: {name: column[i].item() for name, column in columns.items()}
        for i, label in enumerate(tested)
    }
    matrix = confusion_matrix(labels, predicted, labels=np.arange(len(characters)))
    np.fill_diagonal(matrix, 0)
    order = np.argsort(matrix, axis=None, kind="stable")[::-1][:num_confusions]
    pairs = zip(*np.unravel_index(order, matrix.shape), strict=True)
    confusions = [
        (characters[i], characters[j], int(matrix[i, j])) for i, j in pairs if matrix[i, j]
    ]
    return Scores(float(f1.mean()), per_character, confusions)


def worst_tenth(accuracies: Sequence[float] | Float64) -> float:
    """The mean over the worst tenth of the characters, at least one of them."""
    return float(np.mean(np.sort(accuracies)[: max(1, len(accuracies) // 10)]))
