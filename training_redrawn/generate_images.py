"""Generate images in given writers' hands: PNG files and a manifest.

    python training_redrawn/generate_images.py
    python training_redrawn/generate_images.py generation.hands=PATH generation.characters=愛山川

Each image is in one writer's hand. Characters that the writer wrote are drawn again, each stroke
varied a little; others are predicted from them (``handwriting/sources/hand_process.py``). With
``redrawn.morphing``, forms are also interpolated, up to half way to another writer's or KanjiVG's.

The writers are the study's training writers, or those of ``generation.hands``, the file of a hand
or a folder of such files: these need no study and draw any character that KanjiVG has, by default
those that the writers wrote. Writes canonical images, ``manifest.json`` with ``writers.json``, a
sheet and ``LICENSE.txt`` to ``runs/<name>/generated/redrawn/``.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.corpus.generation import (
    GeneratedBatch,
    GenerateFn,
    ImageRequest,
    Prepared,
    generate,
    given_hands,
    write_images,
)
from handwriting.errors import InputError
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, load_weights
from handwriting.sources.hand_drawings import HandDrawings
from handwriting.sources.hands import Hand, hands_key, unpack, write_licence, written_by


def main(config: Config) -> Path:
    return images_in_hands(config, "redrawn")


def morphed(config: Config) -> Path:
    """Draw with every form interpolated towards another one, into ``generated/morphed/``."""
    settings = replace(config.redrawn, morphing=1.0)
    return images_in_hands(replace(config, redrawn=settings), "morphed")


def images_in_hands(config: Config, name: str) -> Path:
    """Draw images into ``generated/<name>/``, or ``generation.output``."""
    if hands := given_hands(config):
        folder = draw_without_study(config, hands, name)
    else:
        weights = load_weights(
            config.gen_weight or run_folder(config) / "redrawn",
            "redrawn",
            config.size_px,
        )
        hands = hands_in(weights)

        def prepare(_: Corpus, characters: Sequence[str], __: Runtime) -> Prepared:
            return drawing(hands, characters, config), ()

        folder = generate(config, name, weights, prepare, settings=vars(config.redrawn))
    write_licence(folder / "LICENSE.txt", hands)
    return folder


def drawing(hands: Sequence[Hand], characters: Sequence[str], config: Config) -> GenerateFn:
    """The function that draws each requested character in a random one of the hands.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    settings = config.redrawn
    drawings = HandDrawings(hands, characters, settings.spread, settings.morphing, config.size_px)

    def make(wanted: list[ImageRequest]) -> GeneratedBatch:
        own = [int(one.rng.integers(len(hands))) for one in wanted]
        asked, rngs = [one.character for one in wanted], [one.rng for one in wanted]
        images, is_own = drawings.draw(asked, own, rngs)
        whose = zip(own, is_own, strict=True)
        writers = [hands[i].name if is_one else UNKNOWN_WRITER for i, is_one in whose]
        return GeneratedBatch(images, writers)

    return make


# Hands of a study ---------------------------------------------------------------------------------


def hands_in(weights: Weights) -> list[Hand]:
    """The hands of a weight file.

    Raises:
        InputError: its metadata and its arrays do not match.
    """
    try:
        arrays = {name: tensor.numpy() for name, tensor in weights.state.items()}
        return unpack(weights.facts["hands"], arrays)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{weights.path} is damaged ({error}): run training_redrawn/train.py again"
        ) from error


# Hands of files -----------------------------------------------------------------------------------


def draw_without_study(config: Config, hands: Sequence[Hand], name: str) -> Path:
    """Draw in the hands of ``generation.hands``.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    settings = config.generation
    written = written_by(hands)
    characters = class_list(settings.characters) if settings.characters else written
    inputs = {"hands": hands_key(Path(settings.hands or ""))}
    sections = ("seed", "size_px", "redrawn", "generation")
    run = Run(config, settings.output or f"generated/{name}", sections, inputs)
    if run.is_done:
        return run.folder
    Runtime(config.runtime)  # sets the number of threads
    make = drawing(hands, characters, config)
    facts = {"writers_seen": sorted(hand.name for hand in hands)}
    return write_images(run, config, characters, characters, make, facts)


if __name__ == "__main__":
    run_script(
        main, reads=["gen_weight", "generation", "redrawn"], folder_keys=["generation.output"]
    )
