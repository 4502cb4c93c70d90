"""Whether a generator still varies: samples that all look the same are how a GAN fails.

The images of a group, such as one character, are compared with each other, and real ones likewise.
"""

import torch
from torch import Tensor

from handwriting.runs.run import Run

# Of the variety of real images. The sheets of a DCGAN that learns katakana (docs/dcgan.gif) begin
# with 0.24 to 0.31 and end with 0.70, style transfer has 0.93, one image whatever the noise 0.
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
    """Warn if generated images (G, N, ...) hardly differ beside real ones (G, N, ...).

    Of one image in a group nothing can be said.
    """
    if images.shape[1] < 2:
        return
    ratio = float(variety(images) / variety(real).clamp(min=1e-6))
    if not ratio >= COLLAPSED:
        run.warn(
            step, f"samples differ by {ratio:.0%} of what real images do: it may have collapsed"
        )
