"""Line drawings: ink thinned to its centre lines, which are redrawn with one thin pen.

Only the course of the strokes is left of the handwriting. The pen, its pressure and the ink are
gone: they are what a style has to restore.
"""

from pathlib import Path

import cv2
import numpy as np
from skimage.morphology import skeletonize

from handwriting.images.canonical import Uint8
from handwriting.images.manifest import CHUNK_SIZE
from handwriting.images.packed import (
    PackedImages,
    UnpackedImages,
    cached,
    in_parts,
    pixels_key,
)
from handwriting.parallel.progress import progress
from handwriting.storage.keys import content_key

VERSION = 1  # raise it when the same image gives another drawing
THINNED_PX = 128  # side to which smaller images are enlarged before thinning
PEN = 1 / 32  # its width, of the image's side


def line_drawings(images: Uint8) -> Uint8:
    """Line drawings (N, H, W) of canonical images, in the same places.

    T. Zhang, C. Suen, A Fast Parallel Algorithm for Thinning Digital Patterns, 1984.
    """
    drawings = np.empty_like(images)
    size_px = images.shape[-1]
    factor = max(1, THINNED_PX // size_px)
    width_px = max(1, round(PEN * factor * size_px))
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width_px, width_px))
    for image, drawing in zip(images, drawings, strict=True):
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        lines = cv2.dilate(skeletonize(large > 127).astype(np.uint8) * 255, pen)
        cv2.resize(lines, (size_px, size_px), drawing, interpolation=cv2.INTER_AREA)
    return drawings


def packed_line_drawings(packed: PackedImages, cache_dir: Path) -> PackedImages:
    """The line drawing of every image, cached by content."""
    whose = packed.writer_names, packed.writers.tobytes().hex()
    key = content_key(VERSION, pixels_key(packed), packed.characters, *whose)

    def make() -> UnpackedImages:
        num_parts = -(-len(packed) // CHUNK_SIZE)
        parts = progress(in_parts(packed.images), num_parts, "thinning")
        return UnpackedImages(
            map(line_drawings, parts), packed.labels, packed.writers, packed.characters,
            packed.writer_names, packed.size_px,
        )  # fmt: skip

    return cached(cache_dir / "line_drawings" / key, make)
