import sys
import unicodedata

import pytest

from workflow_scripts.lib.texts.names import normalise


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Red_Fox", "red fox"),
        ("  great \t white__shark\u00a0", "great white shark"),
        (unicodedata.normalize("NFD", "CAFÉ"), unicodedata.normalize("NFC", "café")),
        ("well-known", "well-known"),
        ("__", ""),
        ("ﬂying ﬁsh", "flying fish"),  # ligatures, full width: NFKC
        ("Ｒｅｄ＿Ｆｏｘ　１", "red fox 1"),
        ("ℋ²", "h2"),  # lower case after NFKC
        ("Straße", "straße"),  # lower case, no case folding
        ("\u200bfox\u200d hole\ufeff\u200e\u2060", "fox hole"),
        ("for\u00adest", "forest"),
        ("e\u200b\u0301clair", "éclair"),  # composed once the zero-width space is gone
        ("Geoffroy’s Cat", "geoffroy's cat"),
        ("\u200b\ufeff", ""),
    ],
)
def test_normalise(name, expected):
    assert normalise(name) == expected
    assert normalise(normalise(name)) == expected


def test_normalise_twice_is_normalise_once():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs"):
            once = normalise(f"A{chr(code)}\u0301_b")
            assert normalise(once) == once, hex(code)
