"""The changes that the product's promise is proved with, and the rules that run after each.

`tests/test_recompute.py` makes every change in the miniature project of projects.py.
`python tests/changes.py` writes the matrix in workflow_scripts/README.md from this list.
"""

import os
import re
import shutil
from pathlib import Path

TARGET = Path(__file__).parent.parent / "workflow_scripts/README.md"
BEGIN, END = "<!-- matrix: begin -->\n", "<!-- matrix: end -->"

# Column of the matrix -> its rule.
COLUMNS = {
    "list": "list_images",
    "embed images": "embed_images",
    "corpus": "build_corpus",
    "embed texts": "embed_texts",
    "neighbours": "find_neighbours",
    "cluster": "cluster",
    "centres": "average_clusters",
    "match": "match_concepts",
    "name clusters": "name_clusters",
    "positives": "mine_concepts",
    "negatives": "mine_negatives",
    "score": "score_images",
    "OOD": "evaluate_ood",
    "decide": "decide_images",
    "outliers": "list_outliers",
    "flagged": "evaluate_decisions",
    "names": "evaluate_concepts",
    "cluster names": "tabulate_clusters",
    "clusters": "evaluate_clustering",
    "tables": "write_table",
    "duplicates": "find_duplicates",
    "their table": "collect_duplicates",
    "quarantine": "collect_quarantine",
    "plot": "plot_ood",
    "sheet": "draw_concepts",
    "means": "tabulate_means",
    "map": "draw_map",
    "pages": "explore_study",
    "pages of clusters": "explore_clusters",
    "pages of outliers": "explore_outliers",
    "provenance": "explore_provenance",
    "summary": "summarise",
}

PAGES = {"explore_study": 1, "explore_provenance": 1}
OOD_TABLES = PAGES | {
    "evaluate_ood": 1, "plot_ood": 1, "write_table": 2, "tabulate_means": 1, "summarise": 1,
}  # fmt: skip
FROM_SCORES = {"score_images": 3, "draw_map": 1, **OOD_TABLES}
FROM_NEGATIVES = {"mine_negatives": 3, **FROM_SCORES}
FROM_POSITIVES = FROM_NEGATIVES | {
    "evaluate_concepts": 1, "tabulate_clusters": 1, "write_table": 5,
}  # fmt: skip
FROM_MATCHES = FROM_POSITIVES | {
    "match_concepts": 1, "name_clusters": 2, "mine_concepts": 3, "draw_concepts": 1,
    "explore_clusters": 1,
}  # fmt: skip
# A clustering concerns neither the frequency method nor its score file.
FROM_CLUSTERS = FROM_POSITIVES | {
    "average_clusters": 2, "name_clusters": 2, "mine_concepts": 2, "mine_negatives": 2,
    "score_images": 2, "evaluate_clustering": 1, "write_table": 6, "draw_map": 0,
}  # fmt: skip
ONE_CLUSTERING = FROM_CLUSTERS | {
    "cluster": 1, "average_clusters": 1, "name_clusters": 1, "mine_concepts": 1,
    "mine_negatives": 1, "score_images": 1,
}  # fmt: skip
# The sheet of concepts, the map and the pages show the study's first encoder, clustering and seed.
FIRST_CLUSTERING = ONE_CLUSTERING | {"draw_concepts": 1, "draw_map": 1, "explore_clusters": 1}
FROM_TRAINING = FROM_MATCHES | {
    "find_neighbours": 1, "cluster": 2, "average_clusters": 2, "evaluate_clustering": 1,
    "write_table": 6,
}  # fmt: skip
DUPLICATES = {"find_duplicates": 1, "collect_duplicates": 1}
FROM_EMBEDDINGS = FROM_TRAINING | DUPLICATES | {"embed_images": 4, "collect_quarantine": 1}
FROM_DECISIONS = PAGES | {
    "decide_images": 3, "list_outliers": 2, "evaluate_decisions": 1, "write_table": 1,
    "summarise": 1, "draw_map": 1, "explore_outliers": 2,
}  # fmt: skip
RELISTED = {"list_images": 1, "embed_images": 1, "collect_quarantine": 1, **DUPLICATES}


def replace(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def replace_unseen(path, content):
    """Put another file in a file's place, of the same size and time."""
    status, new = path.stat(), path.with_name(".new")
    assert len(content) == status.st_size
    new.write_bytes(content)
    while new.stat().st_ctime_ns == status.st_ctime_ns:  # the clocks of file systems are coarse
        os.utime(new)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)


def script(project, name):
    return project.folder / "workflow_scripts" / name


def edit(name):
    """A change of the code of one file."""

    def change(project):
        with script(project, name).open("a") as file:
            file.write("\nUNUSED = 1\n")

    return change


def new_version(distribution):
    """Another version of an installed package, by metadata that Python finds first."""

    def change(project):
        folder = project.folder / "site" / f"{distribution}-99.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 99\n"
        )
        project.environment["PYTHONPATH"] = str(project.folder / "site")

    return change


def set_key(path, value):
    """A change of one key of the config, like "clusterings.kmeans_3.k"."""

    def change(project):
        config = project.read_config()
        *parents, key = path.split(".")
        block = config
        for parent in parents:
            block = block.setdefault(parent, {})
        block[key] = value
        project.write_config(config)

    return change


def in_turn(*changes):
    def change(project):
        for one in changes:
            one(project)

    return change


def nothing(project):
    pass


def comment(project):
    replace(script(project, "mine_concepts.py"), "\n\n\n", "\n\n\n# A remark.\n")
    replace(script(project, "mine_concepts.py"), '"""Mine', '"""We mine')


def unrelated_helper(project):
    script(project, "lib/unrelated.py").write_text("X = 1\n")


def images_in(project, folder):
    return sorted((project.folder / "photos" / folder).rglob("*.png"))


def image_edited(folder, other):
    def change(project):
        shutil.copyfile(images_in(project, other)[0], images_in(project, folder)[0])

    return change


def image_added(project):
    new = images_in(project, "train")[0].with_name("new.png")
    shutil.copyfile(images_in(project, "strange")[0], new)


def image_removed(project):
    images_in(project, "train")[0].unlink()


def image_edited_and_back(project):
    image = images_in(project, "train")[0]
    content = image.read_bytes()
    image_edited("train", "strange")(project)
    project.run("-n")
    image.write_bytes(content)


def images_touched(project):
    for image in images_in(project, "train"):
        os.utime(image)


def word_added(project):
    with (project.folder / "words.txt").open("a") as file:
        file.write("mountain\n")


def word_list_touched(project):
    os.utime(project.folder / "words.txt")


def tokenizer_added(project):
    (project.folder / "config/demo/tinyclip/spiece.model").touch()


def second_encoder(project):
    checkpoint = str(project.folder / "config/demo/tinyclip")
    set_key("encoders.second", {"method": "open_clip", "checkpoint": checkpoint})(project)


def encoder_added(project):
    second_encoder(project)
    set_key("studies.mini.encoders", ["tinyclip", "second"])(project)


def rate_changed(project):
    """Another rate in a study that has decided before."""
    set_key("studies.mini.calibrate", {"set": "stranger"})(project)
    project.run()
    set_key("studies.mini.false_alarm_rate", 0.2)(project)


def delete(pattern):
    def change(project):
        files = list((project.folder / "results").glob(pattern))
        assert files
        for file in files:
            file.unlink()

    return change


DRAWING = {"default": ["a drawing of a {}."]}
# (what is changed, how, the rules that run and how often). A heading has no change.
CHANGES = [
    ("nothing", nothing, {}),
    ("**images and words**",),
    ("a training image edited", image_edited("train", "strange"), RELISTED | FROM_TRAINING),
    ("a training image added", image_added, RELISTED | FROM_TRAINING),
    ("a training image removed", image_removed, RELISTED | FROM_TRAINING),
    ("a training image edited, looked at with `-n`, and put back", image_edited_and_back, {}),
    ("all training images touched", images_touched, {}),
    ("a test image edited", image_edited("test", "strange"),
     RELISTED | FROM_SCORES | {"evaluate_concepts": 1, "write_table": 4}),
    ("an OOD image edited", image_edited("strange", "stranger"),
     RELISTED | FROM_SCORES),
    ("a word added to the corpus", word_added,
     {"build_corpus": 1, "embed_texts": 1} | FROM_MATCHES),
    ("the word list touched", word_list_touched, {}),
    ("**config**",),
    ("a prompt", set_key("corpora.words.prompts", DRAWING), {"embed_texts": 1} | FROM_MATCHES),
    # An ablation of prompts would have no effect with prompts of the encoder's own.
    ("a prompt of one encoder",
     in_turn(set_key("encoders.tinyclip.prompts", DRAWING), set_key("ablate", [])),
     {"embed_texts": 1} | FROM_MATCHES),
    ("a file of a checkpoint's tokenizer", tokenizer_added, {"embed_texts": 1} | FROM_MATCHES),
    ("k of a clustering", set_key("clusterings.kmeans_3.k", 4), FIRST_CLUSTERING),
    ("k changed, looked at with `-n`, and changed back",
     in_turn(set_key("clusterings.kmeans_3.k", 4), lambda project: project.run("-n"),
             set_key("clusterings.kmeans_3.k", 3)), {}),
    ("two values of a clustering swapped",
     in_turn(set_key("clusterings.kmeans_3.restarts", 9),
             set_key("clusterings.kmeans_3.iterations", 2)), FIRST_CLUSTERING),
    ("a number of threads",
     in_turn(set_key("clusterings.kmeans_3.threads", 2), set_key("encoders.tinyclip.threads", 2)),
     {}),
    ("a parameter of a mining method", set_key("minings.clustermine.minimum_size", 2),
     FROM_POSITIVES | {"mine_concepts": 2, "mine_negatives": 2, "score_images": 2,
                       "draw_concepts": 1}),
    ("a parameter of negatives", set_key("negatives.rest.limit", 0.999), FROM_NEGATIVES),
    ("a parameter of a detector", set_key("detectors.mcm.temperature", 0.5),
     FROM_SCORES),
    ("a new OOD set", set_key("studies.mini.far", ["strange", "stranger"]),
     RELISTED | FROM_SCORES),
    ("a calibration set", set_key("studies.mini.calibrate", {"set": "stranger"}),
     RELISTED | FROM_SCORES | {**FROM_DECISIONS, "write_table": 3, "explore_clusters": 1}),
    ("a false-alarm rate of a calibrated study", rate_changed, FROM_DECISIONS),
    ("a seed added", set_key("studies.mini.seeds", [0, 1]), FROM_CLUSTERS | {"cluster": 2}),
    ("a new encoder", encoder_added,
     {**FROM_EMBEDDINGS, "embed_texts": 1, "draw_concepts": 0, "draw_map": 0,
      "explore_clusters": 0, "find_duplicates": 0, "collect_duplicates": 0}),
    ("a clustering of another encoder",
     in_turn(second_encoder, set_key("clusterings.kmeans_3.encoder", "second")),
     FIRST_CLUSTERING | {"embed_images": 2, "collect_quarantine": 1}),
    ("the share of images that may be lost",
     set_key("image_sets.photos.maximum_quarantine", 0.5),
     {"list_images": 1, "collect_quarantine": 1, "summarise": 1, **PAGES}),
    ("how the map is drawn", set_key("studies.mini.map", {"rows": 20}),
     {"draw_map": 1, "explore_provenance": 1}),
    ("how close near duplicates are", set_key("studies.mini.near_duplicates", 0.98),
     {**DUPLICATES, "summarise": 1, **PAGES}),
    ("**code**",),
    ("a comment or docstring in a script", comment, {}),
    ("a script", edit("mine_negatives.py"), FROM_NEGATIVES),
    ("TEMI", edit("lib/clustering/temi.py"), ONE_CLUSTERING),
    ("SCANv2, which the study does not use", edit("lib/clustering/scan.py"), {}),
    ("how open_clip models are run", edit("lib/encoders/open_clip.py"),
     FROM_EMBEDDINGS | {"embed_texts": 1}),
    ("how timm models are run", edit("lib/encoders/timm.py"), {}),
    ("how captions are read", edit("lib/texts/sources/captions.py"), {}),
    ("how folders are listed", edit("lib/images/folder.py"),
     {"list_images": 3, "collect_quarantine": 1, "summarise": 1, **PAGES}),
    ("how logs are written", edit("lib/job.py"), {}),
    ("which card a job takes", edit("lib/cards.py"), {}),
    ("a module that nothing imports", unrelated_helper, {}),
    ("**packages**",),
    ("a new version of timm", new_version("timm"), {}),
    ("a new version of open_clip", new_version("open_clip_torch"),
     FROM_EMBEDDINGS | {"embed_texts": 1}),
    ("a new version of faiss", new_version("faiss-gpu"), {}),
    ("**results**",),
    ("a table deleted", delete("tables/ood.csv"),
     {"write_table": 1, "tabulate_means": 1, "summarise": 1}),
    ("an intermediate file deleted", delete("similarity/**/*.parquet"), {}),
]  # fmt: skip


def cases():
    """(name, change, rules that run) of every change, without the headings."""
    for name, *rest in CHANGES:
        if rest:
            change, rules = rest
            yield name, change, {rule: times for rule, times in rules.items() if times}


def matrix():
    """The changes as a Markdown table: a row per change, a column per stage, ● where it runs."""
    rules = {name: ran for name, _, ran in cases()}
    lines = [["change", *COLUMNS], ["---", *[":-:"] * len(COLUMNS)]]
    for name, *_ in CHANGES:
        ran = rules.get(name, {})
        lines.append([name, *("●" if rule in ran else "" for rule in COLUMNS.values())])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def with_matrix(text):
    """The text of a Markdown file with the matrix between its marks."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}{matrix()}{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    TARGET.write_text(with_matrix(TARGET.read_text("utf-8")), "utf-8")
