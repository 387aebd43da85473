"""The one form in which names and labels are compared, and what no text encoder could read."""

import re
import unicodedata

from workflow_scripts.lib.errors import InputError

# Our choice: longer names risk being cut, since CLIP reads 77 tokens, of about 4 letters each.
MAX_CHARACTERS = 200
# Control characters but for tab and line ends, and the mark of a character lost in a conversion.
BAD_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")


def normalise(name):
    """A concept's or label's canonical name: NFKC, lower case, single spaces, no underscores.

    Labels are matched to concepts by this form. NFKC rather than NFC is our choice: ligatures and
    full-width letters become plain ones, as CLIP's tokenizer does, so that no name is there twice;
    it also turns m² into m2. Invisible characters (Unicode category Cf: zero-width spaces and
    joiners, soft hyphens, byte order marks, marks of direction) go, and ’ becomes '.
    """
    if not name.isascii():
        name = "".join(c for c in name if unicodedata.category(c) != "Cf").replace("’", "'")
        # Twice, since lower case can bring back what NFKC replaces.
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).lower())
    return " ".join(name.lower().replace("_", " ").split())


def checked_name(name, place):
    """The normalised name. Raises InputError if no text encoder would read it as it is meant.

    place: where the name is, for the message.
    """
    if bad := BAD_CHARACTERS.search(name):
        raise InputError(
            f"{place}: character U+{ord(bad[0]):04X} is no text, often the trace of a wrong "
            "conversion; correct the name."
        )
    concept = normalise(name)
    if len(concept) > MAX_CHARACTERS:
        raise InputError(
            f"{place}: a name of {len(concept)} characters, of which a text encoder reads only the "
            f"first 77 tokens; shorten it to at most {MAX_CHARACTERS} characters."
        )
    return concept
