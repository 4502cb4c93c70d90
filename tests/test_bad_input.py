"""Bad input: a clear message that names the file, the key or the character, and nothing lost."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, ComposeSmoke, Write, encoders, smoke_overrides
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont

from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.runs.weights import save_weights
from handwriting.sources.fonts import find_fonts
from training_cdiffusion_model import train as train_cdiffusion
from training_character_classification import judge, test
from training_clip import train_clip
from training_style_transfer import generate_images, train


def of_manifest(path: Path) -> list[str]:
    return ["data=manifest", f"data.manifest='{path}'", "data.num_simulated_writers=0"]


def test_an_unknown_character(write_images: Write, smoke: ComposeSmoke) -> None:
    parts = {
        "manifest": write_images(characters="木林", writers=["writer_01"], name="a"),
        "validation_manifest": write_images(characters="木林", writers=["writer_02"], name="b"),
        "test_manifest": write_images(characters="木林明", writers=["writer_03"], name="c"),
    }
    overrides = [f"data.{name}={path}" for name, path in parts.items()]
    with pytest.raises(InputError, match=r"c/manifest\.json.*\n.*unknown character 明 \(U\+660E\)"):
        open_corpus(smoke("data=manifest", "data.characters=null", *overrides))
    chosen = open_corpus(smoke("data=manifest", "data.characters=木林", *overrides))
    assert (chosen.test.characters, len(chosen.test)) == (("木", "林"), 2)
    path = write_images(characters="木林Ａ", writers=["writer_04"], name="d")
    parts["manifest"] = write_images(characters="木林A", writers=["writer_01"], name="e")
    overrides = [f"data.{name}={path}" for name, path in (parts | {"test_manifest": path}).items()]
    with pytest.raises(InputError, match=r"d/manifest\.json.*\n.*U\+FF21.*U\+0041"):
        open_corpus(smoke("data=manifest", "data.characters=null", *overrides))


def test_a_class_that_no_training_writer_wrote(write_images: Write, smoke: ComposeSmoke) -> None:
    path = write_images()
    listing = json.loads(path.read_text(encoding="utf-8"))
    people = open_corpus(smoke(*of_manifest(path))).test.present_writers()
    listing["休"] = [file for file in listing["休"] if any(name in file for name in people)]
    path.write_text(json.dumps(listing), encoding="utf-8")
    with pytest.raises(InputError, match="the training writers.*\n.*休: no image"):
        open_corpus(smoke(*of_manifest(path)))


def test_the_same_file_and_writer_in_train_and_test(
    write_images: Write, smoke: ComposeSmoke
) -> None:
    path = write_images(characters="木林", writers=["writer_01"])
    keys = ("manifest", "validation_manifest", "test_manifest")
    with pytest.raises(InputError) as caught:
        open_corpus(
            smoke("data=manifest", "data.characters=木林", *(f"data.{key}={path}" for key in keys))
        )
    assert f"{path.parent}/U+6728/writer_01.png is in train and in test" in str(caught.value)
    assert "\n  writer_01 is in train and in test" in str(caught.value)


@pytest.fixture
def partial_font(tmp_path: Path) -> Path:
    """A real font without 休, under a name of its own."""
    subsetter = Subsetter()
    subsetter.populate(text=SMOKE.replace("休", ""))
    with TTFont(find_fonts()[0].path) as font:
        subsetter.subset(font)
        for number in (1, 4, 16):
            font["name"].setName("Partial", number, 3, 1, 0x409)
        font.save(tmp_path / "partial.ttf")
    return tmp_path / "partial.ttf"


def test_a_reference_font_without_the_glyph(
    partial_font: Path, trained: Path, smoke: ComposeSmoke
) -> None:
    config = smoke(
        f"fonts.folders=[{partial_font}]", "fonts.min_coverage=0.5", "fonts.reference=Partial",
        "step_type=step1", *encoders(trained),
    )  # fmt: skip
    with pytest.raises(InputError, match="reference: no image of 休"):
        train.main(config)


@pytest.fixture
def step1(trained: Path, smoke: ComposeSmoke) -> Path:
    """The folder of a trained first step of the adain mode."""
    return train.main(smoke("model_mode=adain", "step_type=step1", *encoders(trained)))


def test_a_content_font_without_the_glyph(
    partial_font: Path, step1: Path, smoke: ComposeSmoke
) -> None:
    config = smoke(
        f"fonts.folders=[{partial_font}]", "fonts.min_coverage=0.5", "model_mode=adain",
        f"gen_weight={step1}", "generation.contents=[fonts]", "generation.content_names=[Partial]",
    )  # fmt: skip
    with pytest.raises(InputError, match="休"):
        generate_images.main(config)


def test_clip_weights_of_another_vocabulary(
    trained: Path, tmp_path: Path, smoke: ComposeSmoke
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({c: [c] for c in SMOKE}), encoding="utf-8")
    config = smoke(f"structure.path={path}", "step_type=step1", *encoders(trained))
    with pytest.raises(InputError) as caught:
        train.main(config)
    assert f"clip_weight {trained}/smoke/clip/clip.safetensors does not know 2 of the" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("mode", "more", "message"),
    [
        ("adain_mlp", "style_transfer.dim=8", "mode=adain, "),
        ("adain", "style_transfer.dim=16", "dim=8, this run has dim=16"),
    ],
)
def test_generator_weights_of_another_network(
    mode: str, more: str, message: str, step1: Path, trained: Path, smoke: ComposeSmoke
) -> None:
    config = smoke(
        f"model_mode={mode}", "step_type=step2", more, f"gen_weight={step1}",
        f"disc_weight={step1}", *encoders(trained),
    )  # fmt: skip
    file = rf"{step1}/generator\.safetensors"
    with pytest.raises(InputError, match=rf"{file} was trained with {message}"):
        train.main(config)


def test_weights_of_another_size_are_not_used(
    tmp_path: Path, trained: Path, smoke: ComposeSmoke
) -> None:
    home = trained / "smoke"
    facts = {"characters": list(SMOKE), "size_px": 16, "writers_seen": []}
    for kind in ("classifier", "cdiffusion", "generator", "discriminator"):
        save_weights(tmp_path / f"{kind}.safetensors", kind, {}, facts, {})
    judge_folder = tmp_path / "runs" / "smoke" / "classifier" / "judge" / "seed_0"
    save_weights(judge_folder / "classifier.safetensors", "classifier", {"size_px": 16}, {}, {})
    given = [f"image_weight={home}/image_encoder", f"text_weight={home}/text_encoder"]
    steps = [f"gen_weight={tmp_path}", f"disc_weight={tmp_path}", "step_type=step2"]
    uses: list[tuple[Callable[[Config], object], list[str]]] = [
        (train_clip.main, given),
        (train.main, ["step_type=step1", *encoders(trained)]),
        (train.main, steps),
        (train_cdiffusion.main, [f"cdiffusion.start={tmp_path}"]),
        (train_cdiffusion.main, ["cdiffusion.condition=text", *encoders(trained)]),
        (test.main, [f"evaluation.recognisers=[{tmp_path}]"]),
        (judge.main, []),
    ]
    for main, overrides in uses:
        with pytest.raises(InputError, match="images of 16 px, this run has size_px=32"):
            main(smoke("size_px=32", *overrides))


@pytest.mark.parametrize(("step", "before"), [("step2", "step1"), ("step_end", "step3")])
def test_a_step_without_its_predecessor(
    step: str, before: str, trained: Path, smoke: ComposeSmoke
) -> None:
    with pytest.raises(InputError) as caught:
        train.main(smoke(f"step_type={step}", *encoders(trained)))
    assert f"adain_clip/{before}" in str(caught.value)
    assert f"step_type={before}" in str(caught.value)


def test_weights_for_all_steps_at_once(smoke: ComposeSmoke) -> None:
    with pytest.raises(
        InputError, match="gen_weight and disc_weight are where a single step starts"
    ):
        train.main(smoke("gen_weight=x", "step_type=all"))


def test_clip_without_its_encoders(smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match=r"train_image_encoder\.py"):
        train_clip.main(smoke())


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("training_clip/train_clip.py", [], "error: no image_encoder weights at "),
        ("training_clip/train_text_encoder.py", ["text_encoder.widht=3"], "widht"),
        ("training_clip/train_image_encoder.py", ["data.characters=日本日"], "日 (U+65E5)"),
    ],
)
def test_a_script_says_what_is_wrong_without_a_traceback(
    script: str, arguments: list[str], message: str, tmp_path: Path, cache_dir: Path
) -> None:
    path = ROOT / script
    ended = subprocess.run(
        [sys.executable, path.name, *smoke_overrides(tmp_path / "runs", cache_dir, *arguments)],
        cwd=path.parent, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs").exists()
