"""Hands as files: what a study learns of its writers, and what is drawn from it elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMOKE, ComposeSmoke, begun

import pipeline
from handwriting.config import Config
from handwriting.corpus.corpus import corpus_of_hands
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.images.manifest import UNKNOWN_WRITER, read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.runs.folder import run_folder
from handwriting.sources import hands as hands_module
from handwriting.sources.hand_drawings import draw as drawn
from handwriting.sources.hands import Hand, boxed, load_hand, save_each
from handwriting.sources.handwritten_strokes import model_of
from handwriting.storage.json_files import read_json
from training_redrawn import generate_images, train
from training_style_transfer import generate_images as style_transfer
from training_vae import generate_images as vae

Draw = Callable[..., Path]


def hand(name: str, licence: str = "", credit: str = "", written: str = "木森河") -> Hand:
    strokes = {character: boxed(model_of(character).strokes) for character in written}
    return Hand(name, strokes, 0.03, licence, credit)


def images(folder: Path) -> list[tuple[str, str, bytes]]:
    entries = read_manifest(folder / "manifest.json").entries
    return [(one.character, one.writer, one.path.read_bytes()) for one in entries]


@pytest.fixture
def draw(smoke: ComposeSmoke) -> Draw:
    """Draws with hands, of a file or folder, and returns the folder of the images."""
    return lambda path, *more: generate_images.main(smoke(f"generation.hands={path}", *more))


def learnt(smoke: ComposeSmoke, *more: str) -> Config:
    config = smoke("redrawn.licence='CC BY 4.0'", "redrawn.credit='Anna, Ben'", *more)
    train.main(config)
    return config


def test_a_study_leaves_a_file_of_each_hand_that_draws_as_the_study_does(
    smoke: ComposeSmoke, tmp_path: Path
) -> None:
    config = learnt(smoke)
    folder = run_folder(config) / "redrawn" / "hands"
    hands = [load_hand(path) for path in sorted(folder.iterdir())]
    assert [one.name for one in hands] == ["simulated_0000", "simulated_0001"]
    assert {(one.licence, one.credit) for one in hands} == {("CC BY 4.0", "Anna, Ben")}
    assert all({*one.inks} <= {*one.strokes} and one.inks for one in hands)
    asked = (f"generation.hands={folder}", f"generation.characters={SMOKE}", "redrawn.morphing=0.5")
    of_study = generate_images.main(learnt(smoke, "redrawn.morphing=0.5"))
    of_files = generate_images.main(smoke(*asked, runs_dir=tmp_path / "elsewhere"))
    assert images(of_files) == images(of_study)
    texts = [(made / "LICENSE.txt").read_text("utf-8") for made in (of_study, of_files)]
    assert texts[0] == texts[1]
    assert "CC BY-SA 3.0" in texts[0]
    assert "simulated_0000, simulated_0001: CC BY 4.0 (Anna, Ben)" in texts[0]


def test_morphed_forms_stand_beside_the_redrawn_and_hands_are_learnt_once(
    smoke: ComposeSmoke,
) -> None:
    config = smoke("pipeline.generators=[redrawn,morphed]", "pipeline.arms=[real,real+morphed]")
    with begun() as stages:
        pipeline.main(config)
    assert stages.count("redrawn") == 1
    generated = run_folder(config) / "generated"
    own, towards_others = images(generated / "redrawn"), images(generated / "morphed")
    assert len(own) == len(towards_others)
    assert all(a != b for (*_, a), (*_, b) in zip(own, towards_others, strict=True))
    assert {writer for _, writer, _ in own} <= {"simulated_0000", "simulated_0001"}
    assert UNKNOWN_WRITER in {writer for _, writer, _ in towards_others}


def test_files_of_hands_that_are_no_longer_learnt_go(smoke: ComposeSmoke) -> None:
    learnt(smoke)
    folder = run_folder(learnt(smoke, "data.train_writers=1")) / "redrawn" / "hands"
    assert [path.name for path in folder.iterdir()] == ["simulated_0000.safetensors"]


def test_a_hand_draws_what_nobody_wrote(tmp_path: Path, draw: Draw) -> None:
    path = hand("anna", "CC BY 4.0").save(tmp_path / "my hand.safetensors")
    folder = draw(f"'{path}'", "generation.characters=愛鬱", "generation.num_per_character=3")
    assert [(character, writer) for character, writer, _ in images(folder)] == [
        *[("愛", "anna")] * 3, *[("鬱", "anna")] * 3,
    ]  # fmt: skip
    assert read_json(folder / "facts.json") == {"writers_seen": ["anna"]}


def test_without_a_list_each_hand_draws_what_was_written(tmp_path: Path, draw: Draw) -> None:
    save_each(tmp_path / "hands", [hand("anna", written="木森"), hand("ben", written="森河")])
    made = images(draw(tmp_path / "hands", "generation.num_per_character=20"))
    assert {(character, writer) for character, writer, _ in made} == {
        (character, writer) for character in "木森河" for writer in ("anna", "ben")
    }


def test_it_is_drawn_again_when_a_hand_has_changed(tmp_path: Path, draw: Draw) -> None:
    path = hand("anna").save(tmp_path / "hand.safetensors")
    draw(path)
    with begun() as stages:
        draw(path)
        assert stages == []
        hand("anna", written="木森").save(path)
        draw(path)
    assert stages == ["generated/redrawn"]


def test_no_two_hands_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a/b", "a b", "安", "..", "anna-1", "a_b_2", ""]
    paths = save_each(tmp_path / "hands", [hand(name) for name in names])
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths)
    assert [load_hand(path).name for path in paths] == names
    assert {paths[2].stem, paths[4].stem} == {"安", "anna-1"}
    monkeypatch.setattr(hands_module, "MAX_FILES", 4)
    assert save_each(tmp_path / "hands", [hand(name) for name in names]) == []
    assert not (tmp_path / "hands").exists()


@pytest.mark.parametrize(
    ("key", "message"),
    [("generation.characters=木ℵ", "KanjiVG has no drawing of ℵ"),
     ("generation.redraw=real", "redraw needs the writers of a study")],
)  # fmt: skip
def test_what_a_hand_cannot_draw_is_named(
    key: str, message: str, tmp_path: Path, draw: Draw
) -> None:
    path = hand("anna").save(tmp_path / "hand.safetensors")
    with pytest.raises(InputError, match=message):
        draw(path, key)
    assert not (tmp_path / "runs").exists()


def test_a_folder_without_hands_is_named(tmp_path: Path, draw: Draw) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no hand in .*empty"):
        draw(tmp_path / "empty")


# Style transfer -----------------------------------------------------------------------------------


def inked(name: str, radius: float) -> Hand:
    own = replace(hand(name), radius=radius)
    return replace(own, inks=dict(zip("木森", drawn(own, "木森", 64), strict=True)))


@pytest.fixture
def ink(smoke: ComposeSmoke, tmp_path: Path) -> Callable[..., PackedImages]:
    """Inks with the base in a folder's hands."""

    def inks(folder: Path, *more: str) -> PackedImages:
        config = smoke("gen_weight=base", "size_px=64", f"generation.hands={folder}", *more)
        made = read_manifest(style_transfer.main(config) / "manifest.json")
        return pack_manifest(made, 64, tmp_path / "cache")

    return inks


def test_the_ink_of_a_file_is_followed(tmp_path: Path, ink: Callable[..., PackedImages]) -> None:
    hands = [inked("fine", 0.018), inked("bold", 0.045)]
    save_each(tmp_path / "hands", hands)
    made = ink(tmp_path / "hands", "generation.characters=愛海", "generation.num_per_character=12")
    assert (made.characters, {*made.present_writers()}) == (("愛", "海"), {"fine", "bold"})

    def share(images: Uint8) -> float:
        return float((np.asarray(images) > 127).mean())

    fine, bold = (share(made.by([name]).images[:]) for name in ("fine", "bold"))
    own_fine, own_bold = (share(drawn(own, "愛海", 64)) for own in hands)
    assert bold > fine * (1 + 0.6 * (own_bold / own_fine - 1))
    folder = tmp_path / "runs" / "smoke" / "generated" / "adain_clip"
    assert "fine" in (folder / "LICENSE.txt").read_text("utf-8")
    assert {"fine", "bold"} <= {*read_json(folder / "facts.json")["writers_seen"]}
    alone = ink(tmp_path / "hands", "generation.style_names=[fine]")
    assert (alone.present_writers(), {*alone.characters}) == (["fine"], {*"木森河"})


def test_what_files_of_hands_cannot_do_is_named(
    tmp_path: Path, ink: Callable[..., PackedImages], smoke: ComposeSmoke
) -> None:
    folder = tmp_path / "hands"
    folder.mkdir()
    hand("anna").save(folder / "a.safetensors")
    with pytest.raises(InputError, match="anna has no image of its ink"):
        ink(folder)
    hands = tmp_path / "inked"
    hands.mkdir()
    inked("ben", 0.03).save(hands / "a.safetensors")
    with pytest.raises(InputError, match="愛 .*: no image of it in these contents"):
        ink(hands, "generation.characters=愛", "generation.contents=[writers]")
    with pytest.raises(InputError, match="vae cannot imitate hands"):
        vae.main(smoke(f"generation.hands={folder}"))
    hand("anna").save(folder / "b.safetensors")
    with pytest.raises(InputError, match="more than one hand is named 'anna'"):
        ink(folder)


def test_images_of_a_file_are_labelled_by_what_may_be_asked_for() -> None:
    ben = inked("ben", 0.03)
    train = corpus_of_hands([ben], "", ("愛", "森"), 64).train
    assert train.characters[:2] == ("愛", "森")
    for character, ink in ben.inks.items():
        shown = train.images[train.labels == train.characters.index(character)]
        assert np.array_equal(shown, canonical_drawn(ink, 64)[None])


def test_a_file_keeps_the_ink(tmp_path: Path) -> None:
    one = inked("anna", 0.03)
    kept = load_hand(one.save(tmp_path / "hand.safetensors")).inks
    assert [*kept] == ["木", "森"]
    np.testing.assert_array_equal(kept["森"], one.inks["森"])
