"""Generate images with a trained generator: PNG files and a manifest.

    python training_style_transfer/generate_images.py model_mode=adain_clip
    python training_style_transfer/generate_images.py gen_weight=PATH \
        generation.characters=日本 generation.num_per_character=20 \
        generation.contents=[fonts] generation.content_names=[Serif] generation.styles=[writers]
    python training_style_transfer/generate_images.py gen_weight=base generation.characters=愛山川
    python training_style_transfer/generate_images.py gen_weight=base generation.hands=PATH

Every image has a style and a content, determined by the seed, the character and the image's number
alone. The content is the character drawn in the hand of the style (by default, and with
``generation.contents=[hands]``; ``redrawn.spread`` and ``redrawn.morphing`` apply as in
``training_redrawn/``), or an image of it. ``gen_weight=base`` uses the generator that ships, for
any characters, including those of which the study has no image. ``generation.hands``, the file of a
hand or a folder of such files, replaces a study. Writes canonical images, ``manifest.json`` and
``sheet.png`` to ``runs/<name>/generated/<mode>/``; ``writers.json`` names the hand whose style an
image has.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.drawn import DrawnInHands, inputs_of_drawings
from handwriting.corpus.generation import (
    GeneratedBatch,
    ImageRequest,
    Prepared,
    generate,
    given_hands,
)
from handwriting.corpus.styles import StyleChooser, WriterIndex, hands
from handwriting.errors import InputError, report_problems
from handwriting.images.augment import to_uint8
from handwriting.images.packed import PackedImages
from handwriting.images.thinning import packed_line_drawings
from handwriting.runs.folder import run_folder
from handwriting.runs.inference import EncodeFn, Features
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Facts, Weights, base_weights, build, load_weights, shipped
from handwriting.sources.hands import written_by
from training_clip.retrieval import frozen_clip
from training_style_transfer.model import Generator

HANDS = ["hands"]  # as contents
NUM_STYLE_IMAGES = 8  # per hand: a single one sometimes misrepresents the pen

# Requests and the writer of each one's style, to the features (B, ...) and images of its content.
ContentFn = Callable[[list[ImageRequest], list[str]], tuple[Tensor, Tensor]]


def main(config: Config) -> Path:
    mode = config.model_mode.value
    place = config.gen_weight or run_folder(config) / "style_transfer" / mode / "step_end"
    weights = load_weights(
        shipped("generator") if place == "base" else place, "generator", config.size_px,
    )  # fmt: skip
    if weights.arguments["mode"] != mode:
        raise InputError(
            f"{weights.path} was trained with model_mode={weights.arguments['mode']}, this run "
            f"has model_mode={mode}: make the two match"
        )

    kinds = content_kinds(config, weights)
    if weights.fits_any:
        weights = for_characters(weights, config)
    inputs: dict[str, object] = {"contents": kinds, "num_style_images": NUM_STYLE_IMAGES}
    if weights.fits_any:
        inputs |= {"clip": shipped("clip"), "structure": asdict(config.structure)}
    if kinds == HANDS:
        inputs |= inputs_of_drawings(config)
    return generate(config, mode, weights, partial(prepared, config, weights, kinds), **inputs)


def prepared(
    config: Config, weights: Weights, kinds: list[str], corpus: Corpus, characters: Sequence[str],
    runtime: Runtime,
) -> Prepared:  # fmt: skip
    """The function that makes batches of images: the contents, in the ink of the styles' hands."""
    settings = config.generation
    styles = hands(corpus, "styles", settings.styles, settings.style_names)
    generator = build(Generator, weights)
    if weights.fits_any:
        everyone = replace(corpus, characters=tuple(weights.facts["characters"]))
        _, class_embeddings = frozen_clip(base_weights("clip"), config.structure, everyone, runtime)
        generator.class_embedding.weight.copy_(class_embeddings)
    runtime.freeze(generator)

    def encode(images: Tensor, labels: Tensor) -> Tensor:
        return generator.content_encoder(images, generator.condition(labels))

    given = [styles]
    if kinds == HANDS:
        drawn = DrawnInHands(styles, corpus, characters, config)
        styles = styles.by(drawn.writers)
        content_of = drawn_contents(drawn, encode, runtime)
    else:
        contents = images_of(kinds, characters, corpus, config)
        given.append(contents)
        if takes_drawings(weights):
            contents = packed_line_drawings(contents, Path(config.cache_dir))
        content_of = given_contents(Features(encode, contents, runtime))
    style_of = Features(
        lambda images, _: torch.stack(generator.style(images), dim=1), styles, runtime
    )
    chooser = StyleChooser(styles, settings.num_hands, NUM_STYLE_IMAGES)

    @torch.inference_mode()
    def make(wanted: list[ImageRequest]) -> GeneratedBatch:
        chosen = chooser.choose(wanted)
        labels = torch.tensor([one.label for one in wanted], device=runtime.device)
        mixed = mix(style_of.mean(chosen.picks), chosen.shares)
        features, content = content_of(wanted, chosen.leading)
        with runtime.autocast():
            condition = generator.condition(labels)
            images = generator.decoder(features, mixed, condition, content)
        return GeneratedBatch(to_uint8(images).cpu().numpy(), chosen.writers)

    return make, given


def for_characters(weights: Weights, config: Config) -> Weights:
    """Fit weights for any characters to those of the study or hands, and those requested."""
    settings = config.generation
    asked = class_list(settings.characters) if settings.characters else ()
    if given := given_hands(config):
        characters = asked or written_by(given)
    else:
        known = open_corpus(config).characters
        characters = (*known, *(c for c in asked if c not in known))
    own = {"characters": [*characters], "drawable": characters}
    return replace(
        weights,
        arguments={**weights.arguments, "num_classes": len(characters)},
        facts=Facts(weights.path, {**weights.facts, **own}),
    )


# Contents -----------------------------------------------------------------------------------------


def content_kinds(config: Config, weights: Weights) -> list[str]:
    """``generation.contents``, or by default what the weights were trained with.

    Raises:
        InputError: hands combined with other contents or with ``content_names``, or with weights
            that take no drawings.
    """
    settings = config.generation
    if settings.contents is None:
        return (
            HANDS
            if takes_drawings(weights) and not settings.content_names
            else ["fonts", "writers"]
        )
    if "hands" in settings.contents and (settings.contents != HANDS or settings.content_names):
        raise InputError(
            f"generation.contents={settings.contents}: 'hands' means the styles' own hands and "
            "cannot be combined with other contents or with generation.content_names; choose "
            "hands with generation.style_names"
        )
    if settings.contents == HANDS and not takes_drawings(weights):
        raise InputError(
            f"generation.contents=[hands]: {weights.path} was trained with "
            "style_transfer.content=images and takes no drawings; set "
            "generation.contents=[fonts,writers]"
        )
    return settings.contents


def takes_drawings(weights: Weights) -> bool:
    """Whether a generator was trained with line drawings as contents."""
    return bool(weights.arguments["is_inking"])


def images_of(
    kinds: list[str], characters: Sequence[str], corpus: Corpus, config: Config
) -> PackedImages:
    """The images that serve as contents.

    Raises:
        InputError: a character has none.
    """
    contents = hands(corpus, "contents", kinds, config.generation.content_names)
    absent = sorted(set(contents.absent()) & set(characters))
    report_problems(
        "generation.contents",
        [f"{c} (U+{ord(c):04X}): no image of it in these contents" for c in absent],
        "Choose more contents, such as generation.contents=[fonts,writers].",
    )
    return contents


def drawn_contents(drawn: DrawnInHands, encode: EncodeFn, runtime: Runtime) -> ContentFn:
    """The function that draws characters in the hands of their styles."""

    def contents(wanted: list[ImageRequest], writers: list[str]) -> tuple[Tensor, Tensor]:
        labels = torch.tensor([one.label for one in wanted], device=runtime.device)
        content = drawn.draw(wanted, writers).to(runtime.device)
        with runtime.autocast():
            return encode(content, labels), content

    return contents


def given_contents(features: Features) -> ContentFn:
    """The function that picks images of the characters: first a hand, then one of its images."""
    by_hand = WriterIndex(features.images.labels, features.images.writers)

    def contents(wanted: list[ImageRequest], _: list[str]) -> tuple[Tensor, Tensor]:
        picks = [int(by_hand.pick(one.label, 1, one.rng)[0]) for one in wanted]
        return features(picks), features.taken(picks)

    return contents


# Styles -------------------------------------------------------------------------------------------


def mix(styles: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Styles (B H, 2, C) mixed by (B, H) shares: mean and deviation, (B, C) each.

    Mixes the statistics that AdaIN imposes (as Huang, Belongie 2017, eq. 15, mix features).
    """
    of_each = styles.unflatten(0, shares.shape)  # (B, H, 2, C)
    mean, deviation = (shares.to(styles.device)[..., None, None] * of_each).sum(dim=1).unbind(1)
    return mean, deviation


if __name__ == "__main__":
    run_script(
        main,
        reads=["model_mode", "gen_weight", "generation", "redrawn", "structure"],
        folder_keys=["model_mode", "generation.output"],
    )
