"""CLIP: its loss, its towers, its retrieval; the three stages that make it."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SMOKE, ComposeSmoke
from torch import Tensor

from handwriting.characters.decomposition import SPECIAL_TOKENS
from handwriting.characters.vocabulary import EOS, PAD, ClassTexts, Vocabulary
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_float
from handwriting.rng import Rng
from handwriting.runs import inference as evaluate
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import load_weights
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_clip.model import (
    MAX_LOGIT_SCALE,
    Clip,
    TextEncoder,
    contrastive_loss,
    same_character_targets,
    similarity_targets,
)
from training_clip.retrieval import class_embeddings, frozen_clip, retrieval

IMAGE = {"name": "small_resnet", "width": 8, "size_px": 16}
TEXT = {"vocab_size": 20, "context_length": 24, "width": 32, "heads": 2, "layers": 1}
NO_WORDS = Vocabulary(SPECIAL_TOKENS)


@pytest.fixture
def network() -> Clip:
    torch.manual_seed(0)
    return Clip(IMAGE, TEXT, embedding_dim=16, learn_temperature=True)


def unit(rng: Rng, size: int = 8) -> Tensor:
    return F.normalize(torch.randn(size, 16, generator=rng), dim=-1)


def test_the_loss_equals_open_clips_when_all_characters_differ(rng: Rng) -> None:
    from open_clip.loss import ClipLoss

    images, texts, scale = unit(rng), unit(rng), torch.tensor(14.3)
    targets = same_character_targets(torch.arange(8))
    torch.testing.assert_close(
        contrastive_loss(images, texts, scale, targets), ClipLoss()(images, texts, scale)
    )


def test_the_loss_is_lowest_where_equal_characters_share_an_embedding(rng: Rng) -> None:
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    own, scale, targets = torch.eye(16)[labels], torch.tensor(100.0), same_character_targets(labels)
    right = contrastive_loss(own, own, scale, targets)
    counts = torch.bincount(labels)[labels].float()
    torch.testing.assert_close(right, counts.log().mean())  # the targets' own entropy
    for _ in range(5):
        assert contrastive_loss(unit(rng, 6), unit(rng, 6), scale, targets) > right


def test_similarity_targets_follow_their_formula_without_gradient(rng: Rng) -> None:
    images, texts = unit(rng).requires_grad_(), unit(rng).requires_grad_()
    targets = similarity_targets(images, texts, torch.tensor(3.0, requires_grad=True))
    assert not targets.requires_grad
    with torch.no_grad():
        row = [(images[0] @ images[j] + texts[0] @ texts[j]) * 1.5 for j in range(8)]
    torch.testing.assert_close(targets[0], torch.stack(row).softmax(dim=0))


def test_embeddings_have_length_one_and_the_temperature_is_bounded(network: Clip, rng: Rng) -> None:
    tokens = torch.tensor([[1, 5, EOS] + [PAD] * 21, [1, 6, EOS] + [PAD] * 21])
    images, texts, scale = network(torch.randn(2, 1, 16, 16, generator=rng), tokens)
    for embeddings in (images, texts):
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    assert float(scale.detach()) == pytest.approx(1 / 0.07, rel=1e-4)
    network.logit_scale.data.fill_(99.0)
    assert float(network.scale().detach()) == pytest.approx(100, rel=1e-4)
    assert network.logit_scale.data > MAX_LOGIT_SCALE


def test_what_follows_the_end_token_changes_nothing_and_order_matters(rng: Rng) -> None:
    encoder = TextEncoder(**TEXT).eval()
    tokens = torch.tensor([[1, 5, 6, 7, EOS] + [PAD] * 19])
    other = tokens.clone()
    other[0, 5:] = torch.randint(4, 20, (19,), generator=rng)
    torch.testing.assert_close(encoder(tokens), encoder(other))
    for changed in ([1, 5, 6, 8, EOS], [1, 5, 7, 6, EOS]):
        differs = torch.tensor([changed + [PAD] * 19])
        assert not torch.allclose(encoder(tokens), encoder(differs), atol=1e-3)


def test_every_weight_gets_a_gradient_and_a_batch_is_overfitted(
    network: Clip, corpus: Corpus
) -> None:
    tokens = torch.full((6, 24), PAD)
    tokens[:, 0], tokens[:, 1], tokens[:, 2] = 1, torch.arange(4, 10), EOS
    images = to_float(torch.tensor(np.array(corpus.train.images)))
    labels = torch.from_numpy(corpus.train.labels)
    targets = same_character_targets(labels)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(150):
        image_embeddings, text_embeddings, scale = network(images, tokens[labels])
        loss = contrastive_loss(image_embeddings, text_embeddings, scale, targets)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters())
        optimizer.step()
    lowest = torch.bincount(labels)[labels].float().log().mean()
    assert float((loss - lowest).detach()) < 0.1


def marked(corpus: Corpus) -> Corpus:
    """A corpus whose image's grey level is its class."""
    part = corpus.validation
    images = np.broadcast_to(part.labels[:, None, None] * 20, part.images.shape).astype(np.uint8)
    return replace(corpus, validation=replace(part, images=images))


class ByGrey(Clip):
    """Classes are read off an image's grey level and a text's first component."""

    def encode_image(self, images: Tensor) -> Tensor:
        labels = images[:, 0, 0, 0].add(1).mul(127.5 / 20).round().long()
        return torch.eye(16)[labels]

    def encode_text(self, tokens: Tensor) -> Tensor:
        return torch.eye(16)[tokens[:, 1] - 4]


@pytest.mark.parametrize("batch_size", [5, 512])
@pytest.mark.parametrize("order", ["right", "shifted"])
def test_retrieval_is_one_for_a_perfect_embedding_and_zero_for_a_shifted_one(
    order: str, batch_size: int, corpus: Corpus, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "BATCH_SIZE", batch_size)
    names = torch.arange(4, 10) if order == "right" else torch.arange(4, 10).roll(1)
    tokens = F.pad(names[:, None, None], (1, 22), value=PAD)
    texts = ClassTexts(tokens, torch.ones(6, dtype=torch.long), NO_WORDS)
    clip = ByGrey(IMAGE, TEXT, 16, learn_temperature=True)
    found = dict(retrieval(clip, marked(corpus), texts, runtime))
    expected = 1.0 if order == "right" else 0.0
    assert found["image_to_text_top1"] == found["text_to_image_top1"] == expected


def test_unseen_characters_are_scored_apart(smoke: ComposeSmoke, runtime: Runtime) -> None:
    corpus = marked(open_corpus(smoke("data.unseen_characters=1")))
    tokens = F.pad(torch.arange(4, 10)[:, None, None], (1, 22), value=PAD)
    hidden = corpus.characters.index(corpus.unseen[0])
    tokens[hidden, 0, 1] = 4 + (hidden + 1) % 6  # its text is taken for another class's
    texts = ClassTexts(tokens, torch.ones(6, dtype=torch.long), NO_WORDS)
    found = dict(retrieval(ByGrey(IMAGE, TEXT, 16, True), corpus, texts, runtime))
    assert found["image_to_text_top1"] == 1
    assert found["unseen_image_to_text_top1"] == 1  # the only candidate
    assert found["unseen_among_all_image_to_text_top1"] == 0


def test_the_embedding_of_a_class_is_the_mean_of_its_own_texts(
    network: Clip, runtime: Runtime
) -> None:
    tokens = torch.full((2, 3, 24), PAD)
    tokens[..., 0], tokens[..., 2] = 1, EOS
    tokens[..., 1] = torch.tensor([[5, 6, 5], [7, 8, 9]])
    texts = ClassTexts(tokens, torch.tensor([2, 3]), NO_WORDS)
    found = class_embeddings(network.eval(), texts, runtime)
    for label, count in ((0, 2), (1, 3)):
        expected = network.encode_text(tokens[label, :count]).mean(dim=0)
        torch.testing.assert_close(found[label], F.normalize(expected, dim=0))


def test_clip_starts_from_the_trained_encoders(
    trained: Path, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = trained / "smoke"
    config = smoke(
        f"image_weight={source / 'image_encoder'}", f"text_weight={source / 'text_encoder'}",
        "clip.num_steps=1", "clip.learning_rate=0.0000000001",
    )  # fmt: skip
    clip = load_weights(train_clip.main(config), "clip")
    for kind, tower in (("image_encoder", "image"), ("text_encoder", "text")):
        start = load_weights(source / kind, kind).state
        for name, value in start.items():
            # Running statistics of batch norm move without a learning rate.
            if name.startswith("encoder.") and "running" not in name and "num_batches" not in name:
                found = clip.state[name.replace("encoder", tower, 1)]
                torch.testing.assert_close(found, value, msg=name)


@pytest.mark.parametrize("targets", ["character", "similarity"])
def test_both_kinds_of_targets_train(targets: str, trained: Path, smoke: ComposeSmoke) -> None:
    source = trained / "smoke"
    config = smoke(
        f"image_weight={source / 'image_encoder'}", f"text_weight={source / 'text_encoder'}",
        f"clip.targets={targets}", "aug=false", "clip.learn_temperature=false",
    )  # fmt: skip
    weights = load_weights(train_clip.main(config), "clip")
    assert float(weights.state["logit_scale"]) == 0
    assert weights.arguments["learn_temperature"] is False


@pytest.mark.parametrize("stage", [train_image_encoder, train_text_encoder])
def test_unseen_characters_stay_out_of_training(
    stage: ModuleType, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = smoke("data.unseen_characters=1")
    hidden = SMOKE.index(open_corpus(config).unseen[0])
    seen: list[Tensor] = []
    cross_entropy = F.cross_entropy

    def noted(logits: Tensor, labels: Tensor, **more: float) -> Tensor:
        seen.append(labels)
        return cross_entropy(logits, labels, **more)

    monkeypatch.setattr(F, "cross_entropy", noted)
    stage.main(config)
    assert set(torch.cat(seen).tolist()) == set(range(6)) - {hidden}


def test_clip_of_other_characters_is_refused(
    clip_folder: Path, smoke: ComposeSmoke, runtime: Runtime
) -> None:
    other = open_corpus(smoke("data.characters=あシツ木林明"))
    with pytest.raises(InputError, match=r"clip\.safetensors was trained on .*other characters"):
        frozen_clip(load_weights(clip_folder, "clip"), smoke().structure, other, runtime)
