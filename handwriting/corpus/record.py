"""What a study was made of: ``study.json`` in its folder.

The whole resolved configuration, versions, commit and hashes of the images that go in.
"""

import hashlib
from typing import Any

import numpy as np

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.images.packed import PackedImages, in_parts
from handwriting.parallel.ranks import main_only
from handwriting.runs.run import run_folder, versions
from handwriting.storage.json_files import plain, write_json
from handwriting.storage.places import git_commit


@main_only
def record_study(config: Config, corpus: Corpus) -> None:
    """Write what the study is made of into its folder, which the caller has locked."""
    write_json(run_folder(config) / "study.json", {"config": plain(config), **facts_of(corpus)})


def facts_of(corpus: Corpus) -> dict[str, Any]:
    """What a study depends on beside its configuration."""
    splits = {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}
    parts = {**splits, **corpus.sources}
    # The training writers stand there twice, and are read once.
    hashes = {key: _hash(images) for key, images in {id(p): p for p in parts.values()}.items()}
    data = {name: hashes[id(images)] for name, images in parts.items()}
    return {"versions": versions(), "commit": git_commit(), "data": data}


def _hash(images: PackedImages) -> str:
    digest = hashlib.sha256()
    for array in (images.labels, *in_parts(images.images)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
