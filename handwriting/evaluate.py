"""Networks over whole packed sets, in batches."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from handwriting.augment import to_float
from handwriting.packed import PackedImages
from handwriting.runtime import Runtime


@torch.no_grad()
def outputs(
    network: nn.Module, packed: PackedImages, runtime: Runtime, batch_size: int = 512
) -> Tensor:
    """A network's outputs on all images, in float32 on the CPU.

    Args:
        network: images (B, 1, H, W) in [-1, 1] to (B, D); it is put in evaluation mode.
        packed: N images.

    Returns:
        (N, D).
    """
    network.eval()
    found = []
    for start in range(0, len(packed), batch_size):
        images = torch.from_numpy(np.array(packed.images[start : start + batch_size]))
        with runtime.autocast():
            found.append(network(to_float(images.to(runtime.device))).float().cpu())
    return torch.cat(found)


def predict(network: nn.Module, packed: PackedImages, runtime: Runtime) -> npt.NDArray[np.int64]:
    """The likeliest class of each image, (N,)."""
    return outputs(network, packed, runtime).argmax(dim=1).numpy()
