"""Pretrain the text encoder as a classifier of component sequences.

    python training_clip/train_text_encoder.py experiment=paper runtime=gpu     # GPU
    python training_clip/train_text_encoder.py experiment=demo                  # laptop, seconds

Every character has several sequences (its components at several depths); a batch is one random
sequence each of random characters. Writes ``runs/<name>/text_encoder/text_encoder.safetensors``.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.characters.vocabulary import class_texts
from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.networks.optimizer import one_cycle
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from training_clip.model import TextClassifier


def main(config: Config) -> Path:
    settings = config.text_encoder
    corpus = open_corpus(config)
    texts = class_texts(config.structure, corpus.characters, corpus.seen)
    sections = ("seed", "structure", "text_encoder")
    inputs = {"texts": texts.tokens.tolist(), "unseen": corpus.unseen}
    run = Run(config, "text_encoder", sections, inputs)
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)

    texts = texts.to(runtime.device)
    seen = torch.tensor([corpus.characters.index(c) for c in corpus.seen], device=runtime.device)
    arguments = {
        "vocab_size": len(texts.vocabulary), "context_length": config.structure.context_length,
        "width": settings.width, "heads": settings.heads, "layers": settings.layers,
    }  # fmt: skip
    network = TextClassifier(arguments, len(corpus.characters))
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.01)

    run.begin()
    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, rng):
        labels = seen[rng.randint(len(seen), rng.num_rows(settings.batch_size))]
        tokens = texts.draw(labels, rng)
        with runtime.autocast():
            loss = F.cross_entropy(network(tokens), labels)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(loss=loss, gradient=gradient)

    top1 = accuracy(network, texts.tokens[seen], seen, runtime)
    run.tell(f"accuracy on all sequences {top1:.3f}")
    facts = {
        "characters": corpus.characters,
        "vocabulary": list(texts.vocabulary.tokens),
        "writers_seen": [],  # it reads no image
    }
    path = save_weights(
        run.folder / "text_encoder.safetensors", "text_encoder", network.arguments, facts,
        network.state_dict(),
    )  # fmt: skip
    return run.finish({"train_top1": top1}, [path])


@torch.no_grad()
def accuracy(network: TextClassifier, tokens: Tensor, labels: Tensor, runtime: Runtime) -> float:
    """Accuracy on the sequences (K, A, L) of classes (K,)."""
    network.eval()
    with runtime.autocast():
        logits = network(tokens.flatten(0, 1))  # (K * A, number of classes)
    right = logits.argmax(dim=1) == labels.repeat_interleave(tokens.shape[1])
    return float(right.float().mean())


if __name__ == "__main__":
    run_script(main, reads=["text_encoder"])
