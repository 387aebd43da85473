"""The further targets, `ablations` and `deep_clustering`, on the miniature project."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from projects import MINI

from workflow_scripts.lib.artifacts import read_meta

TREE = (
    "child,parent\nsolid red circle,round\nsolid blue square,angular\nstriped green star,angular\n"
    "round,shape\nangular,shape\n"
)
HEADS = MINI["clusterings"]["temi_3"] | {"k": "classes"}
BENCHMARK = {
    "encoders": ["tinyclip"],
    "clusterings": ["kmeans_any", "minibatch_any", "temi_any", "scan_any", "turtle_any"],
    "seeds": [0],
}


@pytest.fixture(scope="session")
def compared(finished, shared):
    """The miniature project after `snakemake ablations deep_clustering`."""
    return shared("compared", lambda folder: compare(finished.copy(folder)))


def compare(project):
    (project.folder / "tree.csv").write_text(TREE)
    (project.folder / "names.txt").write_text("solid red circle\n")
    derived = {
        "photos_few": {"method": "sample", "images": 20},
        "photos_middle": {"method": "imbalance", "half_width": 50, "control": "equal_size"},
        "photos_tail": {"method": "long_tail", "ratio": 4},
        "photos_easy": {"method": "difficulty", "which": "easy", "share": 0.7, "classifier": "knn"},
        "photos_coarse": {"method": "granularity", "tree": "tree.csv", "depth": 1},
    }
    config = MINI | {
        "image_sets": MINI["image_sets"]
        | {name: {"derive": block | {"from": "photos"}} for name, block in derived.items()},
        "corpora": MINI["corpora"]
        | {"fewer": {"files": [{"path": "words.txt"}], "exclude": ["names.txt"]}},
        "clusterings": MINI["clusterings"]
        | {
            "kmeans_4": {"method": "kmeans", "k": 4, "threads": 1},
            "kmeans_any": {"method": "kmeans", "k": "classes", "threads": 1},
            "minibatch_any": {"method": "minibatch", "k": "classes", "passes": 2, "threads": 1},
            "temi_any": HEADS,
            "scan_any": HEADS | {"method": "scan"},
            "turtle_any": {"method": "turtle", "k": "classes", "heads": 2, "steps": 20,
                           "batch_size": 12, "threads": 1},
        },
        "ablate": ["clusters", "words"],
        "ablations": {
            "clusters": {"study": "mini", "vary": "clusterings", "axis": "number of clusters",
                         "values": {"3": ["kmeans_3"], "4": ["kmeans_4", "kmeans_3"]}},
            "words": {"study": "mini", "vary": "corpus", "axis": "corpus",
                      "values": {"all": "words", "without_circle": "fewer"}},
        },
        "compare": ["sizes", "grain", "several"],
        "benchmarks": {
            "sizes": BENCHMARK | {"axis": "imbalance", "levels": {
                "few": "photos_few", "middle": "photos_middle", "tail": "photos_tail",
                "easy": "photos_easy"}, "clusterings": ["kmeans_any"]},
            "grain": BENCHMARK | {"axis": "granularity", "levels": {
                "coarse": "photos_coarse", "fine": "photos"}},
            "several": BENCHMARK | {"axis": "multiple_classes", "levels": {"all": "photos"},
                                    "tree": "tree.csv"},
        },
    }  # fmt: skip
    project.write_config(config)
    project.run("ablations", "deep_clustering")


def table(project, name):
    return pd.read_parquet(project.folder / f"results/tables/{name}.parquet")


def test_an_ablation_has_a_row_per_value_and_is_its_studies_joined(compared):
    rows = table(compared, "ablations/clusters")
    assert list(rows["value"].unique()) == ["3", "4"]
    own = pd.read_parquet(compared.folder / "results/studies/clusters.4/comparison.parquet")
    joined = rows[rows["value"] == "4"].drop(columns="value").reset_index(drop=True)
    pd.testing.assert_frame_equal(joined, own, check_dtype=False)
    for name in ("clusters", "words"):
        svg = (compared.folder / f"results/figures/ablations/{name}.svg").read_text()
        assert "AUROC" in svg and name in svg


def test_withheld_names_are_not_mined(compared):
    path = "results/studies/words.{}/concepts.parquet"
    everything, fewer = (
        set(pd.read_parquet(compared.folder / path.format(value))["concept"])
        for value in ("all", "without_circle")
    )
    assert "solid red circle" in everything
    assert "solid red circle" not in fewer


def test_derived_images_are_those_of_their_source(compared):
    folder = compared.folder / "results/embeddings/tinyclip/images"

    def read(name):
        shards = sorted((folder / name).glob("?????.parquet"))
        index = pd.concat([pd.read_parquet(path) for path in shards], ignore_index=True)
        arrays = [np.load(path.with_suffix(".npy")) for path in shards]
        return index, np.concatenate(arrays)

    source, vectors = read("photos")
    position = {name: i for i, name in enumerate(source["image_id"])}
    for name, rows in [("photos_few", 20), ("photos_middle", 24), ("photos_tail", 14)]:
        index, derived = read(name)
        assert len(index) == rows
        chosen = [position[image] for image in index["image_id"]]
        assert chosen == sorted(chosen)
        assert np.array_equal(derived, vectors[chosen])
        assert (index["label"].values == source["label"].values[chosen]).all()
    assert table(compared, "deep_clustering").query("level == 'tail'")["classes"].eq(3).all()


def test_coarse_labels_share_the_embeddings_of_their_source(compared):
    folder = compared.folder / "results/embeddings/tinyclip/images"
    assert not list((folder / "photos_coarse").glob("*.npy"))
    coarse = pd.read_parquet(folder / "photos_coarse/00001.parquet")
    fine = pd.read_parquet(folder / "photos/00001.parquet")
    assert (coarse["image_id"] == fine["image_id"]).all()
    kind = {"solid_red_circle": "round"}
    assert (coarse["label"] == [kind.get(label, "angular") for label in fine["label"]]).all()


def test_table_of_clusterings_shows_axes_methods_and_seeds(compared):
    rows = table(compared, "deep_clustering")
    columns = "axis benchmark level method k seed n classes imbalance_ratio acc balanced_acc nmi"
    columns += " ami ari used_clusters purity seconds peak_memory_mb"
    assert set(columns.split()) <= set(rows.columns)
    assert set(rows["axis"]) == {"imbalance", "granularity", "multiple_classes"}
    assert set(rows["method"]) == {"kmeans", "minibatch", "temi", "scan", "turtle"}
    assert not rows.duplicated(["benchmark", "level", "method", "seed"]).any()
    assert (rows["k"] == rows["classes"]).all()
    assert (rows["seconds"] > 0).all()
    assert rows.query("level == 'tail'")["imbalance_ratio"].eq(4).all()
    assert rows.query("level == 'coarse'")["classes"].eq(2).all()


def test_the_first_ranked_cluster_is_the_assigned_one(compared):
    folder = compared.folder / "results/clusters/tinyclip/photos"
    ranked = sorted(folder.rglob("*.top3.parquet"))
    assert len(ranked) == 5
    for path in ranked:
        clusters = np.stack(pd.read_parquet(path)["clusters"])
        assigned = pd.read_parquet(path.with_name(path.name.replace(".top3", "")))["cluster"]
        assert (clusters[:, 0] == assigned).all()
        assert (np.sort(clusters, axis=1) == [0, 1, 2]).all()


def test_first_predictions_hit_as_often_as_the_purity(compared):
    """Clusters named by majority: the exact hits of rank 1 are the many-to-one purity."""
    hits = table(compared, "multiple_classes").query("rank == 1 and hit == 'exact'")
    rows = table(compared, "deep_clustering").query("benchmark == 'several'")
    keys = ["clustering", "seed"]
    both = hits.merge(rows, on=keys, suffixes=("_hit", ""))
    assert len(both) == 5
    assert both["rate"].to_numpy() == pytest.approx(both["purity"].to_numpy())


@pytest.mark.slow
def test_clusterings_do_not_depend_on_labels(compared, tmp_path):
    """Labels permuted in the index: every method assigns the same clusters."""
    project = compared.copy(tmp_path / "project")
    folder = project.folder / "results"
    rng, changed = np.random.default_rng(0), 0
    for path in (folder / "embeddings/tinyclip/images/photos").glob("?????.parquet"):
        index = pq.read_table(path)
        labels = index["label"].to_numpy(zero_copy_only=False)
        column = index.column_names.index("label")
        mixed = index.set_column(column, "label", pa.array(rng.permutation(labels)))
        changed += not mixed.equals(index)
        pq.write_table(mixed, path)
    assert changed
    clusters = {
        path: pd.read_parquet(path)
        for path in (folder / "clusters/tinyclip/photos").rglob("seed0.parquet")
    }
    methods = {path.parent.name for path in clusters}
    assert set(BENCHMARK["clusterings"]) <= methods
    targets = [str(path.relative_to(project.folder)) for path in clusters]
    ran = project.rules_run(*targets, "--forcerun", "cluster", "--rerun-triggers", "mtime")
    assert ran["cluster"] == len(targets)
    assert "embed_images" not in ran
    for path, before in clusters.items():
        pd.testing.assert_frame_equal(pd.read_parquet(path), before)


def test_other_encoders(finished, tmp_path):
    """An image model of timm and a folder of clip-retrieval in a benchmark; prompts of an encoder;
    the temperature of an encoder."""
    import timm
    import torch
    from safetensors.torch import save_file

    project = finished.copy(tmp_path / "project")
    folder = project.folder
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), folder / "vit.safetensors")
    rng = np.random.default_rng(0)
    listed = pq.read_table(folder / "results/images/photos_test/manifest.parquet")
    for part, rows in (("0", listed[:7]), ("1", listed[7:])):
        for kind in ("img_emb", "text_emb"):
            (folder / "retrieval" / kind).mkdir(parents=True, exist_ok=True)
            embeddings = rng.normal(size=(rows.num_rows, 8)).astype(np.float16)
            np.save(folder / f"retrieval/{kind}/{kind}_{part}.npy", embeddings)
        columns = {"image_path": rows["image_id"], "caption": rows["path"], "label": rows["label"]}
        (folder / "retrieval/metadata").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"retrieval/metadata/metadata_{part}.parquet")

    index = folder / "results/embeddings/tinyclip/images/photos_test/00000.parquet"
    scale = read_meta(index)["encoder"]["logit_scale"]
    retrieval = {"clip_retrieval": "retrieval"}
    config = yaml.safe_load(yaml.safe_dump(MINI)) | {
        "encoders": {
            "dino": {"method": "timm", "model": "test_vit", "pretrained": "vit.safetensors"},
            "theirs": {"method": "precomputed", "images": {"photos_test": retrieval},
                       "texts": {"words": [retrieval]}},
        },
        "compare": ["vision"],
        "benchmarks": {"vision": {"axis": "imbalance", "encoders": ["dino", "theirs"],
                                  "levels": {"all": "photos_test"}, "clusterings": ["kmeans_3"]}},
    }  # fmt: skip
    config["detectors"] |= {
        "by_name": {"method": "mcm", "temperature": "encoder"},
        "by_number": {"method": "mcm", "temperature": 1 / scale},
    }
    config["studies"]["mini"]["detectors"] = ["by_name", "by_number"]
    project.write_config(config)
    scores = "results/scores/mini/tinyclip/none/frequency_1/seed0.parquet"
    table = "results/benchmarks/vision/clustering.parquet"
    project.run(scores, table, "results/embeddings/theirs/texts/words.npy")
    rows = pd.read_parquet(folder / table)
    assert rows["encoder"].tolist() == ["dino", "theirs"]
    assert rows["classes"].tolist() == [3, 3]
    assert np.load(folder / "results/embeddings/dino/images/photos_test/00000.npy").shape[1] == 64
    named = pd.read_parquet(folder / scores)
    assert named["by_name"].nunique() > 1
    assert np.array_equal(named["by_name"], named["by_number"])

    (folder / "retrieval/metadata/metadata_1.parquet").unlink()
    done = project.run("-n", table, check=False)
    assert done.returncode != 0
    assert "retrieval has no metadata/metadata_1.parquet" in done.stdout

    # A prompt of one encoder concerns its texts only, and not those of another one.
    config["encoders"]["second"] = {"method": "open_clip", "checkpoint": "config/demo/tinyclip"}
    config["studies"]["mini"]["encoders"] = ["tinyclip", "second"]
    config["encoders"]["second"]["prompts"] = {"default": ["a drawing of a {}."]}
    project.write_config(config)
    texts = [f"results/embeddings/{name}/texts/words.npy" for name in ("tinyclip", "second")]
    assert project.rules_run("-n", *texts) == {"embed_texts": 1}
