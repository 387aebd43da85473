"""One script per rule; what they share is in `lib`."""

import gc

# Importing torch makes a million objects, none of them garbage: looking for some less often saves
# a seventh of the import.
gc.set_threshold(100_000, 20, 100)
