"""What may be wrong with a folder of pictures: a literal a kind, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of trouble.

    Attributes:
        name: what JSON calls it.
        severity: ``error`` spoils what is learned or measured, or stops it; ``warning`` may;
            ``note`` tells what reslab does with it by itself.
        what: of one or several files, as a sentence without its end.
        remedy: what to do.
        leave_out: whether the files are to be left out of training.
    """

    name: str
    severity: Severity
    what: str
    remedy: str
    leave_out: bool = False


KINDS: tuple[Kind, ...] = (
    # The folder.
    Kind(
        name="classes_differ",
        severity="error",
        what="classes of other splits that training does not have",
        remedy="move their pictures, or add pictures of them to training",
    ),
    Kind(
        name="class_missing",
        severity="warning",
        what="classes of training without pictures in another split",
        remedy="add some, or merge the splits and let reslab split them",
    ),
    Kind(
        name="empty_class",
        severity="warning",
        what="folders of classes without pictures, which are no class",
        remedy="delete them or add pictures",
    ),
    Kind(
        name="single_image",
        severity="warning",
        what="classes with a single picture, which is for training, so that nothing judges them",
        remedy="add pictures, or merge classes",
    ),
    Kind(
        name="similar_classes",
        severity="warning",
        what="classes whose names differ in case, spaces or marks alone",
        remedy="merge them, or rename one",
    ),
    Kind(
        name="imbalance",
        severity="warning",
        what="classes with less than a tenth of the pictures of the largest",
        remedy="add pictures, or set data.sampling=balanced or training.class_weights=balanced",
    ),
    Kind(
        name="hidden",
        severity="note",
        what="hidden files and folders and leftovers of other programs, which are not looked at",
        remedy="nothing needs to be done",
    ),
    Kind(
        name="other_format",
        severity="warning",
        what="pictures of formats that reslab does not read, which are not looked at",
        remedy="convert them to PNG or JPEG",
    ),
    Kind(
        name="no_image",
        severity="note",
        what="files that are no pictures, which are not looked at",
        remedy="nothing needs to be done",
    ),
    Kind(
        name="outside",
        severity="warning",
        what="files and folders outside of the classes, which are not looked at",
        remedy="move them into the folder of a class, or away",
    ),
    Kind(
        name="unlabelled",
        severity="warning",
        what="folders of splits with nothing that tells the classes of their pictures, which are "
        "not looked at",
        remedy="sort their pictures into folders of classes, as torchvision wants them, or name a "
        "manifest; for ImageNet's val put LOC_val_solution.csv beside it",
    ),
    Kind(
        name="damaged_shard",
        severity="error",
        what="shards that are cut off or damaged, of which the rest is not read",
        remedy="restore them from a copy",
    ),
    Kind(
        name="no_class",
        severity="warning",
        what="pictures of shards with nothing that tells their class, which are not looked at",
        remedy="write a file .cls, or .json with a label, beside each",
    ),
    Kind(
        name="twice",
        severity="warning",
        what="further pictures of one key of a shard, which are not looked at",
        remedy="give each a key of its own",
    ),
    Kind(
        name="unreadable_folder",
        severity="error",
        what="folders that may not be read",
        remedy="change their permissions",
    ),
    Kind(
        name="loop",
        severity="warning",
        what="links to themselves or a folder that they lie in, which are not followed",
        remedy="delete them",
    ),
    # A file.
    Kind(
        name="missing",
        severity="error",
        what="files that do not exist",
        remedy="restore them, or take them out of the manifest",
        leave_out=True,
    ),
    Kind(
        name="unreadable",
        severity="error",
        what="files that may not be read",
        remedy="change their permissions",
        leave_out=True,
    ),
    Kind(
        name="empty",
        severity="error",
        what="files without content",
        remedy="restore them from a copy, or leave them out",
        leave_out=True,
    ),
    Kind(
        name="not_a_picture",
        severity="error",
        what="files whose content is not what their name says: no JPEG, PNG, WebP, BMP or GIF",
        remedy="convert them, or leave them out",
        leave_out=True,
    ),
    Kind(
        name="undecodable",
        severity="error",
        what="pictures that are cut short or damaged",
        remedy="restore them from a copy, or leave them out",
        leave_out=True,
    ),
    Kind(
        name="damaged",
        severity="warning",
        what="pictures that can be decoded, with damage on the way",
        remedy="look at them, and leave out those that are spoilt",
        leave_out=True,
    ),
    Kind(
        name="too_large",
        severity="error",
        what="pictures of more pixels than are decoded",
        remedy="scale them down",
        leave_out=True,
    ),
    Kind(
        name="wrong_suffix",
        severity="warning",
        what="pictures of another format than their name says",
        remedy="reslab goes by the content; rename them for other programs",
    ),
    Kind(
        name="unlisted",
        severity="warning",
        what="pictures whose name has no suffix of one, which are not looked at",
        remedy="rename them",
    ),
    Kind(
        name="blank",
        severity="warning",
        what="pictures of a single colour",
        remedy="look whether they belong here",
        leave_out=True,
    ),
    Kind(
        name="tiny",
        severity="warning",
        what="pictures with less than half of the rows or columns that the net sees",
        remedy="choose a smaller data.image_size, or leave them out",
    ),
    Kind(
        name="elongated",
        severity="warning",
        what="pictures more than three times as long as wide, of which fit crop shows a part",
        remedy="set --fit pad, or cut them",
    ),
    # How a file is stored.
    Kind(
        name="rotated",
        severity="note",
        what="pictures that their EXIF or XMP turns or mirrors, which reslab does",
        remedy="nothing needs to be done; other programs may show them lying",
    ),
    Kind(
        name="transparent",
        severity="note",
        what="pictures with transparent pixels, which are laid on data.background",
        remedy="choose data.background: black, grey or white",
    ),
    Kind(
        name="vanishing",
        severity="warning",
        what="transparent pictures of which nothing can be seen on data.background",
        remedy="choose another data.background: black, grey or white",
    ),
    Kind(
        name="grey",
        severity="note",
        what="grey pictures among coloured ones, whose channels become equal",
        remedy="nothing needs to be done, unless a class has most of them",
    ),
    Kind(
        name="palette",
        severity="note",
        what="pictures with a palette, which is looked up",
        remedy="nothing needs to be done",
    ),
    Kind(
        name="cmyk",
        severity="note",
        what="CMYK pictures, which become RGB without a colour profile",
        remedy="convert them where colours matter",
    ),
    Kind(
        name="sixteen_bit",
        severity="note",
        what="pictures of 16 bits a pixel, of which the upper 8 are used",
        remedy="stretch their contrast beforehand where the lower bits matter",
    ),
    Kind(
        name="animated",
        severity="note",
        what="animations, of which the first frame is used",
        remedy="extract the frames where others matter",
    ),
    # Several files.
    Kind(
        name="conflict",
        severity="error",
        what="equal pictures in different classes",
        remedy="leave out those that are in the wrong one",
    ),
    Kind(
        name="leak",
        severity="error",
        what="equal pictures in different splits, so that what was learned is tested",
        remedy="leave them out of one of the splits",
        leave_out=True,
    ),
    Kind(
        name="duplicate",
        severity="warning",
        what="equal pictures in one class",
        remedy="leave out all but one",
        leave_out=True,
    ),
    Kind(
        name="near_leak",
        severity="warning",
        what="nearly equal pictures in different splits",
        remedy="look at them, and keep what shows the same in one split (a manifest's group does)",
    ),
    Kind(
        name="near_duplicate",
        severity="warning",
        what="nearly equal pictures, which the split may divide",
        remedy="look at them, and name what shows the same as a group in a manifest",
    ),
)
