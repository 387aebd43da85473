"""Numbers and lists as parts of sentences."""

import pandas as pd


def share(value):
    return f"{100 * value:.1f} %"


def span(low, high):
    """An interval in percent; "" if it is unknown."""
    return "" if pd.isna(low) else f" ({100 * low:.1f} to {100 * high:.1f})"


def listed(texts, limit):
    """The first texts with commas, and how many there are beside them."""
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more} more" if more > 0 else "")


def scored_by(detector, negatives):
    return detector if negatives == "none" else f"{detector} with {negatives}"


def sentence(parts):
    """The parts with semicolons, a capital first; "" without parts."""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
