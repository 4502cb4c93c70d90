"""The weights that ship: what they have seen, and that stages start from them for any classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ComposeSmoke, smoke_overrides

import pipeline
from handwriting.characters.classes import named_lists
from handwriting.characters.decomposition import structure_of
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import pack_manifest
from handwriting.runs.weights import OF_CLASSES, base_weights, load_weights, shipped
from handwriting.script import compose
from handwriting.storage.json_files import read_json
from handwriting.storage.keys import file_key
from training_clip import train_clip, train_image_encoder
from training_style_transfer import generate_images, train

KINDS = ("image_encoder", "clip", "generator", "discriminator")
MAX_MB = 6
TAUGHT_NOTHING = [
    "weights=base", "model_mode=adain_clip",
    *(f"{key}.learning_rate=0" for key in ("image_encoder", "clip", "style_transfer")),
]  # fmt: skip


def test_they_are_small_and_tell_what_they_have_seen() -> None:
    assert sum(shipped(kind).stat().st_size for kind in KINDS) < MAX_MB * 1e6
    for kind in KINDS:
        weights = base_weights(kind)
        assert not [name for name in weights.state if name.startswith(OF_CLASSES)]
        assert weights.facts["characters"] == [*named_lists()["base"]]
        assert "KanjiVG" in weights.facts["credit"]
        # Those who stand beside real writers and are never tested; the rest are fonts.
        seen = weights.facts["writers_seen"]
        people = [name for name in seen if not name.startswith("font:")]
        assert people
        assert all(name.startswith("simulated:") for name in people)


def test_a_hundred_kanji_are_in_none_of_them_but_their_components_are() -> None:
    lists = named_lists()
    held_out, base = set(lists["held_out"]), set(lists["base"])
    assert len(held_out) == 100
    assert held_out <= set(lists["kanji"])
    assert not held_out & base
    assert held_out | base == set(lists["all"])
    known = base_weights("clip").facts["vocabulary"]
    texts = structure_of(lists["held_out"], max_tokens=22)
    assert {token for each in texts.values() for text in each for token in text} <= {*known}


@pytest.fixture(scope="module")
def clip_run(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A ``runs_dir`` with the smoke study's encoders, from the base and taught nothing."""
    runs_dir = tmp_path_factory.mktemp("base")
    config = compose(smoke_overrides(runs_dir, cache_dir, *TAUGHT_NOTHING))
    train_image_encoder.main(config)
    train_clip.main(config)
    return runs_dir


def test_a_stage_starts_from_them_with_its_own_classes(clip_run: Path, smoke: ComposeSmoke) -> None:
    config = smoke(*TAUGHT_NOTHING, runs_dir=clip_run)
    folders = {
        "image_encoder": train_image_encoder.main(config),
        "clip": train_clip.main(config),
        "generator": train.main(config),
    }
    for kind, folder in folders.items():
        base, own = base_weights(kind), load_weights(folder, kind)
        assert len(own.facts["characters"]) == 6
        assert not own.fits_any
        assert {*base.facts["writers_seen"]} <= {*own.facts["writers_seen"]}
        of_classes = own.state.keys() - base.state.keys()
        assert all(name.startswith(OF_CLASSES) for name in of_classes)
        for name, values in base.state.items():
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
                torch.testing.assert_close(own.state[name], values.float(), msg=name)
    embedding = own.state["class_embedding.weight"]
    assert embedding.shape[0] == 6
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(6))  # CLIP's, of the texts


def test_tokens_that_they_do_not_know_are_learnt_beside_the_others(
    tmp_path: Path, clip_run: Path, smoke: ComposeSmoke
) -> None:
    own = tmp_path / "structure.json"
    texts = {c: [f"⿰ {chr(0x31C0 + i)} 木"] for i, c in enumerate(named_lists()["smoke"])}
    own.write_text(json.dumps(texts), encoding="utf-8")
    config = smoke(*TAUGHT_NOTHING, f"structure.path={own}", "clip.learning_rate=1e-3")
    clip = load_weights(train_clip.main(config), "clip")
    base = base_weights("clip")
    known, tokens = base.facts["vocabulary"], clip.facts["vocabulary"]
    assert tokens[: len(known)] == known
    assert {*tokens} - {*known} == {chr(0x31C0 + i) for i in range(6)}
    name = next(name for name in base.state if "token_embedding" in name)
    assert len(clip.state[name]) == len(tokens)
    apart = (clip.state[name][: len(known)] - base.state[name].float()).abs().amax(dim=1)
    assert apart.max() < 0.1  # one start for those that it knows


def test_a_study_starts_from_them(smoke: ComposeSmoke) -> None:
    study = ["pipeline.generators=[adain_clip]", "pipeline.arms=[real,real+adain_clip]"]
    config = smoke("weights=base", *study)
    folder = pipeline.main(config).parent  # with its audit
    assert not (folder / "text_encoder").exists()
    steps = folder / "style_transfer" / "adain_clip"
    assert [path.name for path in steps.iterdir()] == ["step_end"]
    read = read_json(steps / "step_end" / "config.json")["inputs"]
    assert {file_key(shipped(kind)) for kind in ("generator", "discriminator")} <= {*read.values()}


def test_the_generator_adapts_more_slowly_than_it_learns_unless_told(smoke: ComposeSmoke) -> None:
    """At the rate of a beginner it forgets the base's pens."""
    based = ["weights=base", "model_mode=adain_clip"]
    beginner = train.learning_rate(smoke())
    assert train.learning_rate(smoke(*based)) < beginner
    assert train.learning_rate(smoke(*based, "model_mode=adain")) == beginner  # it has no base
    assert train.learning_rate(smoke(*based, "style_transfer.learning_rate=0")) == 0


def test_contents_that_they_do_not_take_are_named(smoke: ComposeSmoke) -> None:
    config = smoke(*TAUGHT_NOTHING, "style_transfer.content=images")
    with pytest.raises(InputError, match="line drawings"):
        train.main(config)


def test_characters_without_an_image_are_drawn_in_the_writers_hands(
    clip_run: Path, smoke: ComposeSmoke
) -> None:
    config = smoke("gen_weight=base", "size_px=64", "generation.characters=愛海", runs_dir=clip_run)
    folder = generate_images.main(replace(config, name="any"))
    manifest = read_manifest(folder / "manifest.json")
    assert manifest.characters == ("愛", "海")
    packed = pack_manifest(manifest, 64, clip_run / "cache")
    share = (packed.images > 127).mean(axis=(1, 2))
    assert ((share > 0.03) & (share < 0.5)).all()  # neither blank nor a blot
    kept = [packed.images[packed.labels == label].mean(axis=0) for label in range(2)]
    apart = np.corrcoef(kept[0].ravel(), kept[1].ravel())[0, 1]
    assert apart < 0.7  # of each other
    facts = read_json(folder / "facts.json")
    before = read_json(folder / "config.json")["key"]
    everyone = (*named_lists()["smoke"], "愛", "海")
    texts = {c: [f"⿰ {part} 木"] for c, part in zip(everyone, "口日土人火女力目", strict=True)}
    own = clip_run / "structure.json"
    own.write_text(json.dumps(texts), encoding="utf-8")
    asked = replace(config, name="any", structure=replace(config.structure, path=str(own)))
    assert read_json(generate_images.main(asked) / "config.json")["key"] != before
    assert {*base_weights("generator").facts["writers_seen"]} <= {*facts["writers_seen"]}


def test_the_base_has_a_size(smoke: ComposeSmoke) -> None:
    """Images of another would have another pen."""
    with pytest.raises(InputError, match="size_px=64"):
        generate_images.main(smoke("gen_weight=base"))
