"""Drawing from a bank: uniform, only from the group that is asked for, the same for a seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare

from handwriting.bank import Groups, ImageBank
from handwriting.corpus import Corpus
from handwriting.errors import InputError
from handwriting.packed import PackedImages

NUM_DRAWS = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_members_of_a_group_are_equally_likely() -> None:
    group_of = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2, 1, 2, 2])
    drawn = Groups(group_of, 3).draw(torch.full((NUM_DRAWS,), 2), seeded())
    members = (group_of == 2).nonzero().flatten()
    counts = torch.bincount(drawn, minlength=len(group_of))
    assert counts.sum() == counts[members].sum()
    assert chisquare(counts[members]).pvalue > 1e-3


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 2**31))
def test_only_members_of_the_asked_group_are_drawn(groups: list[int], seed: int) -> None:
    group_of = torch.tensor(groups)
    asked = group_of[torch.randint(len(groups), (200,), generator=seeded(seed))]
    drawn = Groups(group_of, 6).draw(asked, seeded(seed))
    assert torch.equal(group_of[drawn], asked)


@pytest.mark.parametrize("kind", ["classes", "writers", "images"])
def test_every_image_of_the_asked_kind_is_equally_likely(kind: str, corpus: Corpus) -> None:
    bank = ImageBank(corpus.train, torch.device("cpu"))
    if kind == "images":
        drawn, expected = bank.draw(NUM_DRAWS, seeded()), torch.ones(len(bank), dtype=torch.bool)
    elif kind == "classes":
        drawn = bank.draw_of(torch.full((NUM_DRAWS,), 4), seeded())
        expected = bank.labels == 4
    else:
        drawn = bank.draw_by(torch.full((NUM_DRAWS,), 1), seeded())
        expected = bank.writers == 1
    counts = torch.bincount(drawn, minlength=len(bank))
    assert expected.sum() > 1
    assert counts[~expected].sum() == 0
    assert chisquare(counts[expected]).pvalue > 1e-3


def test_a_seed_decides_the_draw(corpus: Corpus) -> None:
    bank = ImageBank(corpus.train, torch.device("cpu"))
    assert torch.equal(bank.draw(50, seeded(1)), bank.draw(50, seeded(1)))
    assert not torch.equal(bank.draw(50, seeded(1)), bank.draw(50, seeded(2)))


def test_images_are_taken_as_they_were_packed(corpus: Corpus) -> None:
    bank = ImageBank(corpus.test, torch.device("cpu"))
    indices = torch.tensor([3, 0, 3])
    np.testing.assert_array_equal(bank.take(indices), corpus.test.images[indices.numpy()])


def test_a_class_without_images_is_named() -> None:
    packed = PackedImages(
        np.zeros((1, 2, 2), np.uint8), np.array([1]), np.array([0]), tuple("木林休"), ("a",)
    )
    with pytest.raises(InputError, match="handwriting: no image of 木 休"):
        ImageBank(packed, torch.device("cpu")).require_all_classes("handwriting")
