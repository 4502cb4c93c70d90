"""The corpus: one set of characters, other people in every split, nothing unseen in training."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import KATAKANA, SMOKE, WRITERS, ComposeSmoke, Write
from hydra.errors import HydraException
from hypothesis import given, strategies as st

from handwriting import arguments, script
from handwriting.config import Config
from handwriting.corpus import readers
from handwriting.corpus.corpus import Corpus, open_corpus, record_study
from handwriting.corpus.readers.manifest import ManifestData
from handwriting.corpus.splits import divide
from handwriting.errors import InputError
from handwriting.images.packed import LazyImages, PackedImages
from handwriting.runs.folder import run_folder
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images
from handwriting.storage.json_files import plain, read_json
from handwriting.storage.places import CONFIG_DIR


def parts(corpus: Corpus) -> dict[str, PackedImages]:
    beside = {kind: images for kind, images in corpus.sources.items() if kind != "writers"}
    return {**corpus.splits, **beside}


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


@given(st.integers(3, 12), st.data())
def test_people_are_divided_whole_by_counts_and_seed(num_people: int, data: st.DataObject) -> None:
    people = [f"person {i}" for i in range(num_people)]
    num_train = data.draw(st.integers(1, num_people - 1))
    num_validation = data.draw(st.integers(0, num_people - num_train - 1))
    seed = data.draw(st.none() | st.integers(0, 2**32))
    divided = divide(people, num_train, num_validation, seed, 0, "here")
    assert [*map(len, divided)][:2] == [num_train, num_validation]
    assert sorted(name for part in divided for name in part) == sorted(people)
    assert divide(people, num_train, num_validation, seed, 0, "here") == divided


def test_seeds_choose_different_people() -> None:
    people = [f"person {i}" for i in range(10)]
    assert len({tuple(divide(people, 5, 1, seed, 0, "")[0]) for seed in range(10)}) > 5


@pytest.mark.parametrize(("train", "validation"), [(4, 1), (5, 0), (9, 9)])
def test_too_few_writers_are_refused(train: int, validation: int) -> None:
    with pytest.raises(InputError, match="here has 5 writers: too few .* and at least one to test"):
        divide(WRITERS, train, validation, 0, 0, "here")


def test_somebody_must_train() -> None:
    with pytest.raises(InputError, match="train_writers=0: expected at least 1"):
        divide(WRITERS, 0, 1, 0, 0, "here")


def writers(corpus: Corpus) -> list[list[str]]:
    """Those who train, who validate and who are tested."""
    return [part.present_writers() for part in corpus.splits.values()]


def test_rotations_test_everyone_in_turn() -> None:
    turns = [divide(WRITERS, 2, 1, 3, rotation, "") for rotation in range(6)]
    assert all([*map(len, turn)] == [2, 1, 2] for turn in turns)
    tested = [name for turn in turns[:5] for name in turn[2]]
    assert sorted(tested) == sorted([*WRITERS, *WRITERS])  # two of five, five times
    assert turns[5] == turns[0]
    assert not {*turns[0][2]} & {*turns[1][2]}


def test_simulated_people_rotate_too(smoke: ComposeSmoke) -> None:
    tested = [writers(open_corpus(smoke(f"data.rotation={r}")))[2] for r in range(5)]
    assert len({name for names in tested for name in names}) == 5
    assert all(len(names) == 2 for names in tested)


def test_fewer_people_are_among_more_and_nobody_else_moves(smoke: ComposeSmoke) -> None:
    everyone = ["data.num_writers=7", "data.train_writers=4"]
    found = [writers(open_corpus(smoke(*everyone, f"data.people={n}"))) for n in range(5)]
    for n, (train, validation, test) in enumerate(found):
        assert len(train) == n
        assert [validation, test] == found[0][1:]
        assert set(train) <= set(found[min(n + 1, 4)][0])
    assert found[4] == writers(open_corpus(smoke(*everyone)))
    nobody = open_corpus(smoke(*everyone, "data.people=0"))
    assert nobody.sources.keys() == {"fonts"}
    with pytest.raises(InputError, match="data.people=5: expected at most the 4 training writers"):
        open_corpus(smoke(*everyone, "data.people=5"))


def test_fonts_stand_in_for_people_as_whole_hands(smoke: ComposeSmoke) -> None:
    faces = find_fonts()
    hands = ",".join(f"'{face.path}'" for face in faces[:3])
    config = smoke(
        "data=handwritten_fonts", "data.characters=smoke", f"data.hands=[{hands}]",
        "data.train_writers=1", "data.validation_writers=1", "data.num_simulated_writers=0",
        "fonts.packages=[]", f"fonts.folders=['{faces[3].path}']",
        f"fonts.reference='{faces[3].family}'",
    )  # fmt: skip
    corpus = open_corpus(config)
    assert not corpus.is_real
    assert_different_hands(corpus)
    found = {name for names in writers(corpus) for name in names}
    assert found == {f"hand:{face.path.stem}" for face in faces[:3]}
    with pytest.raises(InputError, match=r"data\.hands=\[\]: name font files"):
        open_corpus(replace(config, data=replace(config.data, hands=[])))  # type: ignore[call-arg]
    both = replace(config, fonts=replace(config.fonts, folders=[str(faces[0].path)]))
    with pytest.raises(InputError, match=f"{faces[0].path} is in hand:.* and in fonts"):
        open_corpus(both)


def test_a_hand_whose_file_was_replaced_is_another(smoke: ComposeSmoke, tmp_path: Path) -> None:
    first, second, third, fourth = (face.path for face in find_fonts()[:4])
    own = tmp_path / "own.ttf"
    shutil.copy(first, own)
    config = smoke(
        "data=handwritten_fonts", "data.characters=smoke", f"data.hands=['{own}','{second}']",
        "data.train_writers=1", "data.validation_writers=1", "data.test_writers=0",
        "data.num_simulated_writers=0", "fonts.packages=[]", f"fonts.folders=['{third}']",
    )  # fmt: skip
    before = open_corpus(config)
    shutil.copy(fourth, own)
    assert open_corpus(config).key != before.key


def test_simulated_writers_are_other_hands_than_the_writers_of_any_split(
    smoke: ComposeSmoke,
) -> None:
    corpus = open_corpus(smoke("data.num_simulated_writers=3"))
    assert corpus.simulated is not None
    assert len(corpus.simulated.present_writers()) == 3
    assert_different_hands(corpus)
    theirs = {image.tobytes() for image in corpus.simulated.images}
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
    with pytest.raises(
        InputError, match="data.unseen_characters=2: expected at .* half of .* 3 kanji"
    ):
        open_corpus(smoke("data.unseen_characters=2"))


def test_a_manifest_is_split_by_writer(write_images: Write, smoke: ComposeSmoke) -> None:
    path = write_images()
    corpus = open_corpus(
        smoke("data=manifest", f"data.manifest={path}", "data.num_simulated_writers=0")
    )
    assert corpus.is_real
    assert [len(part) for part in parts(corpus).values()][:3] == [12, 6, 12]
    assert_different_hands(corpus)


def test_one_manifest_per_split_is_taken_as_given(write_images: Write, smoke: ComposeSmoke) -> None:
    people = {"train": ["writer_01"], "validation": ["writer_02"], "test": ["writer_03"]}
    paths = {name: write_images(writers=writers, name=name) for name, writers in people.items()}
    corpus = open_corpus(
        smoke("data=manifest", "data.num_simulated_writers=0", f"data.manifest={paths['train']}",
              f"data.validation_manifest={paths['validation']}",
              f"data.test_manifest={paths['test']}")
    )  # fmt: skip
    for name, part in list(parts(corpus).items())[:3]:
        assert part.present_writers() == people[name]


OWN = ["data=manifest", "data.characters=smoke", "data.num_simulated_writers=0"]


def test_people_of_further_manifests_are_only_tested(
    write_images: Write, smoke: ComposeSmoke, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = write_images(), write_images("木林山", ["person_anna"], name="other")
    given = [*OWN, f"data.manifest={own}"]
    more_tests = f"+data.tests.diary={other}"
    alone, more = open_corpus(smoke(*given)), open_corpus(smoke(*given, more_tests))
    assert "; 山, which are not classes, in no split" in capsys.readouterr().out
    assert parts(more)["train"].present_writers() == parts(alone)["train"].present_writers()
    assert {*more.test.present_writers()} == {*alone.test.present_writers(), "diary:person_anna"}
    own_images = more.test.by(["diary:person_anna"])
    assert [more.characters[label] for label in own_images.labels] == ["木", "林"]
    data = smoke(*given, more_tests).data
    assert isinstance(data, ManifestData)
    for images in (own_images, more.test.by(alone.test.present_writers())):
        rows = LazyImages.of(images.images).numbers
        files = [data.image_names("test")[row] for row in rows]
        for file, label, writer in zip(files, images.labels, images.writers, strict=True):
            assert f"U+{ord(more.characters[label]):04X}" in file
            assert more.test.writer_names[writer].removeprefix("diary:") in file
    assert more.key != alone.key


def test_further_manifests_have_other_people_and_other_images(
    write_images: Write, smoke: ComposeSmoke
) -> None:
    own = write_images()
    given = [*OWN, f"data.manifest={own}"]
    other = write_images("木", [WRITERS[0]], name="other", is_bent=False)
    assert open_corpus(smoke(*given, f"+data.tests.diary={other}"))  # another of that name
    with pytest.raises(InputError, match=r"a leak: (.|\n)*U\+6728"):
        open_corpus(smoke(*given, f"+data.tests.diary={own}"))


def test_fonts_are_tested_like_people(
    write_images: Write, smoke: ComposeSmoke, cache_dir: Path
) -> None:
    faces = find_fonts()
    given = [*OWN, f"data.manifest={write_images()}", f"+data.tests.brush='{faces[0].path}'"]
    with pytest.raises(InputError, match=f"{faces[0].path} is in brush .* and in fonts"):
        open_corpus(smoke(*given))
    others = "fonts.packages=[]", f"fonts.folders=['{faces[1].path}']"
    corpus = open_corpus(smoke(*given, *others, f"fonts.reference='{faces[1].family}'"))
    assert not corpus.is_real
    assert "brush" in corpus.test.present_writers()
    drawn, _ = font_images(faces[:1], corpus.characters, 16, cache_dir)
    np.testing.assert_array_equal(corpus.test.by(["brush"]).images[:], drawn.images[:])


def test_training_writers_may_lack_characters_where_that_is_said(
    write_images: Write, smoke: ComposeSmoke, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*OWN, f"data.manifest={write_images('木林')}"]
    with pytest.raises(InputError, match="in the class list, not in the manifest"):
        open_corpus(smoke(*given))
    corpus = open_corpus(smoke(*given, "data.partial=true"))
    assert "wrote 2 of 6 characters" in capsys.readouterr().out
    assert corpus.train.absent() == [*"あシツ休"]
    assert corpus.fonts.absent() == []


def test_the_key_follows_the_files_of_a_manifest(write_images: Write, smoke: ComposeSmoke) -> None:
    path = write_images()
    overrides = ["data=manifest", f"data.manifest={path}", "data.num_simulated_writers=0"]
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


def test_an_image_without_a_writer_is_named_before_splitting(
    write_images: Write, smoke: ComposeSmoke
) -> None:
    path = write_images(writers=[*WRITERS, "1"])
    with pytest.raises(InputError, match=r"no writer known for .*U\+3042/1\.png"):
        open_corpus(smoke("data=manifest", f"data.manifest={path}"))


KUZUSHIJI = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handwriting.characters.classes import class_list
from handwriting.config import Fonts
from handwriting.corpus.splits import Reader, Splits
from handwriting.images.packed import PackedImages


@dataclass
class KuzushijiData(Reader):
    is_real = True
    characters: str = "smoke"
    folder: str = ""

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        characters = class_list(self.characters)
        parts = []
        for split in ("train", "validation", "test"):
            images = np.load(Path(self.folder, f"{split}.npy"))
            labels = np.arange(len(images)) % len(characters)
            parts.append(PackedImages(images, labels, 0 * labels, characters, (split,)))
        return Splits(*parts)
"""


def test_a_new_reader_is_one_module(
    smoke: ComposeSmoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kuzushiji.py").write_text(KUZUSHIJI, encoding="utf-8")
    for i, split in enumerate(("train", "validation", "test")):
        np.save(tmp_path / f"{split}.npy", np.full((12, 16, 16), i + 1, np.uint8))
    conf = shutil.copytree(CONFIG_DIR, tmp_path / "conf")
    (conf / "data" / "kuzushiji.yaml").write_text("defaults: [kuzushiji_schema]\n")
    for module in (script, arguments):
        monkeypatch.setattr(module, "CONFIG_DIR", conf)
    monkeypatch.setattr(script, "_register", script._register.__wrapped__)
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path)])
    corpus = open_corpus(smoke("data=kuzushiji", f"data.folder={tmp_path}"))
    assert corpus.is_real
    assert writers(corpus) == [["train"], ["validation"], ["test"]]
    for i, part in enumerate(corpus.splits.values()):
        assert np.unique(np.asarray(part.images)).tolist() == [i + 1]
    with pytest.raises(HydraException, match="data.num_writers"):
        smoke("data=kuzushiji", "data.num_writers=3")


def test_all_that_a_study_is_made_of_is_recorded(smoke: ComposeSmoke) -> None:
    config = smoke("seed=7", "data.characters=休木", "pipeline.generators=[vae]")
    record_study(config, open_corpus(config))
    study = read_json(run_folder(config) / "study.json")
    assert study["config"] == plain(config)
    assert study["versions"].keys() >= {"python", "torch"}
    assert study["data"].keys() == {"train", "validation", "test", "writers", "fonts"}
    assert len(set(study["data"].values())) == 4  # the training writers stand there twice


@pytest.mark.skipif(not KATAKANA.is_file(), reason="the real katakana are not here")
def test_the_real_katakana_open_split_by_writer(smoke: ComposeSmoke) -> None:
    corpus = open_corpus(
        smoke("data=manifest", "data.characters=null", f"data.manifest={KATAKANA}",
              "data.train_writers=5", "data.num_simulated_writers=2")
    )  # fmt: skip
    assert corpus.is_real
    assert len(corpus.characters) == 47
    assert [len(part) for part in parts(corpus).values()][:3] == [235, 47, 188]
    assert_different_hands(corpus)
    assert all(np.ptp(part.labels) == 46 for part in parts(corpus).values())


def told(config: Config, capsys: pytest.CaptureFixture[str]) -> list[str]:
    open_corpus(config)
    return [line for line in capsys.readouterr().out.splitlines() if "writer" in line]


def test_people_and_their_images_are_told_once(
    smoke: ComposeSmoke, write_images: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_images("木林", [f"person{i:02d}" for i in range(12)])
    given = ["data=manifest", "data.characters=木林", f"data.manifest={path}",
             "data.num_simulated_writers=0", "data.test_writers=1"]  # fmt: skip
    train, validation, test = told(smoke(*given, "data.train_writers=9"), capsys)
    assert "train: 9 writers, 18 images (" in train
    assert train.endswith(", 2 to 2 images each); names from paths")
    assert re.search(r"validation: 1 writer, 2 images \(person\d\d 2\)$", validation)
    assert re.search(r"\(person\d\d 2\); 1 of 12 writers in no split$", test)
    # Turned, they are other splits of the same people.
    whole = [*given, "data.train_writers=10"]
    assert len(told(smoke(*whole), capsys)) == 3
    assert told(smoke(*whole, "data.rotation=1"), capsys) == []


def test_one_persons_images_without_a_name_are_enough_where_nobody_is_tested(
    smoke: ComposeSmoke, write_images: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ["data.train_writers=1", "data.validation_writers=0", "data.test_writers=0"]
    given = ["data=manifest", f"data.manifest={write_images(writers=['1', '2'])}", *alone]
    (line,) = told(smoke(*given), capsys)
    assert "1 writer, 12 images (unknown 12); names from nowhere" in line
    assert line.endswith("; no writers in validation and test")
    for refused in ("data.test_writers=null", "data.test_writers=1", "data.validation_writers=1"):
        with pytest.raises(InputError, match=r"no writer known(.|\n)*data\.test_writers=0"):
            open_corpus(smoke(*given, refused))
