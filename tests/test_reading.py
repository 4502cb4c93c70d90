"""Reading with a trained recogniser, and teaching it characters that it was not trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke, DrawGlyph, Write, smoke_overrides
from PIL import Image
from torch import nn

import add_characters
import prepare_recogniser
import read as read_script
from handwriting.characters.groups import GROUPS, group_of
from handwriting.config import AddCharacters, Read, Runtime as RuntimeConfig
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages
from handwriting.networks.encoders import Classifier
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights, save_weights, shipped
from handwriting.script import compose
from handwriting.sources.strokes import draw_canonical, read_drawing
from training_character_classification import train
from training_character_classification.reading import Recogniser, judged, read

RARE = "海河"  # of KanjiVG, and not of the smoke study


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A recogniser that has learnt a little, with an embedding."""
    overrides = smoke_overrides(
        tmp_path_factory.mktemp("runs"), cache_dir, "classifier.embedding_dim=16",
        "classifier.use_fonts=true", "classifier.num_steps=60", "data.num_simulated_writers=0",
    )  # fmt: skip
    return train.main(compose(overrides)) / "classifier.safetensors"


@pytest.fixture(scope="module")
def corpus_images(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    return open_corpus(compose(smoke_overrides(tmp_path_factory.mktemp("unused"), cache_dir))).train


# The one that ships -----------------------------------------------------------------------------


def test_the_recogniser_that_ships_learns_hands_and_no_real_image(
    smoke: ComposeSmoke, write_images: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[PackedImages] = []
    draw_from = train.ImageBank

    def noted(source: PackedImages, device: torch.device) -> train.ImageBank:
        seen.append(source)
        return draw_from(source, device)

    monkeypatch.setattr(train, "ImageBank", noted)
    config = smoke(
        "data=manifest", f"data.manifest={write_images('あシ木')}", "data.characters=smoke",
        "data.partial=true", "data.num_simulated_writers=2", "classifier.use_real=false",
        "classifier.use_fonts=true", "classifier.use_simulated=true", "redrawn.credit=by Anna",
    )  # fmt: skip
    corpus = open_corpus(config)
    path = prepare_recogniser.main(config)
    weights = load_weights(path, "classifier")
    trained = {*corpus.train.present_writers()}
    assert weights.facts["arm"] == "fonts+simulated+redrawn+classical"
    assert trained <= {*weights.facts["writers_seen"]}
    assert trained.isdisjoint(corpus.test.present_writers() + corpus.validation.present_writers())
    assert not {*corpus.test.present_writers()} & {*weights.facts["writers_seen"]}
    assert weights.facts["credit"].endswith("by Anna")
    assert "KanjiVG" in weights.facts["credit"]
    real = {image.tobytes() for image in corpus.train.images[:]}
    assert not real & {image.tobytes() for source in seen for image in source.images[:]}
    assert seen[-1].absent() == []  # in their hands also what they did not write

    made = path.read_bytes()
    shutil.rmtree(path.parent)
    assert prepare_recogniser.main(config).read_bytes() == made  # it can be made again


# Reading ------------------------------------------------------------------------------------------


def test_files_and_arrays_are_read_alike_and_shares_fall(
    weights: Path, tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    glyphs = [draw_glyph(character) for character in "あ木シ"]
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for glyph, file in zip(glyphs, files, strict=True):
        Image.fromarray(glyph).save(file)
    found = read(files, weights=weights)
    assert found == read(glyphs, weights=weights) == read([*map(str, files)], weights=weights)
    for guesses in found:
        shares = [share for _, share in guesses]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1 + 1e-6
        assert len({character for character, _ in guesses}) == 5
        assert {character for character, _ in guesses} <= set(SMOKE)
    (best,) = read(glyphs[:1], weights=weights, number=1)
    assert best == found[0][:1]


def test_only_the_characters_that_are_given_are_read(weights: Path, draw_glyph: DrawGlyph) -> None:
    free = dict(read([draw_glyph("あ")], weights=weights, number=6)[0])
    given = read([draw_glyph("あ")], "木林", weights)[0]
    assert {character for character, _ in given} == {*"木林"}
    ratio = free["木"] / free["林"]
    assert dict(given)["木"] / dict(given)["林"] == pytest.approx(ratio, rel=1e-3)
    assert sum(share for _, share in given) == pytest.approx(1)


def test_what_cannot_be_read_is_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read 海: it knows 6 characters"):
        Recogniser(weights, "海木")
    with pytest.raises(InputError, match=r"missing image: .*gone\.png"):
        read([tmp_path / "gone.png"], weights=weights)
    with pytest.raises(InputError, match="blank"):
        read([np.full((9, 9), 255, np.uint8)], weights=weights)
    with pytest.raises(InputError, match="no classifier weights"):
        read([np.zeros((9, 9), np.uint8)], weights=tmp_path / "none")
    with pytest.raises(InputError, match=r"image 1: expected grey .* found \(9, 9, 3\) uint8"):
        read([np.eye(9, dtype=np.uint8) * 255, np.zeros((9, 9, 3), np.uint8)], weights=weights)
    with pytest.raises(InputError, match=r"image 0: expected grey .*float64"):
        read([np.eye(9)], weights=weights)
    assert read([], weights=weights) == []
    with pytest.raises(InputError, match="either images="):
        read_script.main(Read(cache_dir=str(tmp_path)))
    with pytest.raises(InputError, match="num_guesses= is how many"):
        read_script.main(Read(manifest="x", num_guesses=3, cache_dir=str(tmp_path)))


def test_weights_that_were_trained_again_are_read_with(
    weights: Path, tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    own = Path(shutil.copy(weights, tmp_path / "own.safetensors"))
    before = read([draw_glyph("木")], weights=own)
    trained = load_weights(own, "classifier")
    other = {name: values.flip(0) for name, values in trained.state.items() if "head.dir" in name}
    state = {**trained.state, **other}
    save_weights(own, "classifier", trained.arguments, trained.facts, state)
    assert read([draw_glyph("木")], weights=own) != before


def test_a_manifest_is_read_with_a_line_of_json_at_the_end(
    weights: Path, write_images: Write, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_images("木林山")
    sheet = manifest.with_name("misread.png")
    config = Read(
        manifest=str(manifest), weights=str(weights), sheet=str(sheet), cache_dir=str(cache_dir)
    )
    read_script.main(config)
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
    *table, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    listing = json.loads(manifest.read_text("utf-8"))
    right = {}
    for character in "木林":
        files = [manifest.parent / file for file in listing[character]]
        answers = [guesses[0][0] for guesses in read(files, weights=weights)]
        right[character] = np.mean([answer == character for answer in answers])
        assert f"{right[character]:.3f}" in next(row for row in table if row.startswith(character))
    assert told["num_images"] == 2 * told["left_out"] == 10
    assert told["accuracy"] == pytest.approx(np.mean([*right.values()]))
    assert 0 <= told["macro_f1"] <= told["in_five"] <= 1


def test_an_image_is_judged_among_all_within_its_script_and_in_five() -> None:
    characters = tuple("かカ力山川海")
    labels = np.array([0, 1, 2, 3])
    images = PackedImages(
        np.zeros((4, 8, 8), np.uint8), labels, np.array([0, 0, 1, 1]), characters, ("anna", "ben")
    )
    scores = torch.tensor([
        [9.0, 0, 0, 0, 0, 0],  # right
        [9.0, 8, 0, 0, 0, 0],  # か for カ, which is right where the script is known
        [0.0, 9, 7, 8, 0, 0],  # カ for 力, and among kanji 山
        [5.0, 4, 3, 0, 2, 1],  # 山 is last
    ])  # fmt: skip
    table, guesses = judged([scores[:3], scores[3:]], images)
    assert guesses.tolist() == [0, 0, 1, 0]
    assert table["right"].tolist() == [True, False, False, False]
    assert table["in_script"].tolist() == [True, True, False, False]
    assert table["in_five"].tolist() == [True, True, True, False]
    assert table.index.tolist() == [("anna", "か"), ("anna", "カ"), ("ben", "力"), ("ben", "山")]


def test_characters_are_grouped_by_script_and_kanji_by_strokes() -> None:
    found = {character: group_of(character) for character in "あア一永鬱海A"}
    assert list(found.values()) == ["hiragana", "katakana", "kanji 1-5", "kanji 1-5", "kanji 16-",
                                    "kanji 6-10", "others"]  # fmt: skip
    assert {*found.values()} <= {*GROUPS}


def test_what_ships_reads_drawings_of_all_scripts() -> None:
    assert shipped("classifier").stat().st_size < 5e6
    asked = "あいうえおアウオカキ永愛書海河湖語摂働龍"
    drawn = [read_drawing(character).strokes for character in asked]
    images = draw_canonical([(own, np.full(own.shape[:2], 0.03)) for own in drawn], 64)
    found = read([*images])
    assert np.mean([guesses[0][0] == c for guesses, c in zip(found, asked, strict=True)]) >= 0.9
    assert len(Recogniser().characters) == 3057


# Adding characters --------------------------------------------------------------------------------


@pytest.fixture
def added(weights: Path, tmp_path: Path, cache_dir: Path) -> Callable[..., Path]:
    def add(**settings: Any) -> Path:
        output = str(tmp_path / "mine.safetensors")
        given: dict[str, Any] = {
            "weights": str(weights),
            "output": output,
            "cache_dir": str(cache_dir),
        }
        config = AddCharacters(**{**given, **settings}, runtime=RuntimeConfig(precision="no"))
        return add_characters.main(config)

    return add


def test_characters_are_added_and_the_others_keep_their_scores(
    weights: Path, added: Callable[..., Path], corpus_images: PackedImages
) -> None:
    path = added(characters=RARE)
    before, after = (load_weights(w, "classifier") for w in (weights, path))
    assert after.facts["characters"] == [*before.facts["characters"], *RARE]
    assert {*before.facts["writers_seen"]} < {*after.facts["writers_seen"]}
    images = torch.from_numpy(np.array(corpus_images.images[:20]))[:, None].float() / 127.5 - 1
    with torch.no_grad():
        old, new = (build(Classifier, w).eval()(images) for w in (before, after))
    torch.testing.assert_close(new[:, : len(SMOKE)], old)
    assert new.shape[1] == len(SMOKE) + len(RARE)


def test_an_added_character_points_to_its_images_and_away_from_others() -> None:
    network = Classifier("small_resnet", 2, 16, 3, 16)
    network.encoder, network.embedding = nn.Flatten(), nn.Identity()  # type: ignore[assignment]
    rng = np.random.default_rng(0)
    shapes = rng.random((3, 4, 4)) * 255
    like = 0.7 * shapes[0] + 0.3 * rng.random((4, 4)) * 255  # a new one that resembles the first
    noise = rng.normal(0, 30, (43, 4, 4))
    inks = np.clip(np.concatenate([shapes, np.repeat(like[None], 40, 0)]) + noise, 0, 255)
    inks = inks.astype(np.uint8)
    others = PackedImages(inks[:3], np.arange(3), np.zeros(3, int), ("a", "b", "c"), ("anna",))
    images = PackedImages(inks[3:], np.zeros(40, int), np.zeros(40, int), ("d",), ("anna",))
    runtime = Runtime(RuntimeConfig(precision="no"))
    own, other = (add_characters.embedded(network, part, runtime) for part in (images, others))
    network.head.directions.weight.data = other.clone()  # type: ignore[union-attr]
    mean = add_characters.mean_directions(own, images)
    turned, held = (
        add_characters.new_directions(network, part, others, runtime)
        for part in (images, images.select([0, 1]))
    )
    assert turned.norm().item() == pytest.approx(1, abs=1e-5)
    assert (own @ turned.T > own @ other.T).float().mean() > 0.9  # they are read as the new one
    assert other[0] @ turned[0] < other[0] @ mean[0] - 0.02
    few = add_characters.mean_directions(own[:2], images.select([0, 1]))
    assert (held * few).sum() > (turned * mean).sum()  # fewer images hold it nearer to their mean


def test_what_kanjivg_does_not_draw_is_added_from_images(
    weights: Path, added: Callable[..., Path], write_images: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    foreign = "们"  # simplified
    path = added(manifest=str(write_images(foreign)))
    assert load_weights(path, "classifier").facts["characters"] == [*SMOKE, foreign]
    assert "1 characters added\n" in capsys.readouterr().out
    again = added(
        characters="海", weights=str(path), output=str(path.with_name("more.safetensors"))
    )
    assert load_weights(again, "classifier").facts["characters"] == [*SMOKE, foreign, "海"]


def test_each_known_character_is_written_once_by_writers_in_turn(cache_dir: Path) -> None:
    once = add_characters.written_once(SMOKE, 16, cache_dir)
    assert sorted(once.labels.tolist()) == [*range(len(SMOKE))]
    assert len({*once.writers.tolist()}) == add_characters.NUM_OTHERS


def test_a_manifest_shows_what_is_added(
    weights: Path, added: Callable[..., Path], write_images: Write
) -> None:
    path = added(manifest=str(write_images("木海")))  # 木 is known, and left out
    facts = load_weights(path, "classifier").facts
    assert facts["characters"] == [*SMOKE, "海"]
    assert {"writer_01", "simulated:simulated_0001"} <= {*facts["writers_seen"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either characters="),
        ({"characters": "木海"}, "knows 木 already"),
        ({"characters": "海", "manifest": "x"}, "either characters="),
        ({"manifest": "x", "num_writers": 3}, "num_writers= are simulated ones"),
    ],
)
def test_what_cannot_be_added_is_named(
    settings: dict[str, Any], message: str, added: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=message):
        added(**settings)


def test_nothing_is_added_over_a_file_or_to_a_recogniser_without_an_embedding(
    added: Callable[..., Path], tmp_path: Path, cache_dir: Path
) -> None:
    plain = train.main(compose(smoke_overrides(tmp_path, cache_dir, "classifier.num_steps=2")))
    with pytest.raises(InputError, match="no embedding"):
        added(characters="海", weights=str(plain))
    added(characters="海")
    with pytest.raises(InputError, match="is there already"):
        added(characters="河")
