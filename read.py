"""Read images of single characters, and measure how well labelled ones are read.

    python read.py images=[a.png,b.png]                # likeliest characters, with probabilities
    python read.py images=[a.png] characters=hiragana  # of a class list only
    python read.py manifest=PATH                       # accuracy and F1 per character
    python read.py manifest=PATH sheet=misread.png     # is the label wrong, or the reading?
    python read.py manifest=PATH weights=runs/study/classifier/real/seed_0

Uses the shipped recogniser or any other trained here. With a manifest, ``sheet=`` shows at most 100
images that are not read as their character, and the last line printed is JSON: num_images, left_out
(images of characters that may not be read), accuracy, macro_f1, in_five.
"""

from handwriting.script import run_script

# isort: split

import json
from pathlib import Path

from handwriting.config import Read
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import in_parts, pack_manifest
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import text_table
from handwriting.reports.scores import score
from training_character_classification.reading import Recogniser, judged, mistakes_of
from training_character_classification.report.plots import images_with_captions

MAX_SHOWN = 100  # misread images on a sheet


@main_only
def main(config: Read) -> None:
    if bool(config.images) == bool(config.manifest):
        raise InputError("give either images=[a.png,b.png] or manifest=PATH")
    if config.sheet and not config.manifest:
        raise InputError("sheet= shows what of a manifest is misread: give manifest=PATH")
    if config.manifest and config.num_guesses != Read.num_guesses:
        raise InputError(
            "num_guesses= is how many characters are told of each of images=: leave it out"
        )
    recogniser = Recogniser(config.weights, config.characters, config.runtime)
    if config.manifest:
        return read_labelled(recogniser, config, config.manifest)
    found = recogniser.read(config.images, config.num_guesses)
    for path, guesses in zip(config.images, found, strict=True):
        print(f"{path}  {'  '.join(f'{character} {share:.3f}' for character, share in guesses)}")


def read_labelled(recogniser: Recogniser, config: Read, path: str) -> None:
    """Print the share of a manifest's images that is read right, per character and over all."""
    manifest = read_manifest(path)
    packed = pack_manifest(manifest, recogniser.size_px, Path(config.cache_dir).absolute())
    images = packed.of(recogniser.characters)
    if not images:
        raise InputError(f"{path}: none of its characters may be read")
    table, guesses = judged(recogniser.scores(in_parts(images.images)), images)
    scores = score(images.labels, guesses, recogniser.characters, num_confusions=10**6)
    read_as = dict.fromkeys(recogniser.characters, "")
    for written, answer, count in scores.confusions:
        read_as[written] += f" {answer}" + (f" {count}" if count > 1 else "")
    rows = [
        {"character": character, "accuracy": f"{own['accuracy']:.3f}", "f1": f"{own['f1']:.3f}",
         "images": f"{own['support']:.0f}", "misread as": read_as[character].strip()}
        for character, own in scores.per_character.items()
    ]  # fmt: skip
    print(text_table(rows))
    if config.sheet:
        shown = mistakes_of(guesses, images, MAX_SHOWN)
        tens = {str(i + 1): shown[i : i + 10] for i in range(0, len(shown), 10)}
        images_with_captions(tens or {"": []}, Path(config.sheet))
    result = {
        "num_images": len(images), "left_out": len(packed) - len(images),
        "accuracy": float(table["right"].mean()), "macro_f1": scores.macro_f1,
        "in_five": float(table["in_five"].mean()),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    run_script(main)
