"""Generated images: canonical, decided by seed and number alone, credited to the right hand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import SMOKE, ComposeSmoke, edit_facts, smoke_overrides
from hypothesis import given, strategies as st
from PIL import Image
from torch import Tensor, nn

import training_cdiffusion_model.generate_images as generate_cdiffusion
import training_dcgan.generate_images as generate_dcgan
import training_redrawn.generate_images as generate_redrawn
import training_vae.generate_images as generate_vae
import training_warped.generate_images as generate_warped
from generators import GENERATORS
from handwriting.config import Config
from handwriting.corpus import drawn as drawn_module, generation
from handwriting.corpus.audit import check_given, writers_seen
from handwriting.corpus.corpus import matching, open_corpus
from handwriting.corpus.styles import WriterIndex, leading_hands
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.manifest import UNKNOWN_WRITER, read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.images.reading import read_canonical, read_grey
from handwriting.images.thinning import line_drawings
from handwriting.networks.encoders import Classifier
from handwriting.runs.inference import Features, predict
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights, save_weights
from handwriting.script import compose
from handwriting.sources.hand_drawings import HandDrawings
from handwriting.sources.hands import boxed
from handwriting.sources.handwritten_strokes import model_of
from handwriting.storage.json_files import read_json
from handwriting.storage.keys import file_key
from training_cdiffusion_model.model import Denoiser
from training_character_classification import train as train_classifier
from training_dcgan.networks import Generator as DcganGenerator
from training_style_transfer import generate_images
from training_style_transfer.model import Decoder, Encoder, Generator
from training_vae.model import Vae

FROM_NOISE = ("dcgan", "vae")


def style_transfer(mode: str, is_inking: bool = False) -> Callable[[], nn.Module]:
    return lambda: Generator(mode, len(SMOKE), 16, 8, [1, 2], 1, 2, False, is_inking)


def denoiser() -> nn.Module:
    return Denoiser("character", len(SMOKE), 0, 8, [1, 2], 1, sees_drawing=False)


def dcgan() -> nn.Module:
    generator = DcganGenerator(16, 10, len(SMOKE), 8)
    for _ in range(20):  # until its batch norms have settled
        generator(torch.randn(60, 10), torch.arange(60) % len(SMOKE))
    return generator


class Hands(nn.Module):
    """Two writers who write as KanjiVG does, with pens of their own."""

    arguments: ClassVar[dict[str, Any]] = {}
    facts: ClassVar[dict[str, Any]] = {
        "hands": [{"name": name, "radius": radius, "characters": SMOKE}
                  for name, radius in (("anna", 0.02), ("ben", 0.03))]
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        strokes = [torch.from_numpy(boxed(model_of(character).strokes)) for character in 2 * SMOKE]
        self.register_buffer("strokes", torch.cat(strokes))
        self.register_buffer("num_strokes", torch.tensor([len(part) for part in strokes]))


class Nothing(nn.Module):
    """What warps images has learnt nothing."""

    arguments: ClassVar[dict[str, Any]] = {}


# Name -> script, kind of weights, an untrained network.
UNTRAINED: dict[str, tuple[ModuleType, str, Callable[[], nn.Module]]] = {
    **{mode: (generate_images, "generator", style_transfer(mode))
       for mode in ("adain", "adain_mlp", "adain_clip")},
    "cdiffusion": (generate_cdiffusion, "cdiffusion", denoiser),
    "dcgan": (generate_dcgan, "dcgan", dcgan),
    "vae": (generate_vae, "vae", lambda: Vae(16, 5, len(SMOKE), 8, 0.1)),
    "redrawn": (generate_redrawn, "redrawn", Hands),
    "warped": (generate_warped, "warped", Nothing),
}  # fmt: skip
ALL = pytest.mark.parametrize("name", UNTRAINED)


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    """Weights of an untrained generator of a name."""

    def saved(name: str, content: str = "images") -> Path:
        _, kind, untrained = UNTRAINED[name]
        if content == "drawing":
            untrained = style_transfer(name, is_inking=True)
        torch.manual_seed(3)
        network: Any = untrained()
        facts = {"characters": list(SMOKE), "drawable": list(SMOKE), "size_px": 16,
                 "num_style_images": 2, "writers_seen": []}  # fmt: skip
        facts |= getattr(network, "facts", {})
        path = tmp_path / "generators" / name / f"{kind}.safetensors"
        return save_weights(path, kind, network.arguments, facts, network.state_dict())

    return saved


@pytest.fixture
def study(smoke: ComposeSmoke, weights: Callable[..., Path]) -> Callable[..., Config]:
    def composed(
        *more: str, name: str = "adain_mlp", content: str = "images", runs_dir: Path | None = None
    ) -> Config:
        mode = [f"model_mode={name}"] if name.startswith("adain") else []
        overrides = [*mode, f"gen_weight={weights(name, content)}", *more]
        return smoke(*overrides, runs_dir=runs_dir) if runs_dir else smoke(*overrides)

    return composed


# Every generator ----------------------------------------------------------------------------------


@ALL
def test_every_character_gets_its_number_of_canonical_images(
    name: str, study: Callable[..., Config]
) -> None:
    folder = UNTRAINED[name][0].main(study("generation.num_per_character=3", name=name))
    manifest = read_manifest(folder / "manifest.json")
    assert [e.character for e in manifest.entries] == [c for c in SMOKE for _ in range(3)]
    assert (manifest.writers == (UNKNOWN_WRITER,)) == (name in FROM_NOISE)
    for entry in manifest.entries:
        ink: Uint8 = 255 - read_grey(entry.path)
        np.testing.assert_array_equal(ink, canonical(ink, 16))
        np.testing.assert_array_equal(ink, read_canonical(entry.path, 16))
    with Image.open(folder / "samples" / "sheet.png") as picture:
        assert picture.size == (3 * 18 + 2, 6 * 18 + 2)


@ALL
def test_an_image_comes_from_its_own_seed_in_any_batch(
    name: str, study: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Uint8] = []

    def noted(image: Uint8, size_px: int) -> Uint8:
        """The network's own output, before levels are stretched and rounded once more."""
        drawn.append(image)
        whole = np.zeros((size_px, size_px), np.uint8)
        whole[4:12, 4:12] = 255
        return canonical(whole, size_px)

    monkeypatch.setattr(generation, "canonical_drawn", noted)

    def made(size: int, *more: str) -> dict[str, Uint8]:
        drawn.clear()
        config = study(f"generation.batch_size={size}", "data.split_seed=0", *more, name=name,
                       runs_dir=tmp_path / str(len([*tmp_path.iterdir()])))  # fmt: skip
        manifest = read_manifest(UNTRAINED[name][0].main(config) / "manifest.json")
        names = [e.path.relative_to(manifest.path.parent).as_posix() for e in manifest.entries]
        return dict(zip(names, drawn, strict=True))

    alone = made(1)
    assert len(alone) == 24
    assert len({image.tobytes() for image in alone.values()}) > 20  # few hands are drawn twice
    for others in (made(3), made(64), made(3, "generation.characters=休木"),
                   made(64, "generation.num_per_character=1")):  # fmt: skip
        assert others.keys() <= alone.keys()
        for file, image in others.items():
            # Sums are taken in another order: one grey level of 255 at the most.
            assert np.abs(image.astype(int) - alone[file]).max() <= 1, file
    other_seed = made(1, "seed=1")
    assert sum(np.array_equal(other_seed[file], image) for file, image in alone.items()) < 6


@pytest.mark.parametrize("name", ["adain_mlp", "vae"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generation.characters=木明", r"明 \(U\+660E\): unknown to the generator"),
        ("data.characters=あシツ木林明", "trained on .*other characters"),
        ("gen_weight=nowhere", "no {kind} weights at nowhere: run training_.*train.py"),
    ],
)
def test_what_no_generator_can_make_is_named(
    override: str, message: str, name: str, study: Callable[..., Config]
) -> None:
    script, kind, _ = UNTRAINED[name]
    with pytest.raises(InputError, match=message.replace("{kind}", kind)):
        script.main(study(override, name=name))


@ALL
@pytest.mark.parametrize("size_px", [8, 32])
def test_weights_of_another_size_draw_nothing(
    size_px: int, name: str, study: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"images of 16 px, this run has size_px={size_px}"):
        UNTRAINED[name][0].main(study(f"size_px={size_px}", name=name))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", FROM_NOISE)
def test_an_unconditional_one_says_why_it_cannot_make_a_manifest(
    name: str, smoke: ComposeSmoke
) -> None:
    config = smoke(f"{name}.class_conditional=false", f"{name}.num_steps=1")
    GENERATORS[name].train(config)
    with pytest.raises(InputError, match=rf"unconditional.*{name}\.class_conditional=true"):
        GENERATORS[name].generate(config)


@pytest.mark.parametrize("name", FROM_NOISE)
def test_what_was_trained_is_what_is_generated_from(name: str, smoke: ComposeSmoke) -> None:
    config = smoke("data.num_simulated_writers=2")
    GENERATORS[name].train(config)
    folder = GENERATORS[name].generate(config)
    everyone = writers_seen(*open_corpus(config).sources.values())
    assert {part.partition(":")[0] for part in everyone} >= {"simulated_0000", "font", "simulated"}
    assert read_json(folder / "facts.json") == {"writers_seen": everyone}


# Those with hands ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [["writers"], ["fonts"], ["writers", "fonts", "simulated"]])
def test_writers_json_names_hands_of_the_chosen_kinds_only(
    kinds: list[str], study: Callable[..., Config]
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
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = study(
        "generation.contents=[fonts]", "generation.content_names=[Serif]",
        "generation.style_names=['0001']",
    )  # fmt: skip
    corpus = open_corpus(config)
    used: list[str] = []
    look_up = Features.__call__

    def noted(self: Features, indices: list[int]) -> Tensor:
        used.extend(self.images.select(indices).present_writers())
        return look_up(self, indices)

    monkeypatch.setattr(Features, "__call__", noted)
    manifest = read_manifest(generate_images.main(config) / "manifest.json")
    assert manifest.writers == ("simulated_0001",)
    assert {name for name in used if "Serif" not in name} == {"simulated_0001"}
    assert any("Serif" in name for name in used)
    assert "simulated_0001" in corpus.train.present_writers()
    assert matching(corpus.fonts, []) == corpus.fonts.present_writers()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1), st.data())
def test_a_class_and_a_seed_decide_which_image_is_picked(
    images: list[tuple[int, int]], data: st.DataObject
) -> None:
    labels, writers = np.array(images).T
    label, seed = data.draw(st.sampled_from(labels.tolist())), data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    hand = rng.choice(np.unique(writers[labels == label]))
    expected = rng.choice(np.flatnonzero((labels == label) & (writers == hand)))
    assert WriterIndex(labels, writers).pick(label, 1, np.random.default_rng(seed)) == expected


def test_contents_are_drawn_in_the_hand_of_the_style(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[tuple[str, str]] = []
    contents: list[Uint8] = []
    draw, thin = HandDrawings.draw, line_drawings

    def noted(
        self: HandDrawings, characters: list[str], own: list[int], rngs: list[np.random.Generator]
    ) -> tuple[Uint8, list[bool]]:
        names = [self.hands[i].name for i in own]
        drawn.extend(zip(characters, names, strict=True))
        return draw(self, characters, own, rngs)

    def noted_thin(images: Uint8) -> Uint8:
        contents.extend(thin(images))
        return thin(images)

    monkeypatch.setattr(HandDrawings, "draw", noted)
    monkeypatch.setattr(drawn_module, "line_drawings", noted_thin)
    more = ("generation.num_per_character=6", "data.unseen_characters=1")
    config = study(*more, content="drawing")
    manifest = read_manifest(generate_images.main(config) / "manifest.json")
    assert drawn == [(entry.character, entry.writer) for entry in manifest.entries]
    assert {writer for _, writer in drawn} == set(open_corpus(config).train.present_writers())
    first, contents[:] = np.stack(contents), []
    again = (*more, "generation.batch_size=5")
    generate_images.main(study(*again, content="drawing", runs_dir=tmp_path / "again"))
    assert np.array_equal(first, np.stack(contents))


def test_what_cannot_be_drawn_in_a_hand_is_named(study: Callable[..., Config]) -> None:
    both = "generation.contents=[hands,fonts]"
    with pytest.raises(InputError, match=r"'hands' means the styles' own hands and"):
        generate_images.main(study(both, content="drawing"))
    named = ("generation.contents=[hands]", "generation.content_names=[Serif]")
    with pytest.raises(
        InputError, match=r"combined with other contents or with generation.content_names"
    ):
        generate_images.main(study(*named, content="drawing"))


def test_characters_without_strokes_are_named_before_anything_is_trained() -> None:
    drawn_module.require_drawings("あ木")
    with pytest.raises(InputError, match=r"(?s)※ \(U\+203B\).*cdiffusion.drawing=false"):
        drawn_module.require_drawings("あ※木")


def test_the_hand_with_the_largest_share_leads() -> None:
    images = np.zeros((4, 16, 16), np.uint8)
    styles = PackedImages(
        images, np.arange(4), np.array([1, 0, 2, 1]), tuple(SMOKE), ("a", "b", "c")
    )
    picks = np.array([[0, 1], [2, 3]])
    shares = torch.tensor([[0.3, 0.7], [0.6, 0.4]])
    assert leading_hands(styles, picks, shares) == ["a", "c"]


def test_line_drawings_may_be_of_images(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Uint8] = []
    features = generate_images.given_contents

    def noted(features_of: Features) -> generate_images.ContentFn:
        seen.append(features_of.images.images[:])
        return features(features_of)

    monkeypatch.setattr(generate_images, "given_contents", noted)
    for content in ("drawing", "images"):
        config = study("generation.contents=[fonts]", content=content, runs_dir=None)
        generate_images.main(config)
        fonts = open_corpus(config).fonts.images[:]
        expected = line_drawings(fonts) if content == "drawing" else fonts
        assert np.array_equal(seen.pop(), expected)


def test_mixed_hands_are_nobodys_and_lie_between(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
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


def test_the_style_of_an_image_is_that_of_its_hand(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a mean over several of its images: of independent ones it would vary by an eighth."""
    variances = []
    mix = generate_images.mix
    for number in (1, generate_images.NUM_STYLE_IMAGES):
        styles: list[Tensor] = []

        def noted(each: Tensor, shares: Tensor, seen: list[Tensor] = styles) -> tuple[Tensor, ...]:
            seen.append(each)
            return mix(each, shares)

        monkeypatch.setattr(generate_images, "mix", noted)
        monkeypatch.setattr(generate_images, "NUM_STYLE_IMAGES", number)
        config = study("generation.num_per_character=20", runs_dir=tmp_path / str(number))
        manifest = read_manifest(generate_images.main(config) / "manifest.json")
        writers = np.array([entry.writer for entry in manifest.entries])
        together = torch.cat(styles)
        each_hand = [together[torch.from_numpy(writers == name)] for name in set(writers)]
        variances.append(float(torch.stack([one.var(dim=0).mean() for one in each_hand]).mean()))
    one_image, several = variances
    assert one_image / 20 < several < one_image / 3


def test_style_and_content_are_computed_once_for_each_image(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
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
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = ("generation.num_per_character=6", "generation.batch_size=8")
    first = generate_images.main(study(*more))
    monkeypatch.setattr(Features, "MAX_BYTES", -1)
    second = generate_images.main(study(*more, runs_dir=tmp_path / "again"))
    for path in first.rglob("U+*/*.png"):
        images = [read_grey(folder / path.relative_to(first)) for folder in (first, second)]
        assert np.abs(np.subtract(*images, dtype=np.int16)).max() <= 1


# What is misread ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """Weights of a recogniser of the training writers and fonts."""
    steps = ("classifier.num_steps=60", "classifier.use_fonts=true")
    config = compose(smoke_overrides(tmp_path_factory.mktemp("reads"), cache_dir, *steps))
    return train_classifier.main(config) / "classifier.safetensors"


@pytest.fixture
def is_read(recogniser: Path, runtime: Runtime, cache_dir: Path) -> Callable[[Path], list[bool]]:
    """Which images of a folder the recogniser reads as intended."""
    network = build(Classifier, load_weights(recogniser, "classifier"))

    def read(folder: Path) -> list[bool]:
        packed = pack_manifest(read_manifest(folder / "manifest.json"), 16, cache_dir)
        images = packed.of(tuple(SMOKE))
        return list(predict(network, images, runtime) == images.labels)

    return read


def contents(folder: Path) -> list[tuple[bytes, str]]:
    """The files of a folder's images, and whose hand each has."""
    entries = read_manifest(folder / "manifest.json").entries
    return [(entry.path.read_bytes(), entry.writer) for entry in entries]


@ALL
def test_what_is_misread_is_drawn_again_and_counted_and_nothing_else_changes(
    name: str, study: Callable[..., Config], recogniser: Path, tmp_path: Path,
    is_read: Callable[[Path], list[bool]],
) -> None:  # fmt: skip
    more = ("generation.num_per_character=12", "redrawn.spread=4", "generation.batch_size=10")
    main = UNTRAINED[name][0].main
    first = main(study(*more, name=name, runs_dir=tmp_path / "first"))
    again = main(study(*more, f"generation.redraw={recogniser}", name=name))
    was_read, now_read = is_read(first), is_read(again)
    pairs = [*zip(contents(first), contents(again), was_read, strict=True)]
    assert all(before == after for before, after, is_kept in pairs if is_kept)
    changed = [before != after for before, after, is_kept in pairs if not is_kept]
    assert np.mean(changed) > 0.5  # of few styles and contents the same may come up
    assert sum(now_read) > sum(was_read)
    metrics = read_json(again / "metrics.json")
    assert metrics["num_misread"] == was_read.count(False)
    assert metrics["num_still_misread"] == now_read.count(False)
    facts = read_json(again / "facts.json")
    seen = load_weights(recogniser, "classifier").facts["writers_seen"]
    assert set(seen) <= set(facts["writers_seen"])
    assert facts["redrawn_by"] == file_key(recogniser)
    assert "redrawn_by" not in read_json(first / "facts.json")


def test_stopped_while_drawing_again_it_ends_the_same(
    study: Callable[..., Config], recogniser: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    redraw = f"generation.redraw={recogniser}"
    whole = generate_vae.main(study(redraw, name="vae", runs_dir=tmp_path / "whole"))
    assert read_json(whole / "metrics.json")["num_misread"] > 2
    save, saved = generation.save_png, list[Path]()

    def stopping(path: Path, ink: Uint8, flush: bool) -> None:
        saved.append(path)
        if len(saved) == 4 * len(SMOKE) + 2:
            raise KeyboardInterrupt
        save(path, ink, flush)

    monkeypatch.setattr(generation, "save_png", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate_vae.main(study(redraw, name="vae"))
    assert contents(generate_vae.main(study(redraw, name="vae"))) == contents(whole)


def test_a_blank_one_does_not_take_the_place_of_a_misread_one(
    study: Callable[..., Config], recogniser: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = generation.canonical_drawn
    calls: list[int] = []

    def blank_later(image: Uint8, size_px: int) -> Uint8:
        calls.append(1)
        if len(calls) > 4 * len(SMOKE):
            raise InputError("blank")
        return drawn(image, size_px)

    monkeypatch.setattr(generation, "canonical_drawn", blank_later)
    folder = generate_vae.main(study(f"generation.redraw={recogniser}", name="vae"))
    metrics = read_json(folder / "metrics.json")
    assert metrics["num_still_misread"] == metrics["num_misread"] > 2


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"writers_seen": ["simulated_0002"]}, "has seen simulated_0002"),
     ({"writers_seen": ["simulated_0003"]}, "has seen simulated_0003"),
     ({"writers_seen": None}, "writers_seen is missing"),
     ({"characters": list(SMOKE[::-1])}, "other characters")],
)  # fmt: skip
def test_a_recogniser_that_may_not_choose_is_refused_before_anything_is_made(
    facts: dict[str, Any], message: str, study: Callable[..., Config], recogniser: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    own = tmp_path / "recogniser" / "classifier.safetensors"
    own.parent.mkdir()
    shutil.copy(recogniser, own)
    edit_facts(own, **facts)
    config = study(f"generation.redraw={own}", name="vae")
    with pytest.raises(InputError, match=message):
        generate_vae.main(config)
    with pytest.raises(InputError, match=message):
        check_given(config, open_corpus(config))  # as a study does when it begins
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("place", ["absolute", "in the study"])
def test_the_output_folder_may_be_chosen(
    place: str, study: Callable[..., Config], tmp_path: Path
) -> None:
    output = tmp_path / "my images" if place == "absolute" else Path("mine")
    config = study(f"generation.output='{output}'")
    folder = generate_images.main(config)
    assert folder == (output if output.is_absolute() else tmp_path / "runs" / "smoke" / "mine")
    assert len(read_manifest(folder / "manifest.json").entries) == 24


def test_a_batch_is_written_before_the_next_is_made(
    study: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix, written = generate_images.mix, []

    def noted(*arguments: Any) -> tuple[Tensor, Tensor]:
        written.append(len([*tmp_path.rglob("U+*/*.png")]))
        return mix(*arguments)

    monkeypatch.setattr(generate_images, "mix", noted)
    generate_images.main(study("generation.num_per_character=3", "generation.batch_size=7"))
    assert written == [0, 7, 14]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generation.content_names=[Comic]", r"no writer or font contains 'Comic'.*Noto"),
        ("generation.style_names=[nobody]", "contains 'nobody'"),
        ("generation.styles=[simulated]", r"generation.styles=\['simulated'\]"),
        ("generation.styles=[]", r"generation.styles=\[\]"),
        ("model_mode=adain", "trained with model_mode=adain_mlp, this run has model_mode=adain"),
    ],
)
def test_what_cannot_be_generated_is_named(
    override: str, message: str, study: Callable[..., Config]
) -> None:
    with pytest.raises(InputError, match=message):
        generate_images.main(study(override))


def test_blank_outputs_are_reported_with_their_characters(
    study: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "forward", lambda _, x, *__: torch.full((len(x), 1, 16, 16), -1.0))
    with pytest.raises(InputError, match="blank images of .*木"):
        generate_images.main(study())
