"""What a study uses of the ETL Character Database: the keys of ``data.etl``."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from omegaconf import MISSING

from handwriting.config import Count, Natural
from handwriting.ranges import Within


class Preparation(StrEnum):
    """How the images are prepared."""

    canonical = "canonical"  # the form that all sources share
    plain = "plain"  # padded to a square, resized
    smooth = "smooth"  # blurred, set to zero below Otsu's threshold, cropped to a square


@dataclass
class Etl:
    """Which sets are used, how their images are prepared, and who is in which split.

    A count of writers that is null is an equal share of the writers that the other splits leave.
    With 0 validation and 0 test writers, encoders and generators can be trained, but not tested.
    """

    folder: str = "${workspace:}/data/ETL"  # contains the unpacked files, at any depth
    output: str = MISSING
    train_sets: list[str] = field(default_factory=list)  # such as ETL9G
    train_writers: Count | None = None  # of each set
    evaluation_sets: list[str] = field(default_factory=list)  # may be the same sets; other writers
    validation_writers: Natural | None = None  # of each set
    test_writers: Natural | None = None  # of each set
    samples_per_class: Count | None = None  # at most, in training, by as many writers as possible
    max_quality: Annotated[int, Within(0, 3)] | None = None  # 0: clean images only; null: all
    model_sets: bool = False  # the printed models in ETL8 and ETL9, as one more writer
    co59: str | None = None  # euc_co59.dat, which only ETL2 needs
    preparation: Preparation = Preparation.canonical
    png: bool = False  # also write the original images, with manifests
