"""The DCGAN: its interface, who learns in which step, its augmentation, its script."""

import re

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from PIL import Image
from torch import Tensor

from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.rng import Rng
from handwriting.runs.weights import load_weights
from training_dcgan import train
from training_dcgan.augment import shift
from training_dcgan.model import DCGAN
from training_dcgan.networks import GROUP, FromPoint, Generator, ToPoint, deviations

CLASSES = [None, len(SMOKE)]


def build(num_classes: int | None, ema_decay: float = 0.995) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(
        16, 10, num_classes, dim=8, discriminator_dim=8, learning_rate=2e-3,
        discriminator_learning_rate=2e-3, ema_decay=ema_decay,
    ).build()  # fmt: skip


def glyphs(corpus: Corpus) -> tuple[Tensor, Tensor]:
    """Two images of each character and their classes."""
    chosen = np.concatenate([np.flatnonzero(corpus.train.labels == k)[:2] for k in range(6)])
    images = torch.from_numpy(np.array(corpus.train.images[chosen]))
    return images.unsqueeze(1) / 127.5 - 1, torch.arange(6).repeat_interleave(2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_matrix_products_equal_the_convolutions(layout: torch.memory_format, rng: Rng) -> None:
    point, image = torch.randn(3, 5, 1, 1, generator=rng), torch.randn(3, 5, 4, 4, generator=rng)
    grown, shrunk = FromPoint(5, 6, 4, bias=False), ToPoint(5, 6, 4)
    for network in (grown, shrunk):
        network.to(memory_format=layout)  # type: ignore[call-overload]
    expected = torch.nn.functional.conv_transpose2d(point, grown.weight)
    torch.testing.assert_close(grown(point), expected)
    expected = torch.nn.functional.conv2d(image, shrunk.weight, shrunk.bias)
    torch.testing.assert_close(shrunk(image), expected)


def labels_for(dcgan: DCGAN, labels: Tensor) -> Tensor | None:
    return labels if dcgan.num_classes else None


def copy_of(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


# The class ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("size_px", [8, 16, 28, 32])
def test_images_and_logits_have_their_shapes(size_px: int, num_classes: int | None) -> None:
    dcgan = DCGAN(size_px, 10, num_classes, 8, 8).build()
    labels = labels_for(dcgan, torch.tensor([0, 5, 3, 3]))
    made = dcgan.generate(4, labels)
    assert made.shape == (4, 1, size_px, size_px)
    assert float(made.abs().max()) <= 1
    assert dcgan.discriminator(made, labels).shape == (4,)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_the_summary_counts_every_weight_of_convolutions_only(num_classes: int | None) -> None:
    dcgan = build(num_classes)
    assert not re.search("Linear|Pool", dcgan.summary())
    of_generator, of_discriminator = dcgan.summary().split("\n\n")
    networks = dcgan.generator, dcgan.discriminator
    for network, text in zip(networks, (of_generator, of_discriminator), strict=True):
        count = sum(p.numel() for p in network.parameters())
        *layers, total = [int(line.split()[-1].replace(",", "")) for line in text.split("\n")[1:]]
        assert sum(layers) == total == count
    assert "(1, 16, 16)" in of_generator


def test_noise_is_normal_and_a_seed_decides_it() -> None:
    dcgan = build(None)
    noise = dcgan.generate_noise(2000, Rng(1))
    assert noise.shape == (2000, 10)
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03
    assert torch.equal(noise, dcgan.generate_noise(2000, Rng(1)))
    torch.testing.assert_close(dcgan.generate(noise[:2]), dcgan.generate(noise[:5])[:2])


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_discriminator_learns_in_its_own_step_only(
    frozen: bool, num_classes: int | None, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    dcgan = build(num_classes)
    images, labels = glyphs(corpus)
    before = copy_of(dcgan.discriminator)
    after_own_step: dict[str, Tensor] = {}
    step = dcgan.discriminator_optimizer.step

    def noted() -> None:
        step()
        if not after_own_step:
            after_own_step.update(copy_of(dcgan.discriminator))

    monkeypatch.setattr(dcgan.discriminator_optimizer, "step", noted)
    metrics = dcgan.train_on_batch(images, labels_for(dcgan, labels), frozen)
    assert all(value.isfinite() and value.ndim == 0 for value in metrics.values())
    weights = {name for name, _ in dcgan.discriminator.named_parameters()}
    # Real and generated images pull at this one alike, as long as every margin is open.
    weights.remove("verdict.bias")
    assert all(not torch.equal(before[name], after_own_step[name]) for name in weights)
    unchanged = [torch.equal(v, after_own_step[k]) for k, v in copy_of(dcgan.discriminator).items()]
    assert all(unchanged) == frozen
    gradients = [p.grad for p in dcgan.discriminator.parameters()]
    assert all(g is None for g in gradients) == frozen
    for name, weight in dcgan.generator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.any(), name


def test_the_losses_are_those_of_the_papers(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    dcgan = build(None)
    logits = iter(
        torch.tensor(values) for values in ([2, 0.5, -1, 1], [-3, 0.0, 1, -1], [4, -1.0, 3, 2])
    )
    weight = next(dcgan.discriminator.parameters()).sum()
    monkeypatch.setattr(
        dcgan.discriminator, "forward",
        lambda images, labels: next(logits) + 0 * images.mean((1, 2, 3)) + 0 * weight,
    )  # fmt: skip
    metrics = dcgan.train_on_batch(glyphs(corpus)[0][:4])
    # Real: (0 + .5 + 2 + 0) / 4; generated: (0 + 1 + 2 + 0) / 4; generator: -(4 - 1 + 3 + 2) / 4.
    assert float(metrics["discriminator_loss"]) == pytest.approx(2.5 / 4 + 3 / 4)
    assert float(metrics["generator_loss"]) == pytest.approx(-2)
    assert float(metrics["real_accuracy"]) == pytest.approx(3 / 4)
    assert float(metrics["fake_accuracy"]) == pytest.approx(2 / 4)
    assert float(metrics["fooled"]) == pytest.approx(3 / 4)


def test_it_learns_which_image_belongs_to_which_class(corpus: Corpus) -> None:
    dcgan = build(len(SMOKE), ema_decay=0.9)
    images, labels = glyphs(corpus)
    rng = Rng(0)
    for _ in range(150):
        dcgan.train_on_batch(images.repeat(2, 1, 1, 1), labels.repeat(2), rng=rng)
    wanted = labels.repeat(10)
    made = dcgan.generate(dcgan.generate_noise(len(wanted), rng), wanted)
    distances = torch.stack(
        [torch.cdist(made.flatten(1), images[labels == k].flatten(1)).amin(1) for k in range(6)], 1
    )  # (N, K)
    own = distances.gather(1, wanted[:, None]).squeeze(1)
    # It is 1 where labels say nothing. Over seeds, kinds of arithmetic: .85, deviation .02.
    assert float((own / distances.mean(1)).mean()) < 0.95


@pytest.mark.parametrize(
    ("num_classes", "shape", "labels", "message"),
    [
        (None, (6, 1, 16, 16), None, "6 images in a batch: expected a multiple of 4"),
        (None, (2, 1, 28, 28), None, r"shape \(2, 1, 28, 28\): expected \(B, 1, 16, 16\)"),
        (None, (2, 16, 16), None, "expected"),
        (None, (4, 1, 16, 16), [0, 1, 2, 3], "unconditional"),
        (6, (4, 1, 16, 16), None, r"needs labels of shape \(4,\), found none"),
        (6, (4, 1, 16, 16), [0, 1, 2], r"found \(3,\)"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    num_classes: int | None, shape: tuple[int, ...], labels: list[int] | None, message: str
) -> None:
    given = None if labels is None else torch.tensor(labels)
    with pytest.raises(InputError, match=message):
        build(num_classes).train_on_batch(torch.zeros(shape), given)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("size_px=18", "size_px=18: a DCGAN needs a multiple of 4"),
        ("dcgan.batch_size=30", r"dcgan\.batch_size=30: expected a multiple of 4"),
    ],
)
def test_what_cannot_be_trained_is_named(override: str, message: str, smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=message):
        train.main(smoke(override))


def test_deviations_are_those_within_groups(rng: Rng) -> None:
    features = torch.randn(8, 3, 1, 1, generator=rng)
    found = deviations(features)
    for image in range(8):
        group = features[4 * (image // 4) :][:4]
        expected = group.std(dim=0, unbiased=False)
        torch.testing.assert_close(found[image], expected, atol=1e-4, rtol=0)
    same = torch.ones(4, 3, 1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(deviations(same).sum(), same)
    assert bool(gradient.isfinite().all())


# What the discriminator sees ----------------------------------------------------------------------


def test_a_shift_moves_ink_along_both_axes_and_lets_gradients_through(rng: Rng) -> None:
    images = torch.full((200, 1, 32, 32), -1.0)
    images[:, :, 10:20, 12:22] = torch.rand(200, 1, 10, 10, generator=rng)
    images.requires_grad_()
    moved = shift(images, rng)
    torch.testing.assert_close(moved.sum(dim=(1, 2, 3)), images.sum(dim=(1, 2, 3)))
    rows = [int((image[0] > -1).any(dim=1).nonzero()[0]) for image in moved]
    columns = [int((image[0] > -1).any(dim=0).nonzero()[0]) for image in moved]
    assert (min(rows), max(rows), min(columns), max(columns)) == (6, 14, 8, 16)
    assert len(set(zip(rows, columns, strict=True))) > 50  # of 81 places
    (gradient,) = torch.autograd.grad(moved.sum(), images)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("conditional", [True, False])
def test_groups_are_of_one_class_where_the_generated_ones_are(
    conditional: bool, smoke: ComposeSmoke, corpus: Corpus, rng: Rng
) -> None:
    settings = smoke(f"dcgan.class_conditional={conditional}", "dcgan.batch_size=400").dcgan
    mixture = Mixture(corpus, corpus.sources, torch.device("cpu"))
    labels = train.draw_labels(mixture, settings, rng).view(100, GROUP)
    of_one_class = (labels == labels[:, :1]).all(dim=1).float().mean()
    assert float(of_one_class) == 1 if conditional else float(of_one_class) < 0.1
    assert labels.unique().tolist() == list(range(len(SMOKE)))


# The scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditional", [True, False])
def test_training_writes_weights_sheets_and_an_animation(
    conditional: bool, smoke: ComposeSmoke
) -> None:
    folder = train.main(smoke(f"dcgan.class_conditional={conditional}"))
    weights = load_weights(folder, "dcgan")
    generator = Generator(**weights.arguments)
    generator.load_state_dict(weights.state)
    assert weights.arguments["num_classes"] == (len(SMOKE) if conditional else None)
    with Image.open(folder / "samples" / "evolution.gif") as animation:
        assert animation.n_frames == 2  # type: ignore[attr-defined]
        assert animation.size == (4 * 18 + 2, train.SHEET_ROWS * 18 + 2)
