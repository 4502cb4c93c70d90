"""The record of a study: what it was made of."""

from conftest import ComposeSmoke

from handwriting.corpus.corpus import open_corpus
from handwriting.corpus.record import record_study
from handwriting.runs.run import run_folder
from handwriting.storage.json_files import plain, read_json


def test_all_that_a_study_is_made_of_is_recorded(smoke: ComposeSmoke) -> None:
    config = smoke("seed=7", "data.characters=休木", "pipeline.generators=[vae]")
    corpus = open_corpus(config)
    record_study(config, corpus)
    study = read_json(run_folder(config) / "study.json")
    assert study["config"] == plain(config)
    assert study["versions"].keys() >= {"python", "torch"}
    assert study["data"].keys() == {"train", "validation", "test", "writers", "fonts"}
    assert len(set(study["data"].values())) == 4  # the training writers stand there twice
