"""Generate images with a trained generator: PNG files and a manifest.

    python training_style_transfer/generate_images.py model_mode=adain_clip
    python training_style_transfer/generate_images.py gen_weight=PATH \
        generation.characters=日本 generation.num_per_character=20 \
        generation.contents=[fonts] generation.content_names=[Serif] generation.styles=[writers]

Every image has a content image and a style image, chosen by the seed, the character and the image's
number alone. Writes canonical images, ``manifest.json`` and ``sheet.png`` to
``runs/<name>/generated/<mode>/``; ``writers.json`` names the hand whose style an image has.
"""

from pathlib import Path

import numpy as np
import torch

from handwriting.augment import to_float, to_uint8
from handwriting.characters import class_list
from handwriting.config import Config, run_script
from handwriting.corpus import Corpus, open_corpus
from handwriting.errors import InputError, report_problems
from handwriting.images import Uint8, canonical, save_png, sheet
from handwriting.manifest import Entry, write_manifest
from handwriting.packed import Int64, PackedImages, concatenate
from handwriting.progress import progress
from handwriting.run import Run, load_weights, run_folder
from handwriting.runtime import Runtime
from training_style_transfer.feed import matching
from training_style_transfer.model import Generator

MAX_ATTEMPTS = 3  # other contents and styles tried when an output is blank


def main(config: Config) -> Path:
    settings = config.generation
    mode = config.model_mode.value
    weights = load_weights(
        config.gen_weight or run_folder(config) / "style_transfer" / mode / "step_end",
        "generator", f"training_style_transfer/train.py model_mode={mode}",
    )  # fmt: skip
    if weights.arguments["mode"] != mode:
        raise InputError(
            f"{weights.path} was trained with model_mode={weights.arguments['mode']}, this run "
            f"has model_mode={mode}"
        )
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "generation")
    inputs = {"generator": weights.path, "corpus": corpus.key}
    run = Run(config, settings.output or f"generated/{mode}", sections, inputs)
    if run.is_done:
        return run.folder
    weights.require_characters(corpus.characters)
    characters = class_list(settings.characters) if settings.characters else corpus.characters
    unknown = [c for c in characters if c not in corpus.characters]
    report_problems(
        "generation.characters",
        [f"{c} (U+{ord(c):04X}): unknown to the generator" for c in unknown],
        f"{weights.path} was trained on {len(corpus.characters)} characters.",
    )
    contents = hands(corpus, "contents", settings.contents, settings.content_names)
    styles = hands(corpus, "styles", settings.styles, settings.style_names)
    absent = sorted(set(contents.absent()) & set(characters))
    report_problems(
        "generation.contents",
        [f"{c} (U+{ord(c):04X}): none of these hands has it" for c in absent],
        "Choose more contents, such as generation.contents=[fonts,writers].",
    )
    run.begin()
    runtime = Runtime(config.runtime)
    generator = Generator(**weights.arguments)
    generator.load_state_dict(weights.state)
    runtime.freeze(generator)

    jobs = [(c, k) for c in characters for k in range(settings.num_per_character)]
    images = np.zeros((len(jobs), config.size_px, config.size_px), np.uint8)
    style_of = np.zeros(len(jobs), np.int64)
    waiting = np.arange(len(jobs))
    for attempt in range(MAX_ATTEMPTS):
        blank = []
        starts = range(0, len(waiting), settings.batch_size)
        for start in progress(starts, len(starts), f"generating {mode}"):
            batch = waiting[start : start + settings.batch_size]
            seeds = [(config.seed, ord(jobs[i][0]), jobs[i][1], attempt) for i in batch]
            picks = [pick(seed, contents, styles) for seed in seeds]
            content, style = (list(column) for column in zip(*picks, strict=True))
            made = generate(generator, contents, styles, content, style, corpus, runtime)
            style_of[batch] = style
            for i, image in zip(batch, made, strict=True):
                try:
                    images[i] = canonical(image, config.size_px)
                except InputError:
                    blank.append(i)
        waiting = np.array(blank, np.int64)
        if not blank:
            break
    if len(waiting):
        names = " ".join(sorted({jobs[i][0] for i in waiting}))
        raise InputError(f"the generator makes blank images of {names}: train it for longer")

    entries = []
    for (character, k), image, style_index in zip(jobs, images, style_of, strict=True):
        path = run.folder / f"U+{ord(character):04X}" / f"{k:05d}.png"
        save_png(path, image, flush=False)
        writer = styles.writer_names[styles.writers[style_index]]
        entries.append(Entry(character, path, writer))
    write_manifest(run.folder / "manifest.json", entries)
    shown = images.reshape(len(characters), settings.num_per_character, *images.shape[1:])
    run.sample("sheet", sheet(list(shown[:20, :24])))
    return run.finish({"num_images": len(images)}, [run.folder / "manifest.json"])


def hands(corpus: Corpus, key: str, kinds: list[str], names: list[str]) -> PackedImages:
    """The images of the kinds of hands, and of the hands among them, that a setting names.

    Raises:
        InputError: an unknown kind of hand, or a name that no hand has.
    """
    known = {"writers": corpus.train, "fonts": corpus.fonts, "helpers": corpus.helpers}
    parts = [part for kind in kinds if (part := known.get(kind)) is not None]
    if not parts or len(parts) < len(kinds):
        raise InputError(
            f"generation.{key}={kinds}: choose from writers, fonts and, where "
            "data.helper_writers is not 0, helpers"
        )
    everyone = concatenate(parts)
    return everyone.by(matching(everyone, names))


def pick(
    seed: tuple[int, int, int, int], contents: PackedImages, styles: PackedImages
) -> tuple[int, int]:
    """The content and the style image of one generated image.

    Args:
        seed: of the run, the character's code point, the image's number, the attempt.
        contents, styles: to pick from.
    """
    rng = np.random.default_rng(seed)
    label = contents.characters.index(chr(seed[1]))
    return (
        _any_hand(np.flatnonzero(contents.labels == label), contents.writers, rng),
        _any_hand(np.arange(len(styles)), styles.writers, rng),
    )


def _any_hand(indices: Int64, writers: Int64, rng: np.random.Generator) -> int:
    """One of some images, by hand first: a hand with many is no likelier than one with few."""
    hand = rng.choice(np.unique(writers[indices]))
    return int(rng.choice(indices[writers[indices] == hand]))


@torch.no_grad()
def generate(
    generator: Generator, contents: PackedImages, styles: PackedImages, content: list[int],
    style: list[int], corpus: Corpus, runtime: Runtime,
) -> Uint8:  # fmt: skip
    """Outputs (B, H, W) for B contents and styles, uint8 ink."""
    content_images, style_images_ = (
        to_float(torch.from_numpy(np.asarray(source.images[indices])).to(runtime.device))
        for source, indices in ((contents, content), (styles, style))
    )
    labels = torch.from_numpy(contents.labels[content]).to(runtime.device)
    with runtime.autocast():
        made = generator(content_images, generator.style(style_images_), labels)
    return np.asarray(to_uint8(made).cpu())


if __name__ == "__main__":
    run_script(main)
