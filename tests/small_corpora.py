"""Word lists and a miniature of WordNet, for tests of corpora."""

from workflow_scripts.lib.texts.corpora import read_corpus

COLUMNS = ["concept", "pos", "source", "wnid", "lexname", "parents", "proper", "count"]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(table, columns=COLUMNS[:3]):
    return [tuple(row.values()) for row in table.select(columns).to_pylist()]


def concepts(*args):
    return read_corpus(*args)["concept"].to_pylist()


LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
# wndb(5WN): offset, lexicographer file, type, number of words (hex), words with their ids, number
# of pointers, pointers (symbol, offset, type, source/target) | gloss. 18 is noun.person, 5
# noun.animal, 15 noun.location, 6 noun.artifact, 3 noun.Tops.
NOUNS = """\
00000001 03 n 01 entity 0 000 | all there is
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a living thing
00000003 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 00000002 n 0000 @ 00000010 n 0000 | a
00000004 18 n 02 cad 0 dog 0 001 @ 00000001 n 0000 | someone who is morally reprehensible
00000005 06 n 01 dog 1 001 @ 00000001 n 0000 | a firedog
00000006 15 n 02 Paris 0 City_of_Light 0 001 @i 00000001 n 0000 | the capital of France
00000007 06 n 01 crane 0 001 @ 00000001 n 0000 | lifts and moves heavy objects
00000008 05 n 01 crane 1 001 @ 00000002 n 0000 | a bird
00000009 18 n 02 Crane 2 Hart_Crane 0 001 @i 00000001 n 0000 | a poet
00000010 05 n 01 pet 0 001 @ 00000002 n 0000 | kept for companionship
"""
# The index has lemmas in alphabetical order and their senses by frequency: lemma, type, number of
# senses, number of pointer symbols, the symbols, number of senses, of those tagged, offsets.
NOUN_INDEX = """\
animal n 1 2 @ ~ 1 1 00000002
beast n 1 2 @ ~ 1 1 00000002
cad n 1 1 @ 1 0 00000004
canis_familiaris n 1 1 @ 1 0 00000003
city_of_light n 1 1 @i 1 0 00000006
crane n 3 2 @ @i 3 1 00000009 00000008 00000007
dog n 3 1 @ 3 1 00000004 00000003 00000005
domestic_dog n 1 1 @ 1 0 00000003
entity n 1 1 ~ 1 1 00000001
hart_crane n 1 1 @i 1 0 00000009
paris n 1 1 @i 1 1 00000006
pet n 1 1 @ 1 1 00000010
"""
ADJECTIVES = """\
00000001 00 a 02 afraid(p) 0 scared 0 001 ! 00000002 a 0101 | filled with fear
00000002 00 a 01 unafraid(ip) 0 000 | not afraid
00000003 01 a 01 alpine 0 001 \\ 00000002 n 0101 | relating to the Alps
"""
ADJECTIVE_INDEX = """\
afraid a 1 1 ! 1 1 00000001
alpine a 1 1 \\ 1 0 00000003
scared a 1 0 1 1 00000001
unafraid a 1 0 1 0 00000002
"""


def write_wordnet(folder):
    """Write our miniature of WordNet's database files into a new folder; return the folder."""
    folder.mkdir()
    files = {"noun": (NOUNS, NOUN_INDEX), "adj": (ADJECTIVES, ADJECTIVE_INDEX)}
    for ending, (data, index) in files.items():
        write(folder / f"data.{ending}", LICENCE + data.replace("\n", "  \n"))
        write(folder / f"index.{ending}", LICENCE + index.replace("\n", "  \n"))
    return folder


def database(folder, ending, letter, synsets):
    """Write data.* and index.* as wndb(5WN) describes them."""
    senses = {}
    with (folder / f"data.{ending}").open("w") as file:
        file.write(LICENCE)
        for offset, number, words, hypernyms, instances in synsets:
            fields = [offset, f"{number:02d}", letter, f"{len(words):02x}"]
            for word in words:
                fields += [word, "0"]
                senses.setdefault(word.lower(), []).append(offset)
            pointers = [("@", h) for h in hypernyms] + [("@i", h) for h in instances]
            pointers.append(("~", "99999999"))  # hyponyms are not read
            fields.append(f"{len(pointers):03d}")
            for symbol, target in pointers:
                fields += [symbol, target, letter, "0000"]
            file.write(" ".join(fields) + ' | a gloss; "@ 00000001 n 0000 | not a pointer"  \n')
    with (folder / f"index.{ending}").open("w") as file:
        file.write(LICENCE)
        for word, offsets in senses.items():
            n = len(offsets)
            file.write(f"{word} {letter} {n} 2 @ ~ {n} 1 {' '.join(offsets)}  \n")
