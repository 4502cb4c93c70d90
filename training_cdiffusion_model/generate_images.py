"""Generate images with a trained diffusion model: PNG files and a manifest.

    python training_cdiffusion_model/generate_images.py
    python training_cdiffusion_model/generate_images.py gen_weight=PATH generation.characters=日本 \
        generation.styles=[simulated] cdiffusion.num_evaluations=4 cdiffusion.guidance=2

Every image has a hand (``generation.styles``, or one of the files that ``generation.hands`` names),
a few images in that hand as its style, and noise; the seed, the character and the image's number
alone determine all three. Writes canonical images, ``manifest.json`` with ``writers.json``, and a
sheet to ``runs/<name>/generated/cdiffusion/``.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from pathlib import Path

import torch

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.corpus.drawn import DrawnInHands, inputs_of_drawings
from handwriting.corpus.generation import GeneratedBatch, ImageRequest, Prepared, generate, noise
from handwriting.corpus.styles import StyleChooser, hands
from handwriting.errors import InputError
from handwriting.images.augment import to_uint8
from handwriting.runs.folder import run_folder
from handwriting.runs.inference import Features
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from training_cdiffusion_model.flow import euler
from training_cdiffusion_model.model import Denoiser

MAX_STYLE_IMAGES = 1000  # per generated image, whatever a weight file says


def main(config: Config) -> Path:
    settings = config.cdiffusion
    weights = load_weights(
        config.gen_weight or run_folder(config) / "cdiffusion", "cdiffusion", config.size_px,
    )  # fmt: skip
    num_style_images = weights.facts["num_style_images"]
    if not 1 <= num_style_images <= MAX_STYLE_IMAGES:
        expected = f"expected 1 to {MAX_STYLE_IMAGES}"
        raise InputError(f"{weights.path}: num_style_images={num_style_images}: {expected}")
    sees_drawing = weights.arguments["sees_drawing"]
    sampler = settings.num_evaluations, settings.guidance

    def prepare(corpus: Corpus, characters: Sequence[str], runtime: Runtime) -> Prepared:
        styles = hands(corpus, "styles", config.generation.styles, config.generation.style_names)
        drawn = None
        if sees_drawing:
            drawn = DrawnInHands(styles, corpus, characters, config)
            styles = styles.by(drawn.writers)
        network = runtime.freeze(build(Denoiser, weights))
        num_hands, device = config.generation.num_hands, runtime.device
        style_of = Features(lambda images, _: network.style(images), styles, runtime)
        chooser = StyleChooser(styles, num_hands, num_style_images)

        @torch.inference_mode()
        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            chosen = chooser.choose(wanted)
            shares = chosen.shares.to(device)
            style = style_of.mean(chosen.picks)
            labels = torch.tensor([one.label for one in wanted], device=device)
            each = labels.repeat_interleave(num_hands)
            drawing = None
            if drawn:
                drawing = drawn.draw(wanted, chosen.leading).to(device)
            x_0 = noise(wanted, 1, config.size_px, config.size_px).to(device)
            with runtime.autocast():
                conditions = network.condition(each, style)
                condition = (shares[..., None] * conditions.view(*shares.shape, -1)).sum(dim=1)
                images = euler(network, x_0, condition, drawing, *sampler)
            return GeneratedBatch(to_uint8(images).cpu().numpy(), chosen.writers)

        return make, [styles]

    inputs = inputs_of_drawings(config) if sees_drawing else {}
    return generate(config, "cdiffusion", weights, prepare, sampler=sampler, **inputs)


if __name__ == "__main__":
    run_script(
        main,
        reads=["gen_weight", "generation", "cdiffusion", "redrawn"],
        folder_keys=["generation.output"],
    )
