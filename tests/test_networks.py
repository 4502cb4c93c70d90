"""Encoders and optimizers that stages share: shapes, what they refuse, what they learn."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from conftest import SMOKE
from torch import nn

from handwriting.config import Condition, ModelMode, Training
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_float
from handwriting.networks.encoders import Classifier, build_encoder, fold_batch_norms
from handwriting.networks.optimizer import MovingAverage, one_cycle
from handwriting.rng import Rng
from handwriting.runs import inference as evaluate
from handwriting.runs.inference import outputs, predict
from handwriting.runs.runtime import Runtime
from handwriting.script import compose
from training_cdiffusion_model.model import Denoiser
from training_clip.model import Clip, TextClassifier
from training_dcgan import networks as dcgan
from training_style_transfer.model import Discriminator, Generator
from training_vae.model import Vae


@pytest.mark.parametrize("size_px", [16, 32, 64])
@pytest.mark.parametrize("name", ["small_resnet", "resnet10t"])
def test_encoders_give_maps_from_fine_to_coarse_and_features(name: str, size_px: int) -> None:
    encoder = build_encoder(name, width=8, size_px=size_px).eval()
    images = torch.randn(2, 1, size_px, size_px)
    maps, features = encoder.stages(images), encoder(images)
    sizes = [m.shape[-1] for m in maps]
    assert len(maps) >= 3
    assert sizes == sorted(sizes, reverse=True)
    assert features.shape == (2, encoder.num_features)
    pooled = maps[-1].mean(dim=(2, 3))
    if name == "small_resnet":
        pooled = F.adaptive_max_pool2d(maps[-1], 4).flatten(1)
    torch.testing.assert_close(features, pooled, atol=1e-4, rtol=1e-4)


def test_any_network_of_timm_can_be_had_and_others_are_named() -> None:
    encoder = build_encoder("vit_tiny_patch16_224", width=8, size_px=32).eval()
    assert encoder(torch.randn(1, 1, 32, 32)).shape == (1, encoder.num_features)
    with pytest.raises(InputError, match=r"no network 'resnet_9000'.*resnet"):
        build_encoder("resnet_9000", 8, 32)
    with pytest.raises(InputError, match="vit_tiny_patch16_224 cannot read images of size_px=8"):
        build_encoder("vit_tiny_patch16_224", 8, 8)


def test_every_weight_of_the_classifier_gets_a_gradient_and_it_overfits_a_batch(
    corpus: Corpus,
) -> None:
    torch.manual_seed(0)
    network = Classifier("small_resnet", 8, 16, len(SMOKE))
    images = to_float(torch.tensor(corpus.train.images[:]))
    labels = torch.tensor(corpus.train.labels)
    optimizer, schedule = one_cycle(network, Training(60, len(labels), 5e-3), weight_decay=0.0)
    for _ in range(60):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        optimizer.step()
        schedule.step()
    assert float(loss.detach()) < 0.05


@pytest.mark.parametrize("num_steps", [1, 2, 9, 10])
def test_the_schedule_ends_however_few_steps_there_are(num_steps: int) -> None:
    optimizer, schedule = one_cycle(nn.Linear(1, 1), Training(num_steps, 1, 1e-3), weight_decay=0.0)
    for _ in range(num_steps):
        optimizer.step()
        schedule.step()
    assert 0 < schedule.get_last_lr()[0] < 1e-4


def test_norms_and_biases_do_not_decay_and_frozen_weights_are_left_out() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    network[2].requires_grad_(False)
    optimizer, _ = one_cycle(network, Training(10, 2, 1e-3), weight_decay=0.1)
    decayed, plain = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == 0.1
    assert [p.shape for p in plain["params"]] == [(4,)] * 3
    assert plain["weight_decay"] == 0


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_average_follows_its_formula_and_has_the_network_s_buffers(decay: float) -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    averaged = MovingAverage(network, decay)
    expected = 0.0
    for t, value in enumerate(torch.randn(30).tolist()):
        nn.init.constant_(network[0].weight, value)
        nn.init.constant_(network[1].running_mean, value)
        averaged.update_parameters(network)
        kept = min(decay, (1 + t) / (10 + t)) if t else 0
        expected = kept * expected + (1 - kept) * value
        assert float(averaged.module[0].weight.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(averaged.module[1].running_mean) == pytest.approx(value)


def test_outputs_do_not_depend_on_the_batch_size(
    corpus: Corpus, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Classifier("small_resnet", 8, 16, len(SMOKE)).train()
    whole = outputs(network, corpus.test, runtime)
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 3)
    torch.testing.assert_close(outputs(network, corpus.test, runtime), whole)
    assert whole.shape == (len(corpus.test), len(SMOKE))
    assert (predict(network, corpus.test, runtime) == whole.argmax(dim=1).numpy()).all()
    assert not whole.requires_grad


def test_a_frozen_network_without_its_norms_is_the_same(rng: Rng, runtime: Runtime) -> None:
    torch.manual_seed(0)
    network = Classifier("small_resnet", 8, 16, len(SMOKE))
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight, part.bias, part.running_mean, part.running_var):
                assert values is not None
                nn.init.uniform_(values, 0.2, 2)
    images = torch.randn(3, 1, 16, 16, generator=rng, requires_grad=True)
    frozen = runtime.freeze(deepcopy(network))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in frozen.modules())
    expected, found = network.eval()(images), frozen(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    wanted, given = (torch.autograd.grad(y.square().sum(), images)[0] for y in (expected, found))
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
    fold_batch_norms(frozen)  # once more changes nothing
    torch.testing.assert_close(frozen(images), found)


def test_the_networks_of_the_paper_build() -> None:
    c = compose(["experiment=paper"])
    num_classes, text_dim = 3057, c.clip.embedding_dim
    text = {
        "vocab_size": 500, "context_length": c.structure.context_length,
        "width": c.text_encoder.width, "heads": c.text_encoder.heads,
        "layers": c.text_encoder.layers,
    }  # fmt: skip
    image = {
        "name": c.image_encoder.network, "width": c.image_encoder.width, "size_px": c.size_px,
    }  # fmt: skip
    style, flow = c.style_transfer, c.cdiffusion
    with torch.device("meta"):
        networks: list[nn.Module] = [
            Classifier(**image, num_classes=num_classes),
            Classifier(c.classifier.network, c.classifier.width, c.size_px, num_classes),
            TextClassifier(text, num_classes),
            Clip(image, text, text_dim, c.clip.learn_temperature),
            Discriminator(style.discriminator_dim, style.discriminator_layers),
            Vae(c.size_px, c.vae.num_latents, num_classes, c.vae.dim, c.vae.dropout),
            dcgan.Generator(c.size_px, c.dcgan.z_dim, num_classes, c.dcgan.dim),
            dcgan.Discriminator(c.size_px, num_classes, c.dcgan.discriminator_dim),
        ]
        networks += [
            Generator(
                mode.value, num_classes, text_dim, style.dim, style.dim_mults, style.num_blocks,
                style.patch_px, style.full_attention, is_inking=True,
            )
            for mode in ModelMode
        ]  # fmt: skip
        networks += [
            Denoiser(
                condition.value,
                num_classes,
                text_dim,
                flow.dim,
                flow.dim_mults,
                flow.num_blocks,
                flow.drawing,
            )
            for condition in Condition
        ]
    for network in networks:
        assert {parameter.is_meta for parameter in network.parameters()} == {True}
