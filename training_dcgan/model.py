"""The DCGAN as one model: its two networks, their optimizers, and a training step for both.

The interface is that of a Keras model: ``build``, ``summary``, ``train_on_batch``, ``generate``.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from handwriting.config import Runtime as RuntimeConfig
from handwriting.errors import InputError
from handwriting.networks.optimizer import MovingAverage
from handwriting.rng import Rng
from handwriting.runs.runtime import Runtime
from training_dcgan.augment import shift
from training_dcgan.networks import GROUP, Discriminator, Generator


@dataclass(eq=False)
class DCGAN:
    """A generator and a discriminator with their optimizers, as one model.

    Attributes:
        size_px: S, the side of the images, a multiple of 4.
        z_dim: Z, the dimension of the noise.
        num_classes: K, if images are conditioned on class labels, else None.
        dim, discriminator_dim: channels at half the side.
        learning_rate, discriminator_learning_rate, betas: of Adam.
        ema_decay: of the averaged generator, which :meth:`generate` uses.

    Raises:
        InputError: ``size_px`` is less than 8 or cannot be halved twice.
    """

    size_px: int = 28
    z_dim: int = 100
    num_classes: int | None = None
    dim: int = 64
    discriminator_dim: int = 64
    learning_rate: float = 4e-4
    discriminator_learning_rate: float = 4e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ema_decay: float = 0.995

    def __post_init__(self) -> None:
        if self.size_px % 4 or self.size_px < 8:
            raise InputError(f"size_px={self.size_px}: a DCGAN needs a multiple of 4, at least 8")

    def build(self, runtime: Runtime | None = None) -> "DCGAN":
        """Create the networks and their optimizers, by default on the CPU in float32."""
        self._runtime = runtime or Runtime(RuntimeConfig("cpu", "no", 0, 60.0, False))
        self.generator = Generator(self.size_px, self.z_dim, self.num_classes, self.dim)
        self.discriminator = Discriminator(self.size_px, self.num_classes, self.discriminator_dim)
        self._runtime.to_device(self.generator)
        self._runtime.to_device(self.discriminator)
        self.averaged = MovingAverage(self.generator, self.ema_decay).eval()
        adam = partial(Adam, betas=self.betas, fused=True)
        self.generator_optimizer = adam(self.generator.parameters(), self.learning_rate)
        self.discriminator_optimizer = adam(
            self.discriminator.parameters(), self.discriminator_learning_rate
        )
        self._rng = Rng(int(torch.randint(2**62, ())), self._runtime.device)
        return self

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold for training to resume exactly."""
        return {
            "generator": self.generator, "discriminator": self.discriminator,
            "averaged": self.averaged, "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }  # fmt: skip

    def summary(self) -> str:
        """Layers of both networks with their output shapes and numbers of weights."""
        device = self._runtime.device
        labels = torch.zeros(GROUP, dtype=torch.long, device=device) if self.num_classes else None
        z = torch.zeros(GROUP, self.z_dim, device=device)
        images = torch.zeros(GROUP, 1, self.size_px, self.size_px, device=device)
        parts = [(self.generator, z), (self.discriminator, images)]
        return "\n\n".join(_summary(network, given, labels) for network, given in parts)

    def generate_noise(self, n: int, rng: Rng | None = None) -> Tensor:
        """Standard normal noise (n, Z), drawn from ``rng``, by default the model's own."""
        return (rng or self._rng).randn(n, self.z_dim)

    @torch.no_grad()
    def generate(self, n_or_noise: int | Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (n, 1, S, S) in [-1, 1] by the averaged generator.

        Args:
            n_or_noise: the number of images, or their noise (n, Z).
            labels: (n,) classes; required by a conditional model, refused by any other.
        """
        noise = n_or_noise if isinstance(n_or_noise, Tensor) else self.generate_noise(n_or_noise)
        self._check_labels(labels, len(noise))
        with self._runtime.autocast():
            return self.averaged(noise, labels)

    def train_on_batch(
        self, x: Tensor, labels: Tensor | None = None, freeze_discriminator: bool = True,
        rng: Rng | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """One step of the discriminator, then one of the generator; both see the same noise.

        Args:
            x: (B, 1, S, S) real images in [-1, 1], B a multiple of ``GROUP``.
            labels: (B,) their classes; required by a conditional model, refused by any other. The
                generated images are of these classes too.
            freeze_discriminator: whether the generator's step leaves the discriminator unchanged.
                False is for comparison only: as in a joint Keras model whose discriminator is left
                trainable, it then also minimises the generator's loss, against its own objective.
            rng: draws noise and augmentation, on the model's device; by default the model's own.

        Returns:
            Scalars. ``real_accuracy`` and ``fake_accuracy`` are the shares of real and of generated
            images that the discriminator classifies correctly, ``fooled`` the share of generated
            images that it takes for real after its step; gradients are norms.

        Raises:
            InputError: images of another shape, a batch size that is not a multiple of ``GROUP``,
                or labels that do not fit the model.
        """
        rng = rng or self._rng
        side = self.size_px
        if x.ndim != 4 or tuple(x.shape[1:]) != (1, side, side):
            raise InputError(f"images of shape {tuple(x.shape)}: expected (B, 1, {side}, {side})")
        if len(x) % GROUP:
            raise InputError(f"{len(x)} images in a batch: expected a multiple of {GROUP}")
        self._check_labels(labels, len(x))
        # (1) The discriminator: real and generated images in batches of their own.
        self.discriminator.train().requires_grad_(True)
        with self._runtime.autocast():
            fake = self.generator.train()(self.generate_noise(len(x), rng), labels)
            real_logits = self.discriminator(shift(x, rng), labels)
            fake_logits = self.discriminator(shift(fake.detach(), rng), labels)
            discriminator_loss = F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
        self.discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        discriminator_gradient = self._runtime.step(self.discriminator_optimizer)

        # (2) The generator. Evaluation mode keeps the spectral norms unchanged.
        self.discriminator.eval().requires_grad_(not freeze_discriminator)
        self.discriminator_optimizer.zero_grad()
        with self._runtime.autocast():
            logits = self.discriminator(shift(fake, rng), labels)
            generator_loss = -logits.mean()
        self.generator_optimizer.zero_grad()
        generator_loss.backward()
        generator_gradient = self._runtime.step(self.generator_optimizer)
        if not freeze_discriminator:
            self._runtime.step(self.discriminator_optimizer)
        self.averaged.update_parameters(self.generator)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
            "real_accuracy": (real_logits > 0).float().mean(),
            "fake_accuracy": (fake_logits < 0).float().mean(),
            "fooled": (logits > 0).float().mean(),
            "discriminator_gradient": discriminator_gradient,
            "generator_gradient": generator_gradient,
        }

    def _check_labels(self, labels: Tensor | None, size: int) -> None:
        if self.num_classes is None and labels is not None:
            raise InputError(
                "an unconditional DCGAN takes no labels: pass none, or build it with num_classes"
            )
        if self.num_classes is not None and (labels is None or labels.shape != (size,)):
            found = "none" if labels is None else tuple(labels.shape)
            raise InputError(
                f"a class-conditional DCGAN needs labels of shape ({size},), found {found}"
            )


def _summary(network: nn.Module, given: Tensor, labels: Tensor | None) -> str:
    """A line per layer, in the order in which the layers are used."""
    rows: list[tuple[str, str, int]] = []

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        count = sum(weights.numel() for weights in layer.parameters())
        rows.append((type(layer).__name__, str(tuple(output.shape[1:])), count))

    # A copy, so that neither the hooks nor evaluation mode remain on the network itself.
    copy = deepcopy(network).eval()
    for name, layer in copy.named_modules():
        if name and "parametrizations" not in name and not isinstance(layer, nn.Sequential):
            layer.register_forward_hook(note)
    with torch.no_grad():
        copy(given, labels)
    lines = [f"{name.removeprefix('Parametrized'):18}{shape:18}{n:>10,}" for name, shape, n in rows]
    total = sum(weights.numel() for weights in network.parameters())
    title = f"{type(network).__name__:18}{'output':18}{'weights':>10}"
    return "\n".join([title, *lines, f"{'total':36}{total:>10,}"])
