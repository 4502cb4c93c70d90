"""Align the image and the text encoder by contrastive training (Radford et al. 2021).

    python training_clip/train_clip.py experiment=paper runtime=gpu                  # GPU
    python training_clip/train_clip.py experiment=demo                               # laptop, 20 s
    python training_clip/train_clip.py image_weight=PATH text_weight=PATH

Starts from ``image_weight`` and ``text_weight`` (by default the study's), or with ``weights=base``
from the CLIP that ships. If a batch holds several images of one character, all are positives.
Writes ``runs/<name>/clip/clip.safetensors`` and reports retrieval on held-out writers and, with
``data.unseen_characters``, on held-out characters.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handwriting.characters.vocabulary import ClassTexts
from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import ImageBank, draw_batch
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.images.augment import Classical, to_float
from handwriting.images.packed import concatenate
from handwriting.networks.encoders import Classifier
from handwriting.networks.optimizer import one_cycle
from handwriting.networks.whole_batch import gather
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, base_weights, build, load_weights, save_weights
from training_clip.model import (
    Clip,
    TextClassifier,
    contrastive_loss,
    same_character_targets,
    similarity_targets,
)
from training_clip.retrieval import known_texts, retrieval


def main(config: Config) -> Path:
    settings = config.clip
    start = start_weights(config)
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "aug", "structure", "clip")
    inputs = {"corpus": corpus.key, **{weights.kind: weights.path for weights in start}}
    run = Run(config, "clip", sections, inputs)
    if run.is_done:
        return run.folder
    seen = writers_seen(*corpus.sources.values(), *start)
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)

    network, texts = build_clip(config, start, corpus)
    texts = texts.to(runtime.device)
    everything = concatenate(list(corpus.sources.values()))
    bank = ImageBank(corpus.without_unseen(everything), runtime.device)
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.05)
    augment = Classical()

    run.begin()
    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, rng):
        drawn, labels = draw_batch([bank], [settings.batch_size], rng)
        images = augment(drawn, rng) if config.aug else to_float(drawn)
        with runtime.autocast():
            *embeddings, scale = network(images, texts.draw(labels, rng))
        image_embeddings, text_embeddings = map(gather, embeddings)  # against the whole batch
        if settings.targets == "similarity":
            targets = similarity_targets(image_embeddings, text_embeddings, scale)
        else:
            targets = same_character_targets(gather(labels))
        loss = contrastive_loss(image_embeddings, text_embeddings, scale, targets)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(loss=loss, scale=scale, gradient=gradient)

    metrics = dict(retrieval(network, corpus, texts, runtime))
    found = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
    run.tell(found or "no validation writers: retrieval is not measured")
    facts = {"characters": corpus.characters, "vocabulary": list(texts.vocabulary.tokens),
             "writers_seen": seen}  # fmt: skip
    path = save_weights(
        run.folder / "clip.safetensors", "clip", network.arguments, facts, network.state_dict()
    )
    return run.finish(metrics, [path])


def starts_from_base(config: Config) -> bool:
    """Whether training starts from the CLIP that ships, so that no encoders are needed."""
    return bool(config.weights) and not (config.image_weight or config.text_weight)


def start_weights(config: Config) -> list[Weights]:
    """The image and the text encoder, or the CLIP of ``weights=base``.

    Raises:
        InputError: an encoder has not been trained.
    """
    if starts_from_base(config):
        return [base_weights("clip")]
    folder = run_folder(config)
    return [
        load_weights(
            config.image_weight or folder / "image_encoder", "image_encoder", config.size_px,
        ),
        load_weights(
            config.text_weight or folder / "text_encoder", "text_encoder",
        ),
    ]  # fmt: skip


def build_clip(config: Config, start: Sequence[Weights], corpus: Corpus) -> tuple[Clip, ClassTexts]:
    """The network with the weights to start from, and the classes' texts, tokenised for it.

    Raises:
        InputError: the encoders were trained on other characters, or on texts of another length.
    """
    if len(start) == 1:
        (base,) = start
        texts = known_texts(base, config.structure, corpus, add_new=True)
        own: dict[str, Any] = {
            "image": {**base.arguments["image"], "size_px": config.size_px},
            "text": {**base.arguments["text"], "vocab_size": len(texts.vocabulary)},
        }
        return build(Clip, base, **own), texts
    for weights in start:
        weights.require_characters(corpus.characters)
    image, text = build(Classifier, start[0]), build(TextClassifier, start[1])
    sizes = {name: start[0].arguments[name] for name in ("name", "width", "size_px")}
    settings = config.clip
    network = Clip(
        sizes, start[1].arguments["text"], settings.embedding_dim, settings.learn_temperature
    )
    network.image, network.text = image.encoder, text.encoder
    return network, known_texts(start[1], config.structure, corpus)


if __name__ == "__main__":
    run_script(main, reads=["aug", "clip", "image_weight", "text_weight", "weights"])
