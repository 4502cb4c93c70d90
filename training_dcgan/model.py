"""The DCGAN: a generator and a discriminator, all convolutions, and one step of training both.

A. Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks, 2016. The interface of :class:`DCGAN` is that of a Keras model: ``build``,
``summary``, ``train_on_batch``, ``generate``. Given classes, the generator is told which to draw by
an embedding beside its noise, and the discriminator which to expect by a projection (T. Miyato,
M. Koyama, cGANs with Projection Discriminator, 2018). The discriminator sees how much the images of
a group differ (T. Karras et al., Progressive Growing of GANs, 2018, section 3, for each feature):
without it, a class came to look the same whatever the noise.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam

from handwriting.config import Runtime as RuntimeConfig
from handwriting.errors import InputError
from handwriting.networks.ema import Average
from handwriting.parallel.rows import Rng, draw_rows
from handwriting.runs.runtime import Runtime
from training_dcgan.augment import shift

SLOPE = 0.2  # of LeakyReLU below zero (Radford et al. 2016, section 4)
NUM_FEATURES = 128  # of an image, as the discriminator sees it before its verdict
GROUP = 4  # images that follow each other in a batch and are compared; best of one class
DEVIATION_WEIGHT = 0.5  # of how they differ beside what each shows: diversity against legibility


class FromPoint(nn.ConvTranspose2d):
    """A transposed convolution of one position, (B, C, 1, 1) to (B, C', S, S), as a matrix product.

    On a CPU kernels as large as the image take many times as long as convolutions.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        by_place = self.weight.permute(0, 2, 3, 1)  # (C, S, S, C'), as it lies in channels-last
        made = x.flatten(1) @ by_place.flatten(1)
        return made.unflatten(1, by_place.shape[1:]).permute(0, 3, 1, 2)


class ToPoint(nn.Conv2d):
    """A convolution whose kernel is the image, (B, C, S, S) to (B, C', 1, 1), as one, likewise."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, self.bias)[..., None, None]


class Generator(nn.Module):
    """Noise to images: transposed convolutions from 1 x 1 to a quarter, a half, the whole side.

    Args:
        size_px: S, a multiple of 4.
        z_dim: Z.
        num_classes: K; None for images of no particular class.
        dim: channels at half the side; twice as many at a quarter.
    """

    def __init__(self, size_px: int, z_dim: int, num_classes: int | None, dim: int) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "size_px": size_px, "z_dim": z_dim, "num_classes": num_classes, "dim": dim,
        }  # fmt: skip
        self.embedding = nn.Embedding(num_classes, z_dim) if num_classes else None
        inputs = 2 * z_dim if num_classes else z_dim
        self.layers = nn.Sequential(
            FromPoint(inputs, 2 * dim, size_px // 4, bias=False),
            nn.BatchNorm2d(2 * dim),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(2 * dim, dim, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(dim),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(dim, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise (B, Z), and classes (B,) if there are any, to images (B, 1, S, S) in [-1, 1]."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        images: Tensor = self.layers(z[..., None, None])
        return images.float()


class Discriminator(nn.Module):
    """Images to logits, high for real: strided convolutions, each of spectral norm 1.

    T. Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018: in place of
    batch norm, with which real and generated batches would have statistics of their own.

    Args:
        size_px: S, a multiple of 4.
        num_classes: K; None to judge images whatever they show.
        dim: channels at half the side; twice as many at a quarter.
    """

    def __init__(self, size_px: int, num_classes: int | None, dim: int) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "size_px": size_px, "num_classes": num_classes, "dim": dim,
        }  # fmt: skip
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(1, dim, 4, stride=2, padding=1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Conv2d(dim, 2 * dim, 4, stride=2, padding=1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(ToPoint(2 * dim, NUM_FEATURES, size_px // 4)),
            nn.LeakyReLU(SLOPE),
        )
        self.verdict = spectral_norm(nn.Conv2d(2 * NUM_FEATURES, 1, 1))
        self.embedding = nn.Embedding(num_classes, NUM_FEATURES) if num_classes else None
        if self.embedding is not None:
            # Not normalised: one norm for all classes left each too weak, and ユ passed as エ.
            nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, 1, S, S) in [-1, 1], and their classes (B,) if there are any, to (B,).

        B is a multiple of ``GROUP``.
        """
        features = self.layers(images)  # (B, D, 1, 1)
        seen = torch.cat([features, DEVIATION_WEIGHT * deviations(features)], dim=1)
        logits: Tensor = self.verdict(seen).flatten()
        if self.embedding is not None:  # Miyato, Koyama 2018, eq. 4
            logits = logits + (self.embedding(labels) * features.flatten(1)).sum(dim=1)
        return logits.float()


def deviations(features: Tensor) -> Tensor:
    """The standard deviation of each feature (B, D, 1, 1) in the group of each image, likewise."""
    groups = features.unflatten(0, (-1, GROUP))  # (B / GROUP, GROUP, D, 1, 1)
    variance = groups.var(dim=1, keepdim=True, unbiased=False)
    return (variance + 1e-8).sqrt().expand_as(groups).flatten(0, 1)


class DCGAN:
    """A generator and a discriminator with their optimizers, as one model.

    Args:
        size_px: S, the side of the images, a multiple of 4.
        z_dim: Z, how many normal values an image is made from.
        num_classes: K, for images of classes that are asked for by label; None for any.
        dim: the generator's channels at half the side.
        discriminator_dim: the discriminator's channels at half the side.
        learning_rate, discriminator_learning_rate: of Adam.
        betas: of Adam.
        ema_decay: of the averaged generator, which is the one that :meth:`generate` draws with.

    Raises:
        InputError: a side that cannot be halved twice.
    """

    def __init__(
        self, size_px: int = 28, z_dim: int = 100, num_classes: int | None = None, dim: int = 64,
        discriminator_dim: int = 64, learning_rate: float = 4e-4,
        discriminator_learning_rate: float = 4e-4, betas: tuple[float, float] = (0.5, 0.999),
        ema_decay: float = 0.995,
    ) -> None:  # fmt: skip
        if size_px % 4 or size_px < 8:
            raise InputError(f"size_px={size_px}: a DCGAN needs a multiple of 4 from 8 up")
        self.size_px, self.z_dim, self.num_classes = size_px, z_dim, num_classes
        self._dims = dim, discriminator_dim
        self._learning_rates = learning_rate, discriminator_learning_rate
        self._betas, self._ema_decay = betas, ema_decay

    def build(self, runtime: Runtime | None = None) -> "DCGAN":
        """Make the networks and their optimizers, and return the model.

        Args:
            runtime: device and precision; the CPU in float32 if none is given.
        """
        in_float32 = RuntimeConfig("cpu", "no", 0, 60.0, False)
        self._runtime = runtime or Runtime(in_float32)
        dim, discriminator_dim = self._dims
        self.generator = Generator(self.size_px, self.z_dim, self.num_classes, dim)
        self.discriminator = Discriminator(self.size_px, self.num_classes, discriminator_dim)
        self._runtime.to_device(self.generator)
        self._runtime.to_device(self.discriminator)
        self.averaged = Average(self.generator, self._ema_decay).eval()
        self.generator_optimizer, self.discriminator_optimizer = (
            Adam(network.parameters(), learning_rate, betas=self._betas, fused=True)
            for network, learning_rate in zip(
                (self.generator, self.discriminator), self._learning_rates, strict=True
            )
        )
        return self

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold to go on as if nothing had happened."""
        names = ("generator", "discriminator", "averaged", "generator_optimizer",
                 "discriminator_optimizer")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def summary(self) -> str:
        """The layers of both networks, the shapes they put out, and how many weights they have."""
        device = self._runtime.device
        labels = torch.zeros(GROUP, dtype=torch.long, device=device) if self.num_classes else None
        z = torch.zeros(GROUP, self.z_dim, device=device)
        images = torch.zeros(GROUP, 1, self.size_px, self.size_px, device=device)
        parts = [(self.generator, z), (self.discriminator, images)]
        return "\n\n".join(_summary(network, given, labels) for network, given in parts)

    def generate_noise(self, n: int, rng: Rng | None = None) -> Tensor:
        """Standard normal noise (n, Z), from torch's own generator if none is given."""
        return draw_rows(
            lambda size, **at: torch.randn(size, self.z_dim, **at), n, rng, self._runtime.device
        )

    @torch.no_grad()
    def generate(self, n_or_noise: int | Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (n, 1, S, S) in [-1, 1] by the averaged generator.

        Args:
            n_or_noise: how many, or their noise (n, Z).
            labels: (n,) classes, for a conditional model and for no other.
        """
        noise = n_or_noise if isinstance(n_or_noise, Tensor) else self.generate_noise(n_or_noise)
        self._check_labels(labels, len(noise))
        with self._runtime.autocast():
            images: Tensor = self.averaged(noise, labels)
        return images

    def train_on_batch(
        self, x: Tensor, labels: Tensor | None = None, freeze_discriminator: bool = True,
        rng: Rng | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """One step of the discriminator, then one of the generator; both see the same noise.

        Args:
            x: (B, 1, S, S) real images in [-1, 1], B a multiple of ``GROUP``.
            labels: (B,) their classes, for a conditional model and for no other; the generated
                images are of these classes too.
            freeze_discriminator: whether the generator's step leaves the discriminator alone. Left
                trainable in a joint Keras model, it learns there from the generator's loss to call
                generated images real, against its own step. False does the same here: for
                comparison, not for use.
            rng: that draws noise and augmentation, on the model's device.

        Returns:
            Scalars: ``discriminator_loss``, ``generator_loss``; ``real_accuracy`` and
            ``fake_accuracy``, the share of real and of generated images that the discriminator
            tells right; ``fooled``, the share of generated images it takes for real after its
            step; ``discriminator_gradient`` and ``generator_gradient``, their gradients' norms.

        Raises:
            InputError: images of another shape, or labels that do not fit the model.
        """
        self._check_images(x)
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

        # (2) The generator. In evaluation mode the spectral norms stay what they are.
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

    def _check_images(self, x: Tensor) -> None:
        side = self.size_px
        if x.ndim != 4 or tuple(x.shape[1:]) != (1, side, side):
            raise InputError(f"images of shape {tuple(x.shape)}: expected (B, 1, {side}, {side})")
        if len(x) % GROUP:
            raise InputError(f"{len(x)} images in a batch: expected a multiple of {GROUP}")

    def _check_labels(self, labels: Tensor | None, size: int) -> None:
        if self.num_classes is None and labels is not None:
            raise InputError("labels for an unconditional DCGAN: give it num_classes, or no labels")
        if self.num_classes is not None and (labels is None or labels.shape != (size,)):
            found = "none" if labels is None else tuple(labels.shape)
            raise InputError(f"a class-conditional DCGAN needs labels ({size},), found {found}")


def _summary(network: nn.Module, given: Tensor, labels: Tensor | None) -> str:
    """A line per layer with weights or a shape of its own, in the order in which they are used."""
    rows: list[tuple[str, str, int]] = []

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        count = sum(weights.numel() for weights in layer.parameters())
        rows.append((type(layer).__name__, str(tuple(output.shape[1:])), count))

    layers = [m for name, m in network.named_modules()
              if "parametrizations" not in name and not isinstance(m, nn.Sequential)]  # fmt: skip
    hooks = [layer.register_forward_hook(note) for layer in layers if layer is not network]
    was_training = network.training
    with torch.no_grad():
        network.eval()(given, labels)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    lines = [f"{name.removeprefix('Parametrized'):18}{shape:18}{n:>10,}" for name, shape, n in rows]
    total = sum(weights.numel() for weights in network.parameters())
    title = f"{type(network).__name__:18}{'output':18}{'weights':>10}"
    return "\n".join([title, *lines, f"{'total':36}{total:>10,}"])
