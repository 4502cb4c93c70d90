"""Class texts: any alternative of the right class, never a padding row."""

import json
from pathlib import Path

import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from scipy.stats import chisquare

from handwriting.characters.decomposition import structure_of
from handwriting.characters.vocabulary import BOS, EOS, PAD, UNK, ClassTexts, class_texts
from handwriting.rng import Rng

OWN = {
    "あ": ["あ"], "シ": ["シ"], "ツ": ["ツ"], "木": ["木"],
    "林": ["⿰ 木 木", "⿰ 木 十", "⿻ 木 木"], "休": ["⿰ 亻 木", "⿰ 人 木"],
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, smoke: ComposeSmoke) -> ClassTexts:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(OWN, ensure_ascii=False), encoding="utf-8")
    return class_texts(smoke(f"structure.path={path}").structure, SMOKE, SMOKE)


def decoded(texts: ClassTexts, row: torch.Tensor) -> str:
    numbers = row.tolist()
    assert numbers[0] == BOS
    end = numbers.index(EOS)
    assert set(numbers[end + 1 :]) <= {PAD}
    return " ".join(texts.vocabulary.tokens[n] for n in numbers[1:end])


def test_a_user_file_replaces_the_default(own: ClassTexts) -> None:
    for label, character in enumerate(SMOKE):
        rows = own.tokens[label, : own.counts[label]]
        assert [decoded(own, row) for row in rows] == OWN[character]


def test_alternatives_are_drawn_uniformly_and_only_those_of_the_class(
    own: ClassTexts, rng: Rng
) -> None:
    labels = torch.tensor([4, 5, 0]).repeat_interleave(3000)
    drawn = own.draw(labels, rng)
    for label in (4, 5, 0):
        found = [decoded(own, row) for row in drawn[labels == label]]
        counts = [found.count(text) for text in OWN[SMOKE[label]]]
        assert sum(counts) == 3000
        assert len(counts) == 1 or chisquare(counts).pvalue > 1e-3


def test_the_default_is_the_structure_of_the_characters(smoke: ComposeSmoke) -> None:
    texts = class_texts(smoke().structure, SMOKE, SMOKE)
    structure = structure_of(SMOKE, 22)
    for label, character in enumerate(SMOKE):
        rows = texts.tokens[label, : texts.counts[label]]
        assert [tuple(decoded(texts, row).split()) for row in rows] == list(structure[character])
    assert texts.tokens.shape[2] == smoke().structure.context_length


def test_the_vocabulary_comes_from_seen_characters_alone(smoke: ComposeSmoke) -> None:
    texts = class_texts(smoke().structure, SMOKE, "あシツ木林")
    assert "亻" not in texts.vocabulary.tokens
    assert (texts.tokens[5] == UNK).any()
    assert not (texts.tokens[:5] == UNK).any()


def test_a_given_vocabulary_is_kept(own: ClassTexts, smoke: ComposeSmoke) -> None:
    texts = class_texts(smoke().structure, SMOKE, SMOKE, own.vocabulary)
    assert texts.vocabulary == own.vocabulary
