"""Which images, how they are split, and what is done to them at random."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from reslab.catalog.data_names import why_unknown
from reslab.catalog.datasets import Background, FitPolicy
from reslab.errors import UserError
from reslab.spec.sizes import parse_bytes
from reslab.spec.values import Auto, Count, Fraction, Frozen, Seed


class AugmentSpec(Frozen):
    """What is done at random to training images, and to no others."""

    pad: Annotated[int, Field(ge=0, le=64)] | Auto = Field(
        "auto", description="pixels added on each side before cropping at random, see fill"
    )
    fill: Background | Auto = Field(
        "auto",
        description="what pad adds: black, grey or white; auto: data.background where the pictures "
        "are one's own, else black",
    )
    crop: Count | Auto = Field(
        "auto", description="side of the random crop in pixels; auto: the image's own size"
    )
    flip: bool | Auto = Field(
        "auto",
        description="mirror half of the images, unless left and right matter; auto: where the data "
        "set allows it, and all pictures of one's own",
    )
    trivial: bool = Field(
        False,
        description="one of 14 changes of colour or shape for each image, drawn with its strength: "
        "TrivialAugment",
    )
    cutout: Annotated[int, Field(ge=0)] = Field(
        0, description="side of a square that is greyed out at random, in pixels; 0: none"
    )
    erasing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="probability that a rectangle of any shape is greyed out; 0: none"
    )
    resized: Annotated[float, Field(gt=0, le=1)] | Auto = Field(
        "auto",
        description="least share of the image that a random part of it has, which is scaled up to "
        "crop, without pad; 1: no such; auto: 0.35 for pictures of 96 pixels and more, else 1",
    )
    colour: Fraction = Field(
        0.0,
        description="by how much brightness, contrast and saturation change at random at most; 0: "
        "not",
    )


class DataSpec(Frozen):
    """Which images, and how they are split."""

    name: str = Field(
        "digits",
        description="data set, see `reslab data list`; folder:NAME, wds:NAME or hf:NAME for "
        "pictures of one's own, which root names",
    )
    root: str | None = Field(
        None, description="folder that holds the data set's files, or is the data set"
    )
    validation: Annotated[int, Field(ge=0)] | Fraction | Auto = Field(
        "auto",
        description="images split off for validation, as a count or a fraction; 0: none; "
        "auto: 5,000 of 50,000 and more, else a tenth",
    )
    split_seed: Seed = Field(
        0, description="seed of the stratified split, apart so that seeds share one split"
    )
    limit: Count | None = Field(
        None, description="train on at most so many images, stratified; null: on all"
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="parts of the training images for cross-validation, each of which is held out "
        "once; null: none",
    )
    fold: Count | None = Field(
        None, description="the part of data.folds that is held out here; null: each in turn"
    )
    group_by: str | None = Field(
        None,
        description="text file with a line for each training image; images with equal lines (of "
        "one patient, scene, author) are never divided between training, validation and folds",
    )
    sampling: Literal["natural", "balanced"] = Field(
        "natural",
        description="how often images are drawn: each once an epoch, or those of rare classes "
        "again and again until all classes are drawn alike",
    )
    fit: FitPolicy = Field(
        "crop",
        description="how a picture becomes square: crop cuts its middle out, pad fills it up, "
        "squash scales its sides alone",
    )
    background: Background = Field(
        "grey",
        description="what pad fills in, and what lies behind transparent pixels; on grey neither "
        "black nor white drawings vanish",
    )
    image_size: Annotated[int, Field(ge=1, le=4096)] | Auto = Field(
        "auto",
        description="side of the images in pixels, of a folder of pictures; auto: by its pictures, "
        "224 at most",
    )
    test: Fraction = Field(
        0.15,
        description="share of a folder of pictures that is split off for the test, by class, where "
        "it has no folder test; 0: none",
    )
    exclude: str | None = Field(
        None, description="text file with paths of a folder's pictures to leave out, a line each"
    )
    cache_size: Annotated[int, Field(ge=0), BeforeValidator(parse_bytes)] = Field(
        20 * 2**30,
        description="bytes, or such as 500MB, that decoded pictures may take on the disk; what has "
        "no room is decoded again each time",
    )
    augment: AugmentSpec = AugmentSpec()

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if why := why_unknown(name):
            raise UserError(why)
        return name
