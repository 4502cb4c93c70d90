"""Drawing from a bank: uniform, only from the group that is asked for, the same for a seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare

from handwriting.corpus import bank
from handwriting.corpus.bank import Groups, ImageBank, Mixture
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.packed import concatenate
from handwriting.images.thinning import line_drawings
from handwriting.rng import Rng

NUM_DRAWS = 20_000


def test_members_of_a_group_are_equally_likely() -> None:
    group_of = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2, 1, 2, 2])
    drawn = Groups(group_of, 3).pick(torch.full((NUM_DRAWS,), 2), Rng(0).rand(NUM_DRAWS))
    members = (group_of == 2).nonzero().flatten()
    counts = torch.bincount(drawn, minlength=len(group_of))
    assert counts.sum() == counts[members].sum()
    assert chisquare(counts[members]).pvalue > 1e-3


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 2**31))
def test_only_members_of_the_asked_group_are_drawn(groups: list[int], seed: int) -> None:
    group_of = torch.tensor(groups)
    asked = group_of[torch.randint(len(groups), (200,), generator=Rng(seed))]
    drawn = Groups(group_of, 6).pick(asked, Rng(seed).rand(len(asked)))
    assert torch.equal(group_of[drawn], asked)


@pytest.mark.parametrize("kind", ["writers", "images"])
def test_every_image_of_the_asked_kind_is_equally_likely(kind: str, corpus: Corpus) -> None:
    bank = ImageBank(corpus.train, torch.device("cpu"))
    if kind == "images":
        drawn, expected = bank.draw(NUM_DRAWS, Rng(0)), torch.ones(len(bank), dtype=torch.bool)
    else:
        drawn = bank.draw_by(torch.full((NUM_DRAWS,), 1), Rng(0))
        expected = bank.writers == 1
    counts = torch.bincount(drawn, minlength=len(bank))
    assert expected.sum() > 1
    assert counts[~expected].sum() == 0
    assert chisquare(counts[expected]).pvalue > 1e-3


def test_a_seed_decides_the_draw(corpus: Corpus) -> None:
    bank = ImageBank(corpus.train, torch.device("cpu"))
    assert torch.equal(bank.draw(50, Rng(1)), bank.draw(50, Rng(1)))
    assert not torch.equal(bank.draw(50, Rng(1)), bank.draw(50, Rng(2)))


@pytest.mark.parametrize("is_resident", [True, False])
def test_images_are_the_same_wherever_they_lie(
    is_resident: bool, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank, "fits", lambda *_: is_resident)
    both = concatenate([corpus.test, corpus.fonts])
    indices = torch.randint(len(both), (7, 2), generator=Rng(0))
    taken = ImageBank(both, torch.device("cpu")).take(indices)
    np.testing.assert_array_equal(taken, both.images[indices.numpy()])


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_images_on_a_gpu_are_those_of_the_map(
    share: float, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setattr(bank, "DEVICE_SHARE", share)
    device = torch.device("cuda")
    indices = torch.randint(len(corpus.test), (7, 2), generator=Rng(0))
    taken = ImageBank(corpus.test, device).take(indices.to(device))
    assert taken.is_cuda
    np.testing.assert_array_equal(taken.cpu(), corpus.test.images[indices.numpy()])


def test_a_mixture_draws_the_class_that_is_asked_for_by_its_shares(corpus: Corpus) -> None:
    mixture = Mixture(corpus, corpus.sources, torch.device("cpu"))
    labels = mixture.draw_labels(NUM_DRAWS, Rng(0))
    assert chisquare(torch.bincount(labels)).pvalue > 1e-3
    drawn = mixture.draw(labels, {"writers": 3, "fonts": 1, "simulated": 9}, Rng(1))
    assert torch.equal(mixture.bank.labels[drawn], labels)
    num_writers = int((drawn < len(corpus.train)).sum())
    assert chisquare([num_writers, NUM_DRAWS - num_writers], [15_000, 5_000]).pvalue > 1e-3
    of_one = drawn[(labels == 4) & (drawn < len(corpus.train))]
    counts = torch.bincount(of_one, minlength=len(corpus.train))
    assert chisquare(counts[mixture.bank.labels[: len(corpus.train)] == 4]).pvalue > 1e-3


def test_a_mixture_never_draws_an_unseen_character(corpus: Corpus) -> None:
    hidden = replace(corpus, unseen=tuple("木休"))
    mixture = Mixture(hidden, hidden.sources, torch.device("cpu"))
    labels = mixture.draw_labels(2_000, Rng(0))
    assert {hidden.characters[i] for i in labels.tolist()} == set("あシツ林")


def test_line_drawings_are_those_of_the_bank_and_made_once_for_each_source(
    corpus: Corpus, tmp_path: Path, thinned: list[int]
) -> None:
    hidden = replace(corpus, unseen=tuple("木"))
    Mixture(hidden, {"fonts": corpus.fonts}, torch.device("cpu")).line_drawings(tmp_path)
    mixture = Mixture(hidden, hidden.sources, torch.device("cpu"))
    drawings = mixture.line_drawings(tmp_path)
    assert sum(thinned) == len(mixture.bank)
    everything = torch.arange(len(mixture.bank))
    expected = line_drawings(mixture.bank.take(everything).numpy())
    np.testing.assert_array_equal(drawings.take(everything), expected)


def test_a_source_that_lacks_a_class_is_named(corpus: Corpus) -> None:
    without = corpus.train.select(np.flatnonzero(corpus.train.labels != 2))
    mixture = Mixture(corpus, {**corpus.sources, "writers": without}, torch.device("cpu"))
    with pytest.raises(InputError, match="writers: no image of ツ"):
        mixture.draw(torch.zeros(3, dtype=torch.long), {"writers": 1.0}, Rng(0))


def test_a_class_that_a_source_lacks_is_drawn_from_the_others(corpus: Corpus) -> None:
    without = corpus.train.select(np.flatnonzero(corpus.train.labels != 2))
    mixture = Mixture(corpus, {**corpus.sources, "writers": without}, torch.device("cpu"))
    labels = mixture.draw_labels(NUM_DRAWS, Rng(0))
    shares = {"writers": 3, "fonts": 1, "simulated": 9}  # of which nobody is here
    drawn = mixture.draw(labels, shares, Rng(1))
    assert torch.equal(mixture.bank.labels[drawn], labels)
    is_by_writers = drawn < len(without)
    assert not is_by_writers[labels == 2].any()
    others = is_by_writers[labels != 2]
    counts = [int(others.sum()), int((~others).sum())]
    assert chisquare(counts, [0.75 * len(others), 0.25 * len(others)]).pvalue > 1e-3


def test_shares_of_absent_sources_alone_are_refused(corpus: Corpus) -> None:
    mixture = Mixture(corpus, {"fonts": corpus.fonts}, torch.device("cpu"))
    with pytest.raises(InputError, match="expected one above 0 .* fonts"):
        mixture.draw(torch.zeros(3, dtype=torch.long), {"writers": 1.0, "fonts": 0.0}, Rng(0))
