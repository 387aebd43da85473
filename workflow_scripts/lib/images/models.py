"""Config blocks of the image sets."""

from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.lib.benchmarks.models import AnyDerivation
from workflow_scripts.lib.config.base import Block, Count, Share, optional, or_path, whole
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.images.kinds import LABELS

Shards = whole(ge=1, le=100_000)
FILES = "Of a folder, a pattern of the files to take, e.g. *train*; else all are taken."


class ImageList(Block):
    """A table that names image files."""

    path: str = Field(
        description="CSV or Parquet file with the column `path` and optionally `label`, or a .txt "
        'file with "path label" or a path alone on each line (OpenOOD\'s lists; the label -1 is '
        "none)."
    )
    root: str = optional("Folder that the paths are relative to and lie below; else the table's.")
    label: str = optional("Column of the labels in a table; else `label` if there is one.")


class TarImages(Block):
    """Archives of images. A plain string is the path."""

    path: str = Field(description="A .tar, .tar.gz or .tgz file or a folder of such.")
    files: str = optional(FILES)
    ids: Literal["member", "shard"] = Field(
        "member",
        description="Image ids from the members' names, or these after the archive's name, for "
        "archives that number their images alike.",
    )


class ParquetImages(Block):
    """Tables that hold images."""

    path: str = Field(description="A .parquet file or a folder of such.")
    files: str = optional(FILES)
    image: str = optional("Column of the images; else the marked or only possible one.")
    label: str = optional("Column of the labels; else `label` if there is one.")
    ids: Literal["path", "row"] = Field(
        "path",
        description="Image ids from the images' `path`s where they have one, or from file and row.",
    )


class LabelNames(Block):
    """A table that names labels. A plain string is the path."""

    path: str = Field(
        description="Table with a name per label (.csv, .tsv, .parquet), lines of a WordNet id and "
        "names (.txt, as LOC_synset_mapping.txt), or WordNet's database folder."
    )
    label: str = Field("label", description="Column of the labels in a table.")
    name: str = Field("name", description="Column of the names in a table.")


class Groups(Block):
    """Images that belong together: of one video, patient or scene. A plain string is the path."""

    path: str = optional("Table with a row per image (.csv, .tsv, .parquet).")
    image_id: str = Field("image_id", description="Column of the image ids in the table.")
    group: str = Field("group", description="Column of the groups in the table.")
    folder: bool = Field(False, description="Whether the folder of an image is its group.")

    @model_validator(mode="after")
    def _from_one_place(self):
        if self.folder == (self.path is not None):
            raise wrong(": give a table (path) or folder: true, one of the two")
        return self


class Expected(Block):
    """What an image set should hold."""

    images: Count = optional("Number of images.")
    classes: Count = optional("Number of distinct labels.")


class ImageSet(Block):
    """Images from one of folder, list, tar or parquet, or derived from another set."""

    derive: AnyDerivation = optional("Take images of another set.")
    folder: str = optional("Folder with images, searched with its sub-folders.")
    list: ImageList = optional("Image files named by a table.")
    tar: or_path(TarImages) = optional("Archives of images. A plain string is the path.")
    parquet: ParquetImages = optional("Images in tables, as Hugging Face datasets stores them.")
    labels: Literal["subfolder", "none", "column", "cls", "shard"] = optional(
        "Where labels for the evaluation come from. subfolder (default of folder and tar) is the "
        "first folder in the id, column (default of list and parquet) a column, cls a member "
        "key.cls, .json or .txt beside key.jpg in a tar, shard the name of the tar (an archive per "
        "class, its name is then also the first folder in the ids)."
    )
    label_names: or_path(LabelNames) = optional(
        "Names of the labels where these are ids or numbers, for the comparison of labels with "
        "concepts. A plain string is the path. A derived set has those of its source."
    )
    groups: or_path(Groups) = optional(
        "Which images belong together; bootstrap intervals then resample groups instead of images. "
        "Groups of equal name in two sets are one. A plain string is the path of a table. A "
        "derived set has those of its source."
    )
    shards: Shards = Field(
        1, description="Number of shards. A changed image re-embeds its shard only."
    )
    jobs: Shards = Field(
        64,
        description="Number of jobs that embed the shards, at most one per shard. Each writes one "
        "file, and after a kill or a change goes on from its finished shards.",
    )
    maximum_quarantine: Share = Field(
        0.2,
        description="Share of the images that may be unusable; more is an error. Files that are no "
        "images by name and header do not count.",
    )
    expected: Expected = optional(
        "What the set should hold; only `snakemake check_image_sets` reads it."
    )

    @model_validator(mode="after")
    def _from_one_place(self):
        """Images come from one place, and labels from where they can be there, by default the
        first of LABELS."""
        given = [key for key in ("derive", *LABELS) if getattr(self, key) is not None]
        if len(given) > 1:
            raise wrong(f": give one of {', '.join(given)}, not both")
        for key in ("label_names", "groups"):
            if self.derive and getattr(self, key):
                raise wrong(
                    f".{key}: a derived set has those of its source, {self.derive.source!r}; give "
                    "them there"
                )
        held_by = given[0] if given else "no images"
        if self.labels == "column" and held_by in ("list", "parquet"):  # the user wants labels
            block = getattr(self, held_by)
            block.label = block.label or "label"
        valid = LABELS.get(held_by, LABELS["folder"])
        self.labels = self.labels or valid[0]
        if self.labels not in valid:
            raise wrong(
                f".labels: {self.labels!r} does not go with {held_by}; valid: {', '.join(valid)}"
            )
        return self
