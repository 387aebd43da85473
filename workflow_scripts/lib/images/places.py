"""What opens an image: the path of its file, or its archive and the member in it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_table


def paths_of(ids, root, locators=None):
    """(path, member) of images, two pyarrow arrays [n] of strings, null where there is none.

    ids: pyarrow array [n] of image ids, POSIX paths below the root. root: the folder, or of images
    in archives the archive or its folder; None if nothing is known of files, as of precomputed
    embeddings. locators: the table of `containers.write_locators`, of images in archives only. A
    member has the name that the tar has; of Parquet files it is the image's id.
    """
    nothing = pa.nulls(len(ids), pa.string())
    if root is None:
        return nothing, nothing
    if locators is None:
        return _below(root, ids), nothing
    table = read_table(locators, ["image_id", "file", "member"])
    table = table.take(pc.index_in(ids, table["image_id"])).combine_chunks()
    folder = Path(root).parent if Path(root).is_file() else root
    members = pc.coalesce(table["member"].combine_chunks(), ids)
    return _below(folder, table["file"].combine_chunks()), members


def _below(folder, files):
    return pc.binary_join_element_wise(str(Path(folder)), files, "/")
