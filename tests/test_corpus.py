"""The corpus: one set of characters, other people in every split, nothing unseen in training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import KATAKANA, SMOKE, ComposeSmoke

from handwriting.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.packed import PackedImages

Write = Callable[..., Path]


def parts(corpus: Corpus) -> dict[str, PackedImages]:
    every = {
        "train": corpus.train,
        "validation": corpus.validation,
        "test": corpus.test,
        "fonts": corpus.fonts,
        "helpers": corpus.helpers,
    }
    return {name: part for name, part in every.items() if part is not None}


def assert_different_hands(corpus: Corpus) -> None:
    seen: dict[str, str] = {}
    for name, part in parts(corpus).items():
        for writer in part.present_writers():
            assert seen.setdefault(writer, name) == name, f"{writer}: {seen[writer]}, {name}"


def test_all_parts_have_the_same_characters_and_every_class(corpus: Corpus) -> None:
    assert corpus.characters == tuple(SMOKE)
    for part in parts(corpus).values():
        assert part.characters == corpus.characters
        assert part.absent() == []


def test_simulated_writers_are_divided_as_configured(smoke: ComposeSmoke) -> None:
    corpus = open_corpus(
        smoke("data.num_writers=6", "data.train_writers=3", "data.validation_writers=1")
    )
    counts = [len(part.present_writers()) for part in parts(corpus).values()]
    assert counts[:3] == [3, 1, 2]
    assert not corpus.is_real
    assert_different_hands(corpus)


def test_helpers_are_other_hands_than_the_writers_of_any_split(smoke: ComposeSmoke) -> None:
    corpus = open_corpus(smoke("data.helper_writers=3"))
    assert corpus.helpers is not None
    assert len(corpus.helpers.present_writers()) == 3
    assert_different_hands(corpus)
    theirs = {image.tobytes() for image in corpus.helpers.images}
    assert not theirs & {image.tobytes() for image in corpus.train.images}


def test_unseen_characters_are_kanji_and_are_left_out(smoke: ComposeSmoke) -> None:
    corpus = open_corpus(smoke("data.unseen_characters=1"))
    assert len(corpus.unseen) == 1
    assert corpus.unseen[0] in "木林休"
    assert set(corpus.seen) == set(SMOKE) - set(corpus.unseen)
    kept = corpus.without_unseen(corpus.train)
    assert kept.absent() == list(corpus.unseen)
    assert len(kept) == len(corpus.train) * 5 // 6
    assert kept.characters == corpus.characters


def test_too_many_unseen_characters_are_refused(smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match="data.unseen_characters=2: at most half of the 3 kanji"):
        open_corpus(smoke("data.unseen_characters=2"))


def test_a_manifest_is_split_by_writer(write_images: Write, smoke: ComposeSmoke) -> None:
    path = write_images()
    corpus = open_corpus(smoke("data=manifest", f"data.manifest={path}", "data.helper_writers=0"))
    assert corpus.is_real
    assert [len(part) for part in parts(corpus).values()][:3] == [12, 6, 12]
    assert_different_hands(corpus)


def test_one_manifest_per_split_is_taken_as_given(write_images: Write, smoke: ComposeSmoke) -> None:
    people = {"train": ["writer_01"], "validation": ["writer_02"], "test": ["writer_03"]}
    paths = {name: write_images(writers=writers, name=name) for name, writers in people.items()}
    corpus = open_corpus(
        smoke("data=manifest", "data.helper_writers=0", f"data.manifest={paths['train']}",
              f"data.validation_manifest={paths['validation']}",
              f"data.test_manifest={paths['test']}")
    )  # fmt: skip
    for name, part in list(parts(corpus).items())[:3]:
        assert part.present_writers() == people[name]


def test_the_key_follows_the_files_of_a_manifest(write_images: Write, smoke: ComposeSmoke) -> None:
    path = write_images()
    overrides = ["data=manifest", f"data.manifest={path}", "data.helper_writers=0"]
    key = open_corpus(smoke(*overrides)).key
    moved = path.rename(path.with_name("other.json"))
    overrides[1] = f"data.manifest={moved}"
    assert open_corpus(smoke(*overrides)).key == key
    first, second = sorted(path.parent.glob("U+6728/*.png"))[:2]
    first.write_bytes(second.read_bytes())
    moved.touch()
    assert open_corpus(smoke(*overrides)).key != key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.source=scanner"], "data.source=scanner: expected simulated or manifest"),
        (["data.characters=null"], "data=simulated needs data.characters"),
        (["data.num_writers=3"], "data.num_writers=3 leaves nobody to test"),
        (["data=manifest"], "data=manifest needs data.manifest"),
        (["fonts.packages=[no-such-font]"], "no-such-font"),
        (["fonts.packages=[]"], "no fonts"),
    ],
)
def test_what_cannot_be_opened_is_named(
    overrides: list[str], message: str, smoke: ComposeSmoke
) -> None:
    with pytest.raises(InputError, match=message):
        open_corpus(smoke(*overrides))


def test_one_of_two_manifests_is_not_enough(write_images: Write, smoke: ComposeSmoke) -> None:
    path = write_images()
    given = ["data=manifest", f"data.manifest={path}", f"data.test_manifest={path}"]
    with pytest.raises(InputError, match="both data.validation_manifest and data.test_manifest"):
        open_corpus(smoke(*given))


@pytest.mark.skipif(not KATAKANA.is_file(), reason="the real katakana are not here")
def test_the_real_katakana_open_split_by_writer(smoke: ComposeSmoke) -> None:
    corpus = open_corpus(
        smoke("data=manifest", "data.characters=null", f"data.manifest={KATAKANA}",
              "data.train_writers=5", "data.helper_writers=2")
    )  # fmt: skip
    assert corpus.is_real
    assert len(corpus.characters) == 47
    assert [len(part) for part in parts(corpus).values()][:3] == [235, 47, 188]
    assert_different_hands(corpus)
    assert all(np.ptp(part.labels) == 46 for part in parts(corpus).values())
