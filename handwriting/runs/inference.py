"""Inference on packed images: on all of them in batches, or on selected ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from handwriting.images.augment import to_float
from handwriting.images.canonical import Uint8
from handwriting.images.packed import Int64, PackedImages
from handwriting.networks.stroke_reader import StrokeJudge, StrokeReader
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights, shipped
from handwriting.sources.handwritten_strokes import Reader
from handwriting.storage.keys import file_key

BATCH_SIZE = 512

EncodeFn = Callable[[Tensor, Tensor], Tensor]  # (B, 1, H, W) in [-1, 1], labels (B,) to (B, ...)


def stroke_reader(path: Path | None = None, judge: Path | None = None) -> tuple[Reader, list[str]]:
    """The stroke reader, with shipped or given weights, and the keys of its weights."""
    weights = load_weights(path or shipped("stroke_reader"), "stroke_reader")
    judging = load_weights(judge or shipped("stroke_judge"), "stroke_judge")
    reader = Reader(build(StrokeReader, weights).eval(), build(StrokeJudge, judging).eval())
    return reader, [file_key(weights.path), file_key(judging.path)]


@torch.no_grad()
def batch_outputs(
    network: nn.Module, packed: PackedImages, runtime: Runtime
) -> Iterator[tuple[slice, Tensor]]:
    """A network's outputs, batch by batch, in float32 on the CPU.

    Args:
        network: images (B, 1, H, W) in [-1, 1] to (B, D); it is put in evaluation mode.
        packed: N images.

    Yields:
        The slice of the images, and their outputs (B, D).
    """
    network.eval()
    for start in range(0, max(len(packed), 1), BATCH_SIZE):  # without images, one empty batch
        batch = slice(start, start + BATCH_SIZE)
        yield batch, output(network, np.array(packed.images[batch]), runtime)


@torch.no_grad()
def output(network: nn.Module, images: Uint8, runtime: Runtime) -> Tensor:
    """A network's output (B, D) on images (B, H, W), in float32 on the CPU."""
    ink = torch.from_numpy(images).to(runtime.device)
    with runtime.autocast():
        return network(to_float(ink)).float().cpu()


def outputs(network: nn.Module, packed: PackedImages, runtime: Runtime) -> Tensor:
    """A network's outputs on all images, (N, D) float32 on the CPU."""
    return torch.cat([found for _, found in batch_outputs(network, packed, runtime)])


def validation_top1(
    network: nn.Module, people: PackedImages, runtime: Runtime, tell: Callable[[str], object]
) -> dict[str, float]:
    """Measure and print the accuracy on the validation writers; {} if there are none."""
    if not people:
        tell("no validation writers: accuracy is not measured")
        return {}
    top1 = float((predict(network, people, runtime) == people.labels).mean())
    tell(f"accuracy on validation writers {top1:.3f}")
    return {"validation_top1": top1}


def predict(network: nn.Module, packed: PackedImages, runtime: Runtime) -> Int64:
    """The likeliest class of each image, (N,)."""
    # Batch by batch: the logits of many images over thousands of classes would fill the memory.
    batches = batch_outputs(network, packed, runtime)
    return torch.cat([logits.argmax(dim=1) for _, logits in batches]).numpy()


@dataclass
class Features:
    """A network's features of images, computed when first requested and cached.

    A writer's few images are the style of many generated ones, a character's few the content.
    """

    encode: EncodeFn
    images: PackedImages
    runtime: Runtime
    known: dict[int, Tensor] = field(default_factory=dict)

    MAX_BYTES: ClassVar[int] = 2**27  # of features in the cache

    def taken(self, indices: list[int]) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] on the device."""
        return to_float(torch.from_numpy(self.images.images[indices]).to(self.runtime.device))

    def __call__(self, indices: list[int]) -> Tensor:
        """Features (B, ...) of the images at (B,) indices."""
        if sum(one.nbytes for one in self.known.values()) > self.MAX_BYTES:
            self.known.clear()
        if new := sorted(set(indices) - self.known.keys()):
            labels = torch.from_numpy(self.images.labels[new]).to(self.runtime.device)
            with self.runtime.autocast():
                features = self.encode(self.taken(new), labels)
            # Copies: a view would keep the whole batch in memory.
            self.known.update((i, one.clone()) for i, one in zip(new, features, strict=True))
        return torch.stack([self.known[index] for index in indices])

    def mean(self, indices: Int64) -> Tensor:
        """The mean features (N, ...) of each row of (N, S) indices."""
        return self(indices.ravel().tolist()).unflatten(0, indices.shape).mean(dim=1)
