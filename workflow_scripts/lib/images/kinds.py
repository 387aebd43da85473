"""What can hold the images of a set. Light, for the rules and the config; no job imports it.

The container of a kind is CONTAINER in the module of this package that is called as the kind.
"""

# Kind -> where the labels of its images can come from, the default first.
LABELS = {
    "folder": ("subfolder", "none"),
    "list": ("column", "subfolder", "none"),
    "tar": ("subfolder", "none", "cls", "shard"),
    "parquet": ("column", "subfolder", "none"),
}
# Kinds whose images are no files of their own.
ARCHIVES = ("tar", "parquet")
