"""Generate images in the training writers' hands: PNG files and a manifest.

    python training_redrawn/generate_images.py
    python training_redrawn/generate_images.py gen_weight=PATH generation.characters=愛山川

Each image is by one writer. What they wrote is written again, every stroke a little otherwise; what
they did not is predicted from what they wrote (``handwriting/sources/hands.py``). With
``redrawn.morphing`` forms are also drawn up to half way to another writer's or to KanjiVG's. Writes
canonical images, ``manifest.json`` with ``writers.json``, and a sheet to
``runs/<name>/generated/redrawn/``.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.corpus.generation import GeneratedBatch, ImageRequest, Prepared, generate
from handwriting.errors import InputError
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.runs.folder import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, load_weights
from handwriting.sources.hand_drawings import HandDrawings
from handwriting.sources.hands import Hand, unpack


def main(config: Config) -> Path:
    weights = load_weights(
        config.gen_weight or run_folder(config) / "redrawn",
        "redrawn",
        "training_redrawn/train.py",
        config.size_px,
    )
    settings = config.redrawn

    def prepare(_: Corpus, characters: Sequence[str], __: Runtime) -> Prepared:
        hands = hands_in(weights)
        drawings = HandDrawings(
            hands, characters, settings.spread, settings.morphing, config.size_px
        )

        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            own = [int(one.rng.integers(len(hands))) for one in wanted]
            characters, rngs = [one.character for one in wanted], [one.rng for one in wanted]
            images, is_own = drawings.draw(characters, own, rngs)
            whose = zip(own, is_own, strict=True)
            writers = [hands[i].name if is_one else UNKNOWN_WRITER for i, is_one in whose]
            return GeneratedBatch(images, writers)

        return make, ()

    return generate(config, "redrawn", weights, prepare, settings=vars(settings))


def hands_in(weights: Weights) -> list[Hand]:
    """The hands of a weight file.

    Raises:
        InputError: what it says of them does not fit what it holds.
    """
    try:
        arrays = {name: tensor.numpy() for name, tensor in weights.state.items()}
        return unpack(weights.facts["hands"], arrays)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{weights.path} is damaged ({error}): run training_redrawn/train.py"
        ) from error


if __name__ == "__main__":
    run_script(
        main, reads=["gen_weight", "generation", "redrawn"], folder_keys=["generation.output"]
    )
