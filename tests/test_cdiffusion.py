"""Conditional diffusion: the flow against closed forms, the network, its feed, its two scripts."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from scipy.stats import kstest
from torch import Tensor, nn

from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.reading import read_grey
from handwriting.images.thinning import line_drawings
from handwriting.rng import Rng
from handwriting.runs.weights import load_weights, save_weights
from handwriting.storage.json_files import read_json
from training_cdiffusion_model import generate_images, train
from training_cdiffusion_model.flow import MEAN_LOGIT, euler, flow_matching_loss
from training_cdiffusion_model.model import Denoiser, time_features

CLASSES = 6


def make_network(condition: str = "character") -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(condition, CLASSES, 16, 8, [1, 2], 1, sees_drawing=False)
    if condition == "text":
        network.text.weight.copy_(torch.randn(CLASSES, 16))
    return network


class KnownVelocity(nn.Module):
    """A velocity field in closed form, in place of the network."""

    def __init__(self, velocity: Any, null: float = 0.0) -> None:
        super().__init__()
        self.velocity, self.null_condition, self.batches = velocity, torch.tensor([null]), []

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor, _: None = None) -> Tensor:
        self.batches.append(len(x_t))
        self.times = t
        velocity: Tensor = self.velocity(x_t, t[:, None, None, None], condition[:, :, None, None])
        return velocity


# The flow -----------------------------------------------------------------------------------------


def test_times_are_logit_normal(rng: Rng) -> None:
    network: Any = KnownVelocity(lambda x, t, _: 0 * x)
    flow_matching_loss(network, torch.zeros(5000, 1, 1, 1), torch.zeros(5000, 1), None, rng)
    times = network.times.numpy().astype(np.float64)
    logits = np.log(times / (1 - times))
    assert kstest(logits, "norm", (MEAN_LOGIT, 1)).pvalue > 1e-3


def test_the_loss_of_the_true_velocity_is_zero(rng: Rng) -> None:
    x_1 = torch.full((8, 1, 4, 4), 0.3)
    # From x_t alone: x_1 - x_0 = (x_1 - x_t) / (1 - t).
    true = KnownVelocity(lambda x, t, _: (0.3 - x) / (1 - t))
    condition = torch.zeros(8, 1)
    assert float(flow_matching_loss(true, x_1, condition, None, rng)) < 1e-6  # type: ignore[arg-type]
    still = KnownVelocity(lambda x, t, _: 0 * x)
    # E |x_1 - x_0|^2 = x_1^2 + 1
    losses = [float(flow_matching_loss(still, x_1, condition, None, rng)) for _ in range(50)]  # type: ignore[arg-type]
    assert np.mean(losses) == pytest.approx(1.09, abs=0.05)


@pytest.mark.parametrize("num_evaluations", [1, 2, 5])
def test_straight_paths_are_followed_exactly_in_any_number_of_steps(
    num_evaluations: int, rng: Rng
) -> None:
    x_0 = torch.randn(4, 1, 4, 4, generator=rng)
    true = KnownVelocity(lambda x, t, _: (0.3 - x) / (1 - t))
    found = euler(true, x_0, torch.zeros(4, 1), None, num_evaluations, 1.0)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.full_like(x_0, 0.3), atol=1e-5, rtol=0)
    assert true.batches == [4] * num_evaluations


def test_noise_becomes_the_gaussian_whose_velocity_is_known(rng: Rng) -> None:
    """The best velocity to N(m, s^2) is m + (t s^2 - (1 - t)) (x - t m) / ((1 - t)^2 + t^2 s^2)."""
    mean, deviation = 2.0, 0.5

    def velocity(x: Tensor, t: Tensor, _: Tensor) -> Tensor:
        variance = (1 - t) ** 2 + t**2 * deviation**2
        return mean + (t * deviation**2 - (1 - t)) / variance * (x - t * mean)

    x_0 = torch.randn(4000, 1, 1, 1, generator=rng)
    network: Any = KnownVelocity(velocity)
    found = euler(network, x_0, torch.zeros(4000, 1), None, 200, 1.0).flatten().double().numpy()
    assert kstest((found - mean) / deviation, "norm").pvalue > 1e-3


@pytest.mark.parametrize("guidance", [0.0, 1.5, 3.0])
def test_guidance_goes_beyond_the_condition_from_the_null(guidance: float, rng: Rng) -> None:
    x_0 = torch.randn(3, 1, 2, 2, generator=rng)
    network: Any = KnownVelocity(lambda x, t, condition: condition.expand_as(x), null=0.2)
    condition = torch.tensor([[1.0], [2.0], [-1.0]])
    found = euler(network, x_0, condition, None, 4, guidance)
    expected = x_0 + (0.2 + guidance * (condition - 0.2))[..., None, None]
    torch.testing.assert_close(found, expected)
    assert network.batches == [6] * 4


# The network --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mults", "num_blocks"), [([1], 1), ([1, 2], 2), ([1, 2, 4], 1)])
def test_the_velocity_has_the_shape_of_the_image(
    mults: list[int], num_blocks: int, rng: Rng
) -> None:
    network = Denoiser("character", CLASSES, 0, 8, mults, num_blocks, sees_drawing=False)
    x_t = torch.randn(3, 1, 32, 32, generator=rng)
    style = network.style(torch.randn(3, 4, 32, 32))
    condition = network.condition(torch.tensor([0, 5, 2]), style, torch.zeros(3) > 0)
    velocity = network(x_t, torch.tensor([0.0, 0.5, 1.0]), condition)
    assert velocity.shape == x_t.shape
    assert velocity.isfinite().all()  # at the end of the way, too
    again = Denoiser(**network.arguments)
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("num_evaluations", [1, 2, 4])
def test_no_noise_passes_the_network(num_evaluations: int, rng: Rng) -> None:
    """The last evaluation's image is what comes out, whatever was noise before."""
    network = make_network()
    nn.init.zeros_(network.image.weight)
    nn.init.constant_(network.image.bias, 0.3)  # type: ignore[arg-type]
    condition = torch.zeros(4, len(network.null_condition))
    x_0 = torch.randn(4, 1, 32, 32, generator=rng)
    made = euler(network, x_0, condition, None, num_evaluations, 1.0)
    torch.testing.assert_close(made, torch.full_like(made, 0.3), atol=1e-5, rtol=0)


def test_times_are_told_apart() -> None:
    features = time_features(torch.linspace(0, 1, 1001))
    distances = torch.cdist(features, features) + 10 * torch.eye(1001)
    assert float(distances.min()) > 0.1


def test_a_style_is_of_the_hand_and_not_of_the_order_of_its_images(rng: Rng) -> None:
    network = make_network()
    images = torch.rand(2, 3, 16, 16, generator=rng) * 2 - 1
    torch.testing.assert_close(network.style(images), network.style(images.flip(1)))
    one = images[:, :1]
    torch.testing.assert_close(network.style(one), network.style(one.expand(-1, 4, -1, -1)))
    difference = network.style(images) - network.style(images.flip(0))
    assert float(difference.detach().abs().max()) > 1e-3


def test_a_dropped_condition_tells_neither_character_nor_hand(rng: Rng) -> None:
    network = make_network()
    style = network.style(torch.rand(2, 3, 16, 16, generator=rng))
    labels, dropped = torch.tensor([0, 3]), torch.tensor([True, False])
    condition = network.condition(labels, style, dropped)
    torch.testing.assert_close(condition[0], network.null_condition)
    kept = network.condition(labels, style, torch.zeros(2) > 0)
    torch.testing.assert_close(condition[1], kept[1])


@pytest.mark.parametrize("condition", ["character", "text"])
def test_every_weight_gets_a_gradient_and_no_text_embedding(condition: str, rng: Rng) -> None:
    network = make_network(condition)
    labels, dropped = torch.arange(6), torch.tensor([True, *[False] * 5])
    style = network.style(torch.randn(6, 2, 16, 16, generator=rng))
    given = network.condition(labels, style, dropped)
    flow_matching_loss(
        network, torch.randn(6, 1, 16, 16, generator=rng), given, None, rng
    ).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert ("text.weight" in network.state_dict()) == (condition == "text")
    assert "text.weight" not in dict(network.named_parameters())


def test_the_network_overfits_one_image_of_each_class(corpus: Corpus, rng: Rng) -> None:
    network = make_network()
    images = corpus.train.select(np.flatnonzero(corpus.train.writers == 0))
    x_1 = torch.from_numpy(images.images[:]).unsqueeze(1) / 127.5 - 1
    labels, keep = torch.from_numpy(images.labels), torch.zeros(len(images)) > 0
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(250):
        style = network.style(x_1.transpose(0, 1).expand(6, -1, -1, -1))
        condition = network.condition(labels, style, keep)
        loss = flow_matching_loss(network, x_1, condition, None, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < np.mean(losses[:5]) / 3
    made = euler(network, torch.randn(x_1.shape, generator=rng), condition.detach(), None, 8, 1.0)
    nearest = torch.cdist(made.flatten(1), x_1.flatten(1)).argmin(dim=1)
    assert torch.equal(nearest, torch.arange(6))


# The feed -----------------------------------------------------------------------------------------


def test_styles_are_by_the_hand_of_the_target(smoke: ComposeSmoke, rng: Rng) -> None:
    config = smoke("data.num_simulated_writers=2", "data.unseen_characters=1")
    corpus = open_corpus(config)
    facts: dict[bytes, set[tuple[int, str]]] = {}
    for packed in corpus.sources.values():
        for image, label, writer in zip(packed.images, packed.labels, packed.writers, strict=True):
            facts.setdefault(image.tobytes(), set()).add((int(label), packed.writer_names[writer]))

    def as_bytes(image: Tensor) -> bytes:
        return ((image + 1) * 127.5).round().to(torch.uint8).numpy().tobytes()

    def told(image: Tensor) -> set[tuple[int, str]]:
        return facts[as_bytes(image)]

    drawings = {line_drawings(np.frombuffer(image, np.uint8).reshape(1, 16, 16)).tobytes(): known
                for image, known in facts.items()}  # fmt: skip
    batch = train.StyleFeed(
        corpus, config.cdiffusion, torch.device("cpu"), Path(config.cache_dir)
    ).draw(200, rng)
    assert batch.styles.shape == (200, config.cdiffusion.num_style_images, 16, 16)
    hidden = SMOKE.index(corpus.unseen[0])
    shown: Counter[int] = Counter()
    assert batch.drawing is not None
    for target, drawing, styles, label in zip(
        batch.target, batch.drawing, batch.styles, batch.labels.tolist(), strict=True
    ):
        hands = {hand for shape, hand in told(target[0]) if shape == label}
        assert drawings[as_bytes(drawing)] == told(target[0])
        for style in styles:
            assert hands & {hand for _, hand in told(style)}
            shown[label] += label not in {shape for shape, _ in told(style)}
            assert {shape for shape, _ in told(style)} != {hidden}
    assert hidden not in shown
    assert len(shown) == 5
    assert sum(shown.values()) > 200  # mostly other characters than the target's


# The stage ----------------------------------------------------------------------------------------


def test_what_is_drawn_in_the_hand_is_seen(rng: Rng) -> None:
    network = Denoiser("character", CLASSES, 0, 8, [1, 2], 1, sees_drawing=True)
    x, drawing = torch.randn(2, 3, 1, 16, 16, generator=rng)
    t, condition = torch.rand(3, generator=rng), torch.randn(3, 32, generator=rng)
    seen = network(x, t, condition, drawing)
    assert seen.shape == x.shape
    other = network(x, t, condition, -drawing)
    assert not torch.allclose(other, seen, atol=0.01)
    guided = euler(network, x, condition, drawing, 2, 1.5)
    one = euler(network, x[1:2], condition[1:2], drawing[1:2], 2, 1.5)
    torch.testing.assert_close(guided[1:2], one, atol=1e-4, rtol=1e-4)


def test_the_sampler_is_part_of_what_went_in(smoke: ComposeSmoke) -> None:
    train.main(smoke("cdiffusion.num_steps=1"))
    made = []
    for count in (1, 3):
        folder = generate_images.main(smoke(f"cdiffusion.num_evaluations={count}"))
        made.append([read_grey(e.path) for e in read_manifest(folder / "manifest.json").entries])
    assert any((first != second).any() for first, second in zip(*made, strict=True))


def test_the_text_of_components_may_be_the_condition(
    smoke: ComposeSmoke, clip_folder: Path, tmp_path: Path
) -> None:
    clip = load_weights(clip_folder, "clip")
    path = tmp_path / "clip.safetensors"
    save_weights(path, "clip", clip.arguments, {**clip.facts, "writers_seen": ["x"]}, clip.state)
    config = smoke("cdiffusion.condition=text", f"clip_weight={path}")
    weights = load_weights(train.main(config), "cdiffusion")
    assert weights.state["text.weight"].shape == (6, 16)
    folder = generate_images.main(config)
    assert len(read_manifest(folder / "manifest.json").entries) == 24
    everyone = sorted(["x", *writers_seen(*open_corpus(config).sources.values())])
    assert weights.facts["writers_seen"] == everyone  # what CLIP saw, it has seen
    assert read_json(folder / "facts.json") == {"writers_seen": everyone}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cdiffusion.dim_mults=[1,2,4,8,16]", "size_px=16 is not a multiple of 32"),
        ("cdiffusion.shares={writers:0,fonts:0}", "that are there, writers, fonts"),
        ("cdiffusion.condition=text", "no clip weights at"),
    ],
)
def test_what_cannot_be_trained_is_named(override: str, message: str, smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=message):
        train.main(smoke(override))
