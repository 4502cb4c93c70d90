"""Mode collapse: a warning when a generator's samples all look the same, the usual failure of GANs.

The images of a group, such as a character, are compared with one another, as are real images.
"""

import torch
from torch import Tensor

from handwriting.runs.run import Run

# Share of the variety of real images. Sheets of a DCGAN that learns katakana (docs/dcgan.gif) start
# at 0.24 to 0.31 and end at 0.70; style transfer has 0.93, one and the same image for any noise 0.
COLLAPSED = 0.15


def variety(images: Tensor) -> Tensor:
    """The mean distance between two images of a group, averaged over groups.

    Args:
        images: (G, N, ...) of G groups.

    Returns:
        Root of the mean squared difference (), in the images' unit.
    """
    values = images.flatten(2).float()
    distances = torch.cdist(values, values) / values.shape[2] ** 0.5
    num_images = values.shape[1]
    return distances.sum() / (len(values) * num_images * (num_images - 1))


def check_variety(run: Run, step: int, images: Tensor, real: Tensor) -> None:
    """Warn if generated images (G, N, ...) hardly vary in comparison with real ones (G, N, ...).

    Groups of a single image cannot be judged and are skipped.
    """
    if images.shape[1] < 2:
        return
    ratio = float(variety(images) / variety(real).clamp(min=1e-6))
    if not ratio >= COLLAPSED:
        run.warn(
            step,
            f"samples vary only {ratio:.0%} as much as real images: it may have collapsed",
        )
