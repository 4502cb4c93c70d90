"""The VAE: its two terms against references, its network, smoothing, its two scripts."""

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke, DrawGlyph
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.distributions import Normal, kl_divergence as reference_kl

from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, smooth
from handwriting.rng import Rng
from handwriting.runs.weights import load_weights
from training_vae import train
from training_vae.model import Encoded, Vae, kl_divergence, squared_error

CLASSES = [None, len(SMOKE)]


def build(num_classes: int | None, size_px: int = 16, dropout: float = 0.1) -> Vae:
    torch.manual_seed(0)
    return Vae(size_px, 5, num_classes, 8, dropout)


def glyphs(corpus: Corpus, vae: Vae) -> tuple[Tensor, Tensor | None]:
    """One image of each character, and its class if the network is told."""
    chosen = [int(np.flatnonzero(corpus.train.labels == k)[0]) for k in range(len(SMOKE))]
    images = torch.from_numpy(np.array(corpus.train.images[chosen])).unsqueeze(1) / 127.5 - 1
    return images, torch.arange(len(SMOKE)) if vae.embedding is not None else None


# The two terms ------------------------------------------------------------------------------------


def test_the_kl_term_is_that_of_normal_distributions(rng: Rng) -> None:
    mean, log_var = torch.randn(2, 7, 5, generator=rng)
    one = Normal(mean, (log_var / 2).exp())
    expected = reference_kl(one, Normal(torch.zeros(7, 5), torch.ones(7, 5)))
    torch.testing.assert_close(kl_divergence(mean, log_var), expected.sum() / 7)


def test_the_reconstruction_term_is_the_sum_of_squared_errors_of_ink(rng: Rng) -> None:
    reconstructions, images = torch.rand(2, 4, 1, 6, 5, generator=rng) * 2 - 1
    ink = [(image + 1) / 2 for image in (reconstructions, images)]
    expected = torch.nn.functional.mse_loss(*ink, reduction="sum") / 4
    torch.testing.assert_close(squared_error(reconstructions, images), expected)
    assert float(squared_error(images, images)) == 0


def test_samples_have_the_mean_and_variance_and_pass_gradients_on(rng: Rng) -> None:
    mean = torch.tensor([[-1.0, 2.0]]).expand(20000, 2).clone().requires_grad_()
    log_var = torch.tensor([[0.0, -2.0]]).expand(20000, 2).clone().requires_grad_()
    latents = Encoded(mean, log_var).sample(rng)
    torch.testing.assert_close(latents.mean(dim=0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(latents.var(dim=0).log(), log_var[0], atol=0.05, rtol=0)
    of_mean, of_log_var = torch.autograd.grad(latents.sum(), (mean, log_var))
    torch.testing.assert_close(of_mean, torch.ones_like(mean))
    # d/d log_var of mean + exp(log_var / 2) * noise is half of what the noise added.
    torch.testing.assert_close(of_log_var, (latents - mean).detach() / 2)


# The network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("size_px", [16, 32, 72])
def test_images_come_back_in_their_shape(size_px: int, num_classes: int | None) -> None:
    vae = build(num_classes, size_px)
    labels = torch.tensor([0, 5, 3]) if num_classes else None
    images, encoded = vae(torch.zeros(3, 1, size_px, size_px), labels, Rng(0))
    assert images.shape == (3, 1, size_px, size_px)
    assert float(images.detach().abs().max()) <= 1
    assert encoded.mean.shape == encoded.log_var.shape == (3, 5)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_every_weight_gets_a_gradient(num_classes: int | None, corpus: Corpus) -> None:
    vae = build(num_classes)
    images, labels = glyphs(corpus, vae)
    reconstructions, encoded = vae(images, labels, Rng(0))
    loss = squared_error(reconstructions, images) + kl_divergence(encoded.mean, encoded.log_var)
    loss.backward()
    without = [n for n, p in vae.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_reconstructions_are_those_of_drawn_latent_variables(corpus: Corpus) -> None:
    vae = build(None, dropout=0.0)
    images, _ = glyphs(corpus, vae)
    first, again, other = (vae(images, None, Rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_it_overfits_a_batch(num_classes: int | None, corpus: Corpus, rng: Rng) -> None:
    vae = build(num_classes, dropout=0.0)
    images, labels = glyphs(corpus, vae)
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    errors = []
    for _ in range(150):
        reconstructions, encoded = vae(images, labels, rng)
        error = squared_error(reconstructions, images)
        optimizer.zero_grad()
        (error + 0.03 * kl_divergence(encoded.mean, encoded.log_var)).backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < errors[0] / 10


def test_the_class_alone_decides_what_a_conditional_one_draws(corpus: Corpus, rng: Rng) -> None:
    vae = build(len(SMOKE), dropout=0.0)
    images, labels = glyphs(corpus, vae)
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        squared_error(vae(images, labels, rng)[0], images).backward()
        optimizer.step()
    with torch.no_grad():
        made = vae.eval().decode(torch.zeros(len(SMOKE), 5), labels)
    distance = (made[:, None] - images[None]).square().sum(dim=(2, 3, 4))
    assert distance.argmin(dim=1).tolist() == list(range(len(SMOKE)))


def test_a_side_that_cannot_be_halved_three_times_is_refused(smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match="size_px=20: a VAE needs a multiple of 8"):
        train.main(smoke("size_px=20"))


# Smoothing ----------------------------------------------------------------------------------------


def plain_otsu(image: Uint8) -> int:
    """The level with the largest variance between the classes at most and above it."""
    best, threshold = 0.0, 0
    values = image.ravel().astype(float)
    for level in range(256):
        low, high = values[values <= level], values[values > level]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-9):
                best, threshold = between, level
    return threshold


@pytest.fixture
def pictures(draw_glyph: DrawGlyph) -> Uint8:
    """Glyphs with noise on the paper, noise alone, and two images of two grey levels."""
    rng = np.random.default_rng(0)
    ink = np.stack([255 - draw_glyph(c, 40) for c in SMOKE])
    noisy = np.clip(ink * 0.8 + rng.integers(0, 40, ink.shape), 0, 255).astype(np.uint8)
    plain = np.zeros((2, *ink.shape[1:]), np.uint8)
    plain[0, 5:9], plain[1] = 200, 31
    plain[1, ::2] = 32
    noise = rng.integers(0, 256, (3, *ink.shape[1:]), np.uint8)
    return np.concatenate([noisy, noise, plain])


def test_smoothing_is_a_blur_and_a_threshold_to_zero(pictures: Uint8) -> None:
    smoothed = smooth(pictures)
    assert smoothed.dtype == np.uint8
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for image, result in zip(pictures, smoothed, strict=True):
        blurred = np.floor(ndimage.convolve(image.astype(float), weights, mode="mirror") + 0.5)
        expected = np.where(blurred > plain_otsu(blurred.astype(np.uint8)), blurred, 0)
        np.testing.assert_array_equal(result, expected)


# The scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditional", [True, False])
def test_training_writes_weights_and_pictures(conditional: bool, smoke: ComposeSmoke) -> None:
    folder = train.main(smoke(f"vae.class_conditional={conditional}"))
    weights = load_weights(folder, "vae")
    vae = Vae(**weights.arguments)
    vae.load_state_dict(weights.state)
    assert weights.arguments["num_classes"] == (len(SMOKE) if conditional else None)
    sizes = {}
    for name in ("step_000005", "step_000010", "traversal"):
        with Image.open(folder / "samples" / f"{name}.png") as picture:
            sizes[name] = picture.size
    assert sizes["step_000010"] == (4 * 18 + 2, (2 + train.PRIOR_ROWS) * 18 + 2)
    assert sizes["traversal"] == (13 * 18 + 2, 12 * 18 + 2)


def test_a_traversal_moves_one_latent_variable_at_a_time(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    decode = Vae.decode

    def noted(self: Vae, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        seen.append(latents)
        return decode(self, latents, labels)

    monkeypatch.setattr(Vae, "decode", noted)
    train.main(smoke("vae.num_steps=1"))
    rows = torch.stack(seen[-12:])  # (row, column, latent variable)
    for variable in range(12):
        torch.testing.assert_close(rows[variable, :, variable], torch.linspace(-3, 3, 13))
    assert int((rows != 0).sum()) == 12 * 12
