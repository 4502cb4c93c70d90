"""Join the image and the text encoder by contrast (Radford et al. 2021).

    python training_clip/train_clip.py experiment=paper runtime=gpu                  # GPU
    python training_clip/train_clip.py experiment=demo                               # laptop, 20 s
    python training_clip/train_clip.py image_weight=PATH text_weight=PATH

Starts from ``image_weight`` and ``text_weight`` (by default those of the study). Several images of
one character in a batch are all positives. Writes ``runs/<name>/clip/clip.safetensors`` and reports
retrieval on held-out writers and, with ``data.unseen_characters``, on held-out characters.
"""

from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import ImageBank
from handwriting.corpus.corpus import open_corpus
from handwriting.images.augment import Classical, to_float
from handwriting.images.packed import concatenate
from handwriting.networks.encoders import Classifier
from handwriting.networks.optimizer import one_cycle
from handwriting.parallel.rows import Rows, gather, shard
from handwriting.runs.run import Run, run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights, save_weights
from handwriting.script import run_script
from training_clip.model import (
    Clip,
    TextClassifier,
    contrastive_loss,
    same_character_targets,
    similarity_targets,
)
from training_clip.retrieval import known_texts, retrieval


def main(config: Config) -> Path:
    corpus = open_corpus(config)
    folder = run_folder(config)
    image = load_weights(
        config.image_weight or folder / "image_encoder", "image_encoder",
        "training_clip/train_image_encoder.py",
    )  # fmt: skip
    text = load_weights(
        config.text_weight or folder / "text_encoder", "text_encoder",
        "training_clip/train_text_encoder.py",
    )  # fmt: skip
    sections = ("seed", "size_px", "data", "fonts", "aug", "structure", "clip")
    inputs = {"corpus": corpus.key, "image": image.path, "text": text.path}
    run = Run(config, "clip", sections, inputs)
    if run.is_done:
        return run.folder
    for weights in (image, text):
        weights.require_characters(corpus.characters)
    towers = build(Classifier, image).encoder, build(TextClassifier, text).encoder
    texts = known_texts(text, config, corpus)
    seen = writers_seen(*corpus.sources.values(), image, text)
    run.begin()
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    settings = config.clip

    texts = texts.to(runtime.device)
    everything = concatenate(list(corpus.sources.values()))
    bank = ImageBank(corpus.without_unseen(everything), runtime.device)
    image_arguments = {k: v for k, v in image.arguments.items() if k != "num_classes"}
    network = Clip(
        image_arguments, text.arguments["text"], settings.embedding_dim,
        settings.learn_temperature,
    )  # fmt: skip
    network.image.load_state_dict(towers[0].state_dict())
    network.text.load_state_dict(towers[1].state_dict())
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.05)
    augment = Classical()

    rows = Rows(rng)
    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, rng):
        drawn = bank.draw(settings.batch_size, rng)
        labels, images = bank.labels[drawn], bank.take(shard(drawn))
        inputs_ = augment(images, rows) if config.aug else to_float(images)
        tokens = texts.draw(shard(labels), rows)
        with runtime.autocast():
            image_embeddings, text_embeddings, scale = network(inputs_, tokens)
        image_embeddings, text_embeddings = gather(image_embeddings), gather(text_embeddings)
        if settings.targets == "similarity":
            targets = similarity_targets(image_embeddings, text_embeddings, scale)
        else:
            targets = same_character_targets(labels)
        loss = contrastive_loss(image_embeddings, text_embeddings, scale, targets)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(loss=loss, scale=scale, gradient=gradient)

    metrics = dict(retrieval(network, corpus, texts, runtime))
    facts = {
        "characters": corpus.characters,
        "vocabulary": texts.vocabulary.to_list(),
        "writers_seen": seen,
    }
    path = save_weights(
        run.folder / "clip.safetensors", "clip", network.arguments, facts, network.state_dict()
    )
    print("  " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    return run.finish(metrics, [path])


if __name__ == "__main__":
    run_script(main)
