"""Shards that one job embeds and stores in one file: no finished shard is embedded again.

A job writes every finished shard to files of its own, in the folder `00000.shards/` beside its
outputs `00000.*`, and joins them when all are there. After a kill the next job goes on from them.
Of a finished job the folder has second names of the outputs (hard links, which take no space):
Snakemake deletes outputs before their job runs again, and shards that stayed are copied from there.
A run that forces the job removes the folder first (rules/start.smk).
"""

import hashlib
import json
import logging
import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import (
    read_array,
    read_table,
    write_table,
    write_text,
)
from workflow_scripts.lib.embeddings import write_rows

ARRAY, INDEX, QUARANTINED = ENDINGS = (".npy", ".parquet", ".quarantine.parquet")
LAST = "last"  # what the job before made


class Shards:
    """The shards of a job, of which some may be finished.

    embeddings: path of the job's array; its index and quarantine differ by ENDINGS. names: of its
    shards, in order, without a dot; a name tells all that decides what is in the shard.
    """

    def __init__(self, embeddings, names):
        self._stem = str(embeddings).removesuffix(ARRAY)
        self._folder = Path(f"{self._stem}.shards")
        self._names = names
        self._take_over()
        for file in self._folder.glob("*"):
            if file.name.partition(".")[0] not in names:
                file.unlink()
        if finished := sum(name in self for name in names):
            logging.info("%d of %d shards are finished", finished, len(names))

    def __contains__(self, name):
        return Path(self._file(name, INDEX)).exists()

    def write(self, name, blocks, dim):
        """Store the embeddings of a shard, float [b, dim] each; returns their note for `finish`."""
        return write_rows(self._file(name, ARRAY), blocks, (None, dim))

    def finish(self, name, note, index, quarantine):
        """Store what belongs to n embeddings: index, of n rows, and quarantine, Tables."""
        write_table(self._file(name, QUARANTINED), quarantine)
        write_table(self._file(name, INDEX), index, {"array": note})  # with it, it is finished

    def join(self, meta):
        """Write the job's outputs, when all shards are finished. meta: of the index, a dict."""
        arrays = [
            read_array(*(self._file(name, e) for e in (ARRAY, INDEX))) for name in self._names
        ]
        indexes = [read_table(self._file(name, INDEX)) for name in self._names]
        quarantines = [read_table(self._file(name, QUARANTINED)) for name in self._names]
        rows, rejected = list(map(len, arrays)), list(map(len, quarantines))
        meta["array"] = write_rows(self._stem + ARRAY, arrays, (sum(rows), arrays[0].shape[1]))
        write_table(self._stem + INDEX, pa.concat_tables(indexes).combine_chunks(), meta)
        write_table(self._stem + QUARANTINED, pa.concat_tables(quarantines).combine_chunks())
        # A single shard never stays, and the local copies of a storage are there for a moment.
        if len(self._names) == 1 or ".snakemake" in self._folder.parts:
            shutil.rmtree(self._folder)
        else:
            self._keep(rows, rejected)

    def _file(self, name, ending):
        return f"{self._folder}/{name}{ending}"

    def _keep(self, rows, rejected):
        """Give the outputs second names, and remove the files of single shards."""
        try:
            for ending in ENDINGS:
                os.link(self._stem + ending, self._file(LAST, ending))
        except OSError as error:
            logging.info("no second names (%s): a changed shard will embed all of this job", error)
        made = {ending: _digest(self._stem + ending) for ending in ENDINGS}
        note = {"names": self._names, "rows": rows, "rejected": rejected, "made": made}
        write_text(self._file(LAST, ".json"), json.dumps(note) + "\n")
        for file in self._folder.iterdir():
            if file.name.partition(".")[0] != LAST:
                file.unlink()

    def _take_over(self):
        """Copy the shards that stayed from what the job before made, if nobody changed it."""
        try:
            note = json.loads(Path(self._file(LAST, ".json")).read_text("utf-8"))
            if note["made"] != {ending: _digest(self._file(LAST, ending)) for ending in ENDINGS}:
                return
        except FileNotFoundError:
            return
        array = read_array(self._file(LAST, ARRAY))
        index, quarantine = (read_table(self._file(LAST, e)) for e in (INDEX, QUARANTINED))
        ends = [np.cumsum([0, *note[key]]).tolist() for key in ("rows", "rejected")]
        for name, (start, end), (first, stop) in zip(
            note["names"], *map(pairwise, ends), strict=True
        ):
            if name in self._names and name not in self:
                array_note = self.write(name, [array[start:end]], array.shape[1])
                self.finish(name, array_note, index[start:end], quarantine[first:stop])


def _digest(path):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
