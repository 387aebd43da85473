"""Rows of tables that grow: a set has millions, and in columns they take a fourth of the memory."""

from collections import deque

import pyarrow as pa
import pyarrow.compute as pc

pa.set_memory_pool(pa.system_memory_pool())  # others hold half as much again for growing tables
BLOCK = 4096  # rows that exist as objects at a time
ROW_GROUP = 65_536  # rows that are stored and read together


class Rows:
    """Rows of a growing table: tuples in the order of the schema's columns."""

    def __init__(self, schema):
        self._schema = schema
        self._batches, self._last = deque(), []

    def append(self, row):
        self._last.append(row)
        if len(self._last) == BLOCK:
            self._pack()

    def table(self):
        """All rows, a pyarrow Table."""
        self._pack()
        return pa.Table.from_batches(self._batches, self._schema)

    def used_up(self):
        """Yield the rows for the last time: their memory is free for what comes of them."""
        self._pack()
        while self._batches:
            yield from _tuples(self._batches.popleft())

    def _pack(self):
        if self._last:
            columns = zip(zip(*self._last, strict=True), self._schema, strict=True)
            arrays = [pa.array(values, field.type) for values, field in columns]
            self._batches.append(pa.record_batch(arrays, schema=self._schema))
            self._last = []


def tuples(table):
    """Yield the rows of a pyarrow Table as tuples."""
    for batch in table.to_batches(BLOCK):
        yield from _tuples(batch)


def _tuples(batch):
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def in_order(table, names):
    """A Table with the rows sorted by these columns."""
    order = pc.sort_indices(table, [(name, "ascending") for name in names])
    return pa.table([taken(column, order) for column in table.columns], schema=table.schema)


def taken(column, numbers):
    """The values of a ChunkedArray at these numbers, an Array, in chunks of ROW_GROUP."""
    pa.default_memory_pool().release_unused()
    kind = column.type
    # A single array of strings would end at 2 GiB.
    values = column.cast(pa.large_string() if pa.types.is_string(kind) else kind).combine_chunks()
    parts = [numbers.slice(i, ROW_GROUP) for i in range(0, len(numbers), ROW_GROUP)]
    return pa.chunked_array([values.take(part).cast(kind) for part in parts], kind)
