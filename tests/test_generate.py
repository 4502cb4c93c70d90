"""Generated images: canonical, decided by seed and number alone, credited to the right hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke
from hypothesis import given, strategies as st
from PIL import Image
from torch import Tensor

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.generation import WriterIndex
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.manifest import UNKNOWN_WRITER, read_manifest
from handwriting.images.reading import read_canonical, read_grey
from handwriting.runs.weights import save_weights
from training_style_transfer import generate_images
from training_style_transfer.model import Encoder, Generator

MODES = ("adain", "adain_mlp", "adain_clip")


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    """Untrained generators of every mode."""
    paths = {}
    for mode in MODES:
        torch.manual_seed(3)
        sizes: dict[str, Any] = {"dim": 8, "dim_mults": [1, 2], "num_blocks": 1, "patch_px": 2}
        generator = Generator(mode, len(SMOKE), 16, full_attention=False, **sizes)
        paths[mode] = save_weights(
            tmp_path / "generators" / mode / "generator.safetensors", "generator",
            generator.arguments,
            {"characters": list(SMOKE), "drawable": list(SMOKE), "size_px": 16, "writers_seen": []},
            generator.state_dict(),
        )  # fmt: skip
    return paths


@pytest.fixture
def study(smoke: ComposeSmoke, weights: dict[str, Path]) -> ComposeSmoke:
    def composed(*more: str, mode: str = "adain_mlp", runs_dir: Path | None = None) -> Config:
        overrides = [f"model_mode={mode}", f"gen_weight={weights[mode]}", *more]
        return smoke(*overrides, runs_dir=runs_dir) if runs_dir else smoke(*overrides)

    return composed


def images_of(folder: Path) -> dict[str, bytes]:
    """Every image's file name and pixels."""
    manifest = read_manifest(folder / "manifest.json")
    return {
        e.path.relative_to(folder).as_posix(): read_grey(e.path).tobytes() for e in manifest.entries
    }


@pytest.mark.parametrize("mode", MODES)
def test_every_character_gets_its_number_of_canonical_images(
    mode: str, study: ComposeSmoke
) -> None:
    folder = generate_images.main(study("generation.num_per_character=3", mode=mode))
    manifest = read_manifest(folder / "manifest.json")
    assert [e.character for e in manifest.entries] == [c for c in SMOKE for _ in range(3)]
    for entry in manifest.entries:
        ink: Uint8 = 255 - read_grey(entry.path)
        np.testing.assert_array_equal(ink, canonical(ink, 16))
        np.testing.assert_array_equal(ink, read_canonical(entry.path, 16))
    with Image.open(folder / "samples" / "sheet.png") as picture:
        assert picture.size == (3 * 18 + 2, 6 * 18 + 2)


def test_a_seed_decides_every_image(study: ComposeSmoke, tmp_path: Path) -> None:
    first, again, other = (
        images_of(
            generate_images.main(study(f"seed={s}", "data.split_seed=0", runs_dir=tmp_path / n))
        )
        for n, s in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert sum(first[name] == other[name] for name in first) < len(first) / 4


def test_an_image_does_not_depend_on_how_many_others_are_made(
    study: ComposeSmoke, tmp_path: Path
) -> None:
    many = images_of(
        generate_images.main(study("generation.num_per_character=5", runs_dir=tmp_path / "many"))
    )
    few = images_of(
        generate_images.main(
            study("generation.num_per_character=2", "generation.characters=休木",
                  "generation.batch_size=3", runs_dir=tmp_path / "few")
        )
    )  # fmt: skip
    assert len(few) == 4
    # Another batch size may round the last bit differently.
    for name, pixels in few.items():
        difference = np.abs(
            np.frombuffer(pixels, np.uint8).astype(int) - np.frombuffer(many[name], np.uint8)
        )
        assert np.median(difference) == 0
        assert difference.mean() < 2


@pytest.mark.parametrize("kinds", [["writers"], ["fonts"], ["writers", "fonts", "simulated"]])
def test_writers_json_names_hands_of_the_chosen_kinds_only(
    kinds: list[str], study: ComposeSmoke
) -> None:
    config = study(
        f"generation.styles=[{','.join(kinds)}]", "generation.num_per_character=12",
        "data.num_simulated_writers=2",
    )  # fmt: skip
    corpus = open_corpus(config)
    assert corpus.simulated is not None
    hands = {
        "writers": set(corpus.train.present_writers()),
        "fonts": set(corpus.fonts.present_writers()),
        "simulated": set(corpus.simulated.present_writers()),
    }
    found = set(read_manifest(generate_images.main(config) / "manifest.json").writers)
    assert found == set().union(*(hands[kind] for kind in kinds))
    assert not found & set(corpus.test.present_writers())


def test_chosen_fonts_and_writers_are_the_only_ones(
    study: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = study(
        "generation.contents=[fonts]", "generation.content_names=[Serif]",
        "generation.style_names=['0001']",
    )  # fmt: skip
    corpus = open_corpus(config)
    used: list[str] = []
    look_up = generate_images.Features.__call__

    def noted(self: generate_images.Features, indices: list[int]) -> Tensor:
        used.extend(self._images.select(indices).present_writers())
        return look_up(self, indices)

    monkeypatch.setattr(generate_images.Features, "__call__", noted)
    manifest = read_manifest(generate_images.main(config) / "manifest.json")
    assert manifest.writers == ("simulated_0001",)
    assert {name for name in used if "Serif" not in name} == {"simulated_0001"}
    assert any("Serif" in name for name in used)
    assert "simulated_0001" in corpus.train.present_writers()


def test_hands_are_equally_likely_whatever_they_wrote(corpus: Corpus) -> None:
    keep = np.flatnonzero((corpus.train.writers == 0) | (corpus.train.labels == 0))
    images = corpus.train.select(keep)
    rng = np.random.default_rng(0)
    of_any = WriterIndex(np.zeros_like(images.labels), images.writers)
    picked = np.array([of_any.pick(0, rng) for _ in range(600)])
    assert 0.42 < np.mean(images.writers[picked] == 0) < 0.58
    assert len(np.unique(picked)) == len(images)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1), st.data())
def test_a_class_and_a_seed_decide_which_image_is_picked(
    images: list[tuple[int, int]], data: st.DataObject
) -> None:
    labels, writers = np.array(images).T
    label, seed = data.draw(st.sampled_from(labels.tolist())), data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    hand = rng.choice(np.unique(writers[labels == label]))
    expected = rng.choice(np.flatnonzero((labels == label) & (writers == hand)))
    assert WriterIndex(labels, writers).pick(label, np.random.default_rng(seed)) == expected


def test_mixed_hands_are_nobodys_and_lie_between(
    study: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    mix = generate_images.mix

    def noted(styles: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        mixed = mix(styles, shares)
        seen.append((styles.unflatten(0, shares.shape), torch.stack(mixed, dim=1)))
        return mixed

    monkeypatch.setattr(generate_images, "mix", noted)
    manifest = read_manifest(
        generate_images.main(study("generation.num_hands=2")) / "manifest.json"
    )
    assert UNKNOWN_WRITER in manifest.writers
    assert set(manifest.writers) <= {UNKNOWN_WRITER, *open_corpus(study()).train.present_writers()}
    between = 0
    for of_hands, mixed in seen:
        low, high = of_hands.min(dim=1).values, of_hands.max(dim=1).values
        assert bool(((mixed >= low - 1e-5) & (mixed <= high + 1e-5)).all())
        between += int(((mixed > low + 1e-4) & (mixed < high - 1e-4)).any(dim=(1, 2)).sum())
    assert between > 3


def test_style_and_content_are_computed_once_for_each_image(
    study: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: dict[str, list[Tensor]] = {"style": [], "content": []}
    style, encode = Generator.style, Encoder.forward

    def noted_style(self: Generator, images: Tensor) -> tuple[Tensor, Tensor]:
        computed["style"].extend(images)
        return style(self, images)

    def noted(self: Encoder, images: Tensor, condition: Tensor | None = None) -> Tensor:
        computed["content"].extend(images if condition is not None else [])
        return encode(self, images, condition)

    monkeypatch.setattr(Generator, "style", noted_style)
    monkeypatch.setattr(Encoder, "forward", noted)
    config = study("generation.num_per_character=20", "generation.batch_size=8")
    generate_images.main(config)
    corpus = open_corpus(config)
    for kind, source in (("style", corpus.train), ("content", corpus.fonts)):
        different = {bytes(image.numpy()) for image in computed[kind]}
        assert len(computed[kind]) == len(different) < 6 * 20, kind
        assert len(different) >= len(source.characters)


def test_features_that_were_forgotten_are_the_same_again(
    study: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = ("generation.num_per_character=6", "generation.batch_size=8")
    first = generate_images.main(study(*more))
    monkeypatch.setattr(generate_images.Features, "MAX_BYTES", -1)
    second = generate_images.main(study(*more, runs_dir=tmp_path / "again"))
    for path in first.rglob("U+*/*.png"):
        images = [read_grey(folder / path.relative_to(first)) for folder in (first, second)]
        assert np.abs(np.subtract(*images, dtype=np.int16)).max() <= 1


def test_an_image_needs_a_hand(study: ComposeSmoke) -> None:
    with pytest.raises(InputError, match="num_hands=0: at least 1"):
        generate_images.main(study("generation.num_hands=0"))


@pytest.mark.parametrize("place", ["absolute", "in the study"])
def test_the_output_folder_may_be_chosen(place: str, study: ComposeSmoke, tmp_path: Path) -> None:
    output = tmp_path / "my images" if place == "absolute" else Path("mine")
    config = study(f"generation.output='{output}'")
    folder = generate_images.main(config)
    assert folder == (output if output.is_absolute() else tmp_path / "runs" / "smoke" / "mine")
    assert len(read_manifest(folder / "manifest.json").entries) == 24


def test_a_batch_is_written_before_the_next_is_made(
    study: ComposeSmoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer, written = generate_images.transfer, []

    def noted(*arguments: Any) -> Uint8:
        written.append(len([*tmp_path.rglob("U+*/*.png")]))
        return transfer(*arguments)

    monkeypatch.setattr(generate_images, "transfer", noted)
    generate_images.main(study("generation.num_per_character=3", "generation.batch_size=7"))
    assert written == [0, 7, 14]


def test_generation_is_not_repeated_until_its_inputs_change(
    study: ComposeSmoke, weights: dict[str, Path]
) -> None:
    manifest = generate_images.main(study()) / "manifest.json"
    before = manifest.stat().st_mtime_ns
    generate_images.main(study())
    assert manifest.stat().st_mtime_ns == before
    generate_images.main(study("generation.num_per_character=2"))
    assert manifest.stat().st_mtime_ns != before
    assert len(json.loads(manifest.read_text(encoding="utf-8"))["木"]) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generation.characters=木明", r"明 \(U\+660E\): unknown to the generator"),
        ("generation.content_names=[Comic]", "named like 'Comic'"),
        ("generation.style_names=[nobody]", "named like 'nobody'"),
        ("generation.styles=[simulated]", r"generation.styles=\['simulated'\]"),
        ("generation.styles=[]", r"generation.styles=\[\]"),
        ("data.characters=あシツ木林明", "trained on .*other characters"),
        ("model_mode=adain", "trained with model_mode=adain_mlp, this run has model_mode=adain"),
        ("gen_weight=nowhere", "no generator weights at nowhere"),
    ],
)
def test_what_cannot_be_generated_is_named(
    override: str, message: str, study: ComposeSmoke
) -> None:
    with pytest.raises(InputError, match=message):
        generate_images.main(study(override))


def test_blank_outputs_are_reported_with_their_characters(
    study: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        generate_images, "transfer",
        lambda generator, contents, style, labels, _: np.zeros((len(labels), 16, 16), np.uint8),
    )  # fmt: skip
    with pytest.raises(InputError, match="blank images of .*木"):
        generate_images.main(study())
