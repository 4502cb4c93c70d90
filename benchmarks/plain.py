"""Plain implementations of what the stages do, which ``speed.py`` times for comparison."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from handwriting.runs import runtime as runtime_module
from handwriting.runs.inference import Features
from handwriting.runs.runtime import Runtime
from training_dcgan.networks import FromPoint, ToPoint
from training_style_transfer.objective import (
    GeneratorObjective,
    PerceptualLoss,
    style_loss,
    text_loss,
)

PLAIN_BATCH = 64  # samples of a per-sample loader's batch


@contextmanager
def plain() -> Iterator[None]:
    """Replace optimised implementations by plain ones inside the block."""
    with ExitStack() as stack:
        for of, name, value in (
            (Runtime, "to_device", lambda self, network: network.to(self.device)),
            (Runtime, "step", plain_step),
            (runtime_module, "fold_batch_norms", lambda network: None),
            (runtime_module, "precision_of", lambda config: "no"),
            (GeneratorObjective, "gradient", plain_gradient),
            (PerceptualLoss, "forward", plain_perceptual),
            (Features, "MAX_BYTES", -1),
            (FromPoint, "forward", nn.ConvTranspose2d.forward),
            (ToPoint, "forward", nn.Conv2d.forward),
            (torch.optim.Adam, "__init__", without_fused(torch.optim.Adam)),
            (torch.optim.AdamW, "__init__", without_fused(torch.optim.AdamW)),
        ):
            stack.enter_context(patch.object(of, name, value))
        yield


def without_fused(optimizer: type) -> Callable[..., None]:
    original = optimizer.__init__

    def init(self: object, *arguments: object, fused: bool = False, **more: object) -> None:
        original(self, *arguments, **more)

    return init


def plain_step(self: Runtime, optimizer: Optimizer) -> Tensor:
    optimizer.step()
    return torch.zeros(())


def plain_perceptual(self: PerceptualLoss, output: Tensor, target: Tensor) -> Tensor:
    losses = []
    for features in self.encoder.stages(torch.cat([output, target])):
        of_output, of_target = features.chunk(2)
        losses.append(F.l1_loss(of_output, of_target) / of_target.abs().mean().clamp(min=1e-6))
    return torch.stack(losses).mean()


def plain_gradient(
    self: GeneratorObjective, generator: Any, discriminator: nn.Module, output: Tensor,
    target: Tensor, style: tuple[Tensor, Tensor], labels: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """The same terms, with the adaptive weight from gradients at the last layer."""
    style = (style[0].detach(), style[1].detach())
    terms = {
        "reconstruction": F.l1_loss(output, target),
        "perceptual": self.perceptual(output, target),
        "style": style_loss(generator.style(output), style),
        "clip": text_loss(self.clip, output, self.class_embeddings, labels),
    }
    wanted = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
    adversarial = -discriminator(output).mean()
    norms = [
        torch.autograd.grad(loss, generator.decoder.last.weight, retain_graph=True)[0].norm()
        for loss in (wanted, adversarial)
    ]
    weight = (norms[0] / (norms[1] + 1e-6)).clamp(max=1e4).detach()
    total = wanted + self.weights["adversarial"] * weight * adversarial
    (gradient,) = torch.autograd.grad(total, output, retain_graph=True)
    return gradient, {**terms, "adversarial": adversarial, "adaptive_weight": weight}


class PlainPairs(Dataset[Tensor]):
    """Pairs as per-sample loaders make them: each image opened, resized, rotated and converted."""

    def __init__(self, paths: list[Path], size_px: int, channels: str) -> None:
        self._paths, self._size_px, self._channels = paths, size_px, channels
        self._rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return PLAIN_BATCH

    def __getitem__(self, _: int) -> Tensor:
        angle, pair = float(self._rng.uniform(-15, 15)), []
        for number in self._rng.integers(len(self._paths), size=2):
            image = Image.open(self._paths[number]).convert(self._channels)
            image = image.resize((self._size_px, self._size_px), Image.Resampling.BILINEAR)
            image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor="white")
            pixels = np.asarray(image).reshape(self._size_px, self._size_px, -1)
            pair.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1)
        return torch.stack(pair)
