"""Hands as files: what a study learns of its writers, and what is drawn from it elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMOKE, ComposeSmoke, begun

from handwriting.config import Config
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.runs.folder import run_folder
from handwriting.sources import hands as hands_module
from handwriting.sources.hands import Hand, boxed, load_hand, save_each
from handwriting.sources.handwritten_strokes import model_of
from handwriting.storage.json_files import read_json
from training_redrawn import generate_images, train

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
    return lambda path, *more: generate_images.main(smoke(f"gen_weight={path}", *more))


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
    asked = (f"gen_weight={folder}", f"generation.characters={SMOKE}", "redrawn.morphing=0.5")
    of_study = generate_images.main(learnt(smoke, "redrawn.morphing=0.5"))
    of_files = generate_images.main(smoke(*asked, runs_dir=tmp_path / "elsewhere"))
    assert images(of_files) == images(of_study)
    texts = [(made / "LICENSE.txt").read_text("utf-8") for made in (of_study, of_files)]
    assert texts[0] == texts[1]
    assert "CC BY-SA 3.0" in texts[0]
    assert "simulated_0000, simulated_0001: CC BY 4.0 (Anna, Ben)" in texts[0]


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
     ("generation.redraw=real", "redraw: a recogniser reads what the hands of a study")],
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
    with pytest.raises(InputError, match="no redrawn weights at .*empty"):
        draw(tmp_path / "empty")
