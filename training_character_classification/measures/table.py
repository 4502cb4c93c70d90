"""The measures of a source of images: what each is called and what it means."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measure of a source of images beside handwriting.

    Attributes:
        title: in tables.
        meaning: in one sentence.
        best: what is best: ``high``, ``low``, or the value of people's own images.
    """

    title: str
    meaning: str
    best: str


MEASURES = {
    "content_accuracy": Measure(
        "read as intended", "share that the judge reads as the intended character", "high"
    ),
    "diversity": Measure(
        "diversity",
        "distance between images of one character, as a multiple of that between different "
        "people's; 0: all the same",
        "1",
    ),
    "style_match": Measure(
        "attributed to the intended writer",
        "share of images attributed to the intended writer",
        "high",
    ),
    "domain_auc": Measure(
        "real-vs-generated AUC",
        "how well a linear probe tells the images from handwriting; 1: always",
        "0.5",
    ),
    "nearest_distance": Measure(
        "distance to the nearest",
        "distance to the nearest image that generators saw, as a multiple of that of an unseen "
        "person's; 0: copies",
        "1",
    ),
    "frechet_distance": Measure(
        "Fréchet distance",
        "distance between the means and covariances of the judge's features, in units of people's "
        "own variance; 0: the same",
        "low",
    ),
    "kernel_distance": Measure(
        "kernel distance",
        "distance between the distributions of those features, character by character; 0: the same",
        "low",
    ),
    "precision": Measure(
        "precision",
        "share of the images that are as near to one of people's as the next of people's is: low "
        "where images are unlike handwriting",
        "high",
    ),
    "recall": Measure(
        "recall",
        "share of people's images that are as near to one of these as the next of these is: low "
        "where people's variety is missing",
        "high",
    ),
    "density": Measure(
        "density",
        "how many of people's images one of these is as near to as the next of people's is, on "
        "average",
        "1",
    ),
    "coverage": Measure(
        "coverage",
        "share of people's images that have one of these as near as the next of people's",
        "0.5",
    ),
    "stroke_width": Measure(
        "stroke width",
        "distance between the distributions of stroke widths, in deviations of people's",
        "low",
    ),
    "grey_level": Measure("grey level", "likewise, of the mean level of ink", "low"),
    "centroid": Measure("centroid", "likewise, of where the ink is, across and down", "low"),
}
