"""The objective of the generator and of its discriminator.

Reconstruction of the target, features of a character encoder, style statistics, agreement with the
character's text, and a hinge GAN term whose weight follows the gradients (P. Esser et al., Taming
Transformers, 2021, eq. 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.networks.encoders import ImageEncoder
from handwriting.networks.whole_batch import batch_mean, gather
from training_clip.model import Clip
from training_style_transfer.model import Discriminator, Generator

MAX_ADAPTIVE_WEIGHT = 1e4


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """J. H. Lim, J. C. Ye, Geometric GAN, 2017, eq. 2: real above 1, generated below -1."""
    return (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()) / 2


def style_loss(output: tuple[Tensor, Tensor], style: tuple[Tensor, Tensor]) -> Tensor:
    """Squared differences of the channels' means and deviations (Huang & Belongie 2017, eq. 13).

    Relative to the style's own squares: the style encoder is trained, and its features may grow.
    """
    losses = [
        F.mse_loss(of_output, of_style) / batch_mean(of_style.square()).clamp(min=1e-6)
        for of_output, of_style in zip(output, style, strict=True)
    ]
    return torch.stack(losses).sum()


def text_loss(clip: Clip, images: Tensor, class_embeddings: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of choosing an image's character among the texts of all classes.

    Images are (B, 1, H, W), text embeddings (K, D), labels (B,).
    """
    logits = clip.scale() * clip.encode_image(images) @ class_embeddings.T
    return F.cross_entropy(logits, labels)


class PerceptualLoss(nn.Module):
    """L1 between feature maps of an encoder trained on characters, not of a downloaded one."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.encoder.stages(target)
        losses = []
        for features, of_target in zip(self.encoder.stages(output), wanted, strict=True):
            of_output, of_target = features.float(), of_target.float()
            # Every map has the same weight, whatever its magnitude.
            size = batch_mean(of_target.abs()).clamp(min=1e-6)
            losses.append(F.l1_loss(of_output, of_target) / size)
        return torch.stack(losses).mean()


@dataclass(frozen=True)
class GeneratorObjective:
    """The generator's loss, term by term, and its gradient at the output.

    Every term is a function of the output image alone, so all gradients are taken there, and the
    generator is back-propagated through once. No term trains the networks that it is computed with.

    Attributes:
        perceptual: with the pretrained image encoder.
        clip: frozen.
        class_embeddings: (K, D) text embeddings.
        weights: of the reconstruction, perceptual, style, clip and adversarial terms, by name.
    """

    perceptual: PerceptualLoss
    clip: Clip
    class_embeddings: Tensor
    weights: Mapping[str, float]

    def gradient(
        self, generator: Generator, discriminator: Discriminator, output: Tensor, target: Tensor,
        style: tuple[Tensor, Tensor], labels: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """The gradient of the whole objective with respect to the output.

        Args:
            output, target: (B, 1, H, W), the first with its graph.
            style: of the style image, (B, C) each.
            labels: (B,).

        Returns:
            The gradient (B, 1, H, W), and the unweighted terms with the adaptive weight.
        """
        image = output.detach().requires_grad_()
        style = (style[0].detach(), style[1].detach())
        terms = {
            "reconstruction": F.l1_loss(image, target),
            "perceptual": self.perceptual(image, target),
            "style": style_loss(generator.style(image), style),
            "clip": text_loss(self.clip, image, self.class_embeddings, labels),
        }
        wanted = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        adversarial = -discriminator(image).float().mean()  # Lim, Ye 2017, eq. 3
        (wanted_gradient,) = torch.autograd.grad(wanted, image)
        (gan_gradient,) = torch.autograd.grad(adversarial, image)

        # The ratio of the gradients' norms at the last layer (eq. 7).
        own = [
            torch.autograd.grad(output, generator.decoder.last.weight, part, retain_graph=True)[0]
            for part in (wanted_gradient, gan_gradient)
        ]
        # Each process has the gradients of the mean over its rows.
        norms = [part.norm() for part in gather(torch.stack(own)[None]).mean(0)]
        adaptive = (norms[0] / (norms[1] + 1e-6)).clamp(max=MAX_ADAPTIVE_WEIGHT)
        terms |= {"adversarial": adversarial, "adaptive_weight": adaptive}
        total = wanted_gradient + self.weights["adversarial"] * adaptive * gan_gradient
        return total, terms
