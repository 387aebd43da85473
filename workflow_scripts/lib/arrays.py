"""One code for NumPy arrays and torch tensors: the Python array API (array-api-compat).

A function asks its arguments what they are, `xp = array_namespace(x)`, and calls `xp.max`, `xp.exp`
and so on. NumPy arrays stay NumPy, and import no torch; tensors stay where they are.
"""

import numpy as np
from array_api_compat import array_namespace, device, to_device


def beside(array, other):
    """An array of the kind of another one, and on its device; NumPy beside NumPy is not copied."""
    return array_namespace(other).asarray(array, device=device(other))


def to_numpy(array):
    """An array or tensor as NumPy's."""
    return np.asarray(to_device(array, "cpu"))
