"""Copies are found whatever was done to them between, and two people are never one's copy."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import KATAKANA, ComposeSmoke, Write
from PIL import Image, ImageFilter

from handwriting.corpus import copies
from handwriting.corpus.copies import find_copies
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages
from handwriting.images.reading import read_grey
from handwriting.runs.folder import run_folder
from handwriting.sources.simulated_writers import simulated
from handwriting.storage.json_files import write_json
from training_character_classification import arms, test as evaluation
from training_clip import train_image_encoder

Picture = Image.Image


def turned(image: Picture, degrees: float) -> Picture:
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255)


def resized(image: Picture, factor: float) -> Picture:
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)


def compressed(image: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def of_levels(image: Picture, change: Callable[[Any], Any]) -> Picture:
    levels = change(np.asarray(image) / 255)
    return Image.fromarray((np.clip(levels, 0, 1) * 255).astype(np.uint8))


def noisy(image: Picture) -> Picture:
    return of_levels(image, lambda x: x + np.random.default_rng(0).normal(0, 0.04, x.shape))


def one_pixel(image: Picture) -> Picture:
    changed = image.copy()
    changed.putpixel((3, 2), 0)
    return changed


KINDS: dict[str, Callable[[Picture], Picture]] = {
    "untouched": lambda i: i,
    "half as large": lambda i: resized(i, 0.5),
    "larger": lambda i: resized(i, 1.7),
    "turned": lambda i: turned(i, 1),
    "turned more": lambda i: turned(i, -2),
    "one pixel": one_pixel,
    "JPEG 80": lambda i: compressed(i, 80),
    "JPEG 25": lambda i: compressed(i, 25),
    "less contrast": lambda i: of_levels(i, lambda x: 0.2 + 0.6 * x),
    "gamma": lambda i: of_levels(i, lambda x: x**1.8),
    "blurred": lambda i: i.filter(ImageFilter.GaussianBlur(0.8)),
    "noise": noisy,
    "shifted": lambda i: i.transform(i.size, Image.Transform.AFFINE, (1, 0, 0.4, 0, 1, -0.6),
                                     Image.Resampling.BICUBIC, fillcolor=255),
    "thresholded": lambda i: of_levels(resized(i, 0.8), np.round),
    "scanned again": lambda i: compressed(noisy(turned(resized(i, 1.3), 0.7)), 70),
}  # fmt: skip


def everybodys_copies(images: list[Uint8], labels: Any, writers: Any, size_px: int) -> float:
    """The share of copies that are found, of one of each image; nothing else may be."""
    kinds = np.random.default_rng(size_px).choice([*KINDS], len(images))
    both = [Image.fromarray(image) for image in images]
    both += [KINDS[kind](image) for kind, image in zip(kinds, both, strict=True)]
    packed = PackedImages(
        np.stack([canonical(np.asarray(image), size_px) for image in both]),
        np.tile(labels, 2), np.tile(writers, 2), tuple(map(str, np.unique(labels))), (),
    )  # fmt: skip
    owners = np.repeat([0, 1], len(images))
    nobody = np.zeros(len(both), bool)
    found, is_sure = find_copies(packed, owners, nobody, nobody)
    is_copy = np.diff(found)[:, 0] == len(images)
    assert not (is_sure & ~is_copy).any(), "two people's"
    return is_copy.mean() * len(found) / len(images)


@pytest.mark.parametrize("size_px", [28, 32, 64, 112])
def test_copies_are_found_and_simulated_people_are_none(size_px: int, cache_dir: Path) -> None:
    drawn = simulated("ツ木休あ語鬱国か", 12, 1, 5, 96, cache_dir)
    images = [255 - image for image in drawn.images]
    assert everybodys_copies(images, drawn.labels, drawn.writers, size_px) > 0.93


@pytest.mark.skipif(not KATAKANA.is_file(), reason="no real katakana here")
@pytest.mark.parametrize("size_px", [28, 32, 64])
def test_of_real_katakana_98_percent_of_copies_are_found(size_px: int) -> None:
    manifest = read_manifest(KATAKANA)
    labels = np.array([manifest.characters.index(e.character) for e in manifest.entries])
    writers = np.array([manifest.writers.index(e.writer) for e in manifest.entries])
    images = [read_grey(entry.path) for entry in manifest.entries]
    assert everybodys_copies(images, labels, writers, size_px) >= 0.98


def of_many(characters: str, cache_dir: Path) -> tuple[PackedImages, Any]:
    """200 people, as many as wrote a character of ETL9; none of them a person known by name."""
    drawn = simulated(characters, 200, 1, 7, 32, cache_dir)
    return drawn, np.zeros(len(drawn), bool)


@pytest.mark.parametrize("characters", ["ノ一く", "ソ十日"])
def test_of_many_people_no_two_are_taken_for_copies(characters: str, cache_dir: Path) -> None:
    drawn, nobody = of_many(characters, cache_dir)
    found, is_sure = find_copies(drawn, drawn.writers, nobody, ~nobody)
    assert not is_sure.any()
    assert len(found) < 0.02 * len(drawn)  # are told


def test_a_copy_is_found_among_many_people_and_once_is_enough(cache_dir: Path) -> None:
    drawn, _ = of_many("く日木", cache_dir)
    people = [np.flatnonzero(drawn.labels == label)[label] for label in range(3)]
    images = [255 - drawn.images[row] for row in people]
    copies = [canonical(np.asarray(turned(Image.fromarray(image), 1)), 32) for image in images]
    packed = PackedImages(
        np.concatenate([drawn.images, copies, copies]),
        np.concatenate([drawn.labels, [0, 1, 2] * 2]),
        np.concatenate([drawn.writers, [200] * 3, [201] * 3]),
        drawn.characters, (*drawn.writer_names, "b", "c"),
    )  # fmt: skip
    nobody = np.zeros(len(packed), bool)
    found, is_sure = find_copies(packed, packed.writers, nobody, nobody)
    stops = {tuple(pair) for pair in found[is_sure]}
    new = len(drawn)
    assert {(row, new + i + k) for i, row in enumerate(people) if i for k in (0, 3)} <= stops
    assert (people[0], new) in {tuple(pair) for pair in found}
    # Two people of whom each character is there twice are one, also where all are simple.
    is_sure = find_copies(packed, packed.writers, nobody, ~nobody)[1]
    assert (new, new + 3) in {tuple(pair) for pair in found[is_sure]}


# In a study ---------------------------------------------------------------------------------------


@pytest.fixture
def manifest(write_images: Write) -> Path:
    return write_images()


@pytest.fixture
def of_manifest(smoke: ComposeSmoke, manifest: Path) -> Any:
    return smoke("data=manifest", f"data.manifest={manifest}", "size_px=32",
                 "data.num_simulated_writers=2")  # fmt: skip


def copy(manifest: Path, source: str, target: str, kind: str = "turned") -> None:
    KINDS[kind](Image.open(manifest.parent / source)).save(manifest.parent / target)
    manifest.touch()  # otherwise the corpus is taken to be as it was


def people(config: Any) -> dict[str, str]:
    """Somebody of each split."""
    return {name: split.present_writers()[0] for name, split in open_corpus(config).splits.items()}


@pytest.mark.parametrize("kind", ["untouched", "turned", "JPEG 25", "thresholded"])
@pytest.mark.parametrize(
    ("of", "to"), [("train", "test"), ("train", "validation"), ("validation", "test")]
)
def test_a_copy_in_another_split_stops_before_any_training(
    kind: str, of: str, to: str, manifest: Path, of_manifest: Any
) -> None:
    somebody = people(of_manifest)
    files = {name: f"U+4F11/{somebody[name]}.png" for name in (of, to)}
    copy(manifest, files[of], files[to], kind)
    with pytest.raises(InputError) as caught:
        train_image_encoder.main(of_manifest)
    first, second = (f"({manifest.parent / files[name]})" for name in (to, of))
    assert (
        f"休 by {somebody[to]} in {to} {first} is the same picture as 休 by {somebody[of]} in {of} "
        f"{second}" in str(caught.value)
    )
    assert "1 problem(s)" in str(caught.value)
    assert "remove one of each pair" in str(caught.value)
    assert not run_folder(of_manifest).exists()


def test_images_of_another_manifest_are_new_to_the_study(
    manifest: Path, of_manifest: Any, tmp_path: Path
) -> None:
    corpus, somebody = open_corpus(of_manifest), people(of_manifest)
    other = tmp_path / "other"
    for split in ("train", "test"):
        (other / split).mkdir(parents=True)
        source = manifest.parent / f"U+4F11/{somebody[split]}.png"
        turned(Image.open(source), 1).save(other / split / "x.png")
    of_manifest.evaluation.manifest = str(other / "manifest.json")
    write_json(other / "manifest.json", {"休": ["test/x.png"]})
    assert len(evaluation.test_images(of_manifest, corpus)) == 1
    write_json(other / "manifest.json", {"休": ["test/x.png", "train/x.png"]})
    with pytest.raises(InputError, match=r"1 problem(?s:.*)train/x\.png.* is the same picture as"):
        evaluation.test_images(of_manifest, corpus)
    write_json(other / "facts.json", {})  # generated images may be like anybody's
    assert len(evaluation.test_images(of_manifest, corpus)) == 2


@pytest.mark.parametrize("target", ["U+4F11/{}.png", "U+6728/{}.png"])  # 休, 木
def test_one_picture_under_two_people_or_characters_is_told(
    target: str, manifest: Path, of_manifest: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = open_corpus(of_manifest).train.present_writers()
    assert "warning" not in capsys.readouterr().out
    of, to = f"U+4F11/{first}.png", target.format(second if "4F11" in target else first)
    copy(manifest, of, to, "untouched")
    open_corpus(of_manifest)
    out = capsys.readouterr().out
    assert out.count("is the same picture as") == 1
    assert str(manifest.parent / of) in out
    assert str(manifest.parent / to) in out


def test_a_generated_image_that_is_a_copy_of_a_test_image_is_named(
    write_images: Write, manifest: Path, of_manifest: Any
) -> None:
    generated = write_images(writers=["g1", "g2"], name="made")
    of_manifest.use_gen = str(generated)
    corpus = open_corpus(of_manifest)
    arms.training_sources(
        of_manifest, corpus, arms.read_generated(of_manifest, corpus, [generated])
    )
    source = manifest.parent / f"U+6797/{people(of_manifest)['test']}.png"
    KINDS["scanned again"](Image.open(source)).save(generated.parent / "U+6797/g2.png")
    with pytest.raises(InputError) as caught:
        arms.training_sources(
            of_manifest, corpus, arms.read_generated(of_manifest, corpus, [generated])
        )
    assert f"in generated ({generated.parent / 'U+6797/g2.png'})" in str(caught.value)
    assert f"in test ({source})" in str(caught.value)


def test_images_are_compared_once(
    of_manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_manifest.cache_dir = str(tmp_path / "cache")
    calls: list[int] = []

    def counted(packed: PackedImages, *others: Any) -> Any:
        calls.append(len(packed))
        return find_copies(packed, *others)

    monkeypatch.setattr(copies, "find_copies", counted)
    for i in range(3):  # in a process that has opened none
        monkeypatch.setattr("handwriting.corpus.corpus._opened", {})
        open_corpus(of_manifest)
        assert len(calls) == min(i + 1, 1)
    (kept,) = Path(of_manifest.cache_dir, "copies").glob("*/copies.json")
    kept.write_text(json.dumps({"pairs": [[0, 1]]}))  # damaged
    monkeypatch.setattr("handwriting.corpus.corpus._opened", {})
    open_corpus(of_manifest)
    assert len(calls) == 2
