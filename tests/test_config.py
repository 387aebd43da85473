"""Mistakes in the config are answered with the key's name and the nearest valid one."""

import copy
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from snakemake.utils import update_config

from workflow_scripts.lib.config import schema
from workflow_scripts.lib.config.paths import files_in_use, key_of, paths_in_run
from workflow_scripts.lib.config.queries import (
    NEEDS,
    clustering_encoder,
    clustering_encoders,
    encoders_of,
    groups_of_images,
    image_sets_in_use,
    label_names,
    prompts_of,
)
from workflow_scripts.lib.config.resolve import resolve_config, with_own_blocks
from workflow_scripts.lib.errors import InputError

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads(schema.FILE.read_text("utf-8"))
DEMO = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))


def edited(path, value):
    """The demo config, with one encoder and one image set more, and one value replaced.

    path: like 'detectors.mcm.temperature'.
    """
    config = copy.deepcopy(DEMO)
    config["encoders"]["mine"] = {"method": "precomputed"}
    config["encoders"]["dino"] = {"method": "timm", "model": "vit_base_patch14_dinov2.lvd142m"}
    config["image_sets"]["nowhere"] = {}
    *parents, key = path.split(".")
    block = config
    for parent in parents:
        block = block[parent]
    block[key] = value
    return config


def message(config):
    with pytest.raises(InputError) as error:
        resolve_config(config)
    assert "nput should" not in str(error.value)  # pydantic's own words
    return str(error.value)


def test_defaults_are_filled_in():
    config = resolve_config(DEMO)
    assert config["image_sets"]["test"] == {
        "folder": "results/demo/images/test",
        "labels": "subfolder",
        "shards": 1,
        "jobs": 64,
        "maximum_quarantine": 0.2,
    }
    assert config["clusterings"]["kmeans_60"]["spherical"] is True


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("detectors.mcm.temprature", 1, ["detectors.mcm.temprature", "'temperature'"]),
        ("cluster", {}, ["'cluster'", "'clusterings'"]),
        ("studies.demo.tset", "test", ["studies.demo.tset", "'test'"]),
        ("detectors.mcm.method", "mmc", ["detectors.mcm.method", "'mcm'"]),
        ("studies.demo.train", "trian", ["studies.demo.train", "'train'"]),
        ("studies.demo.minings", ["clustermin"], ["studies.demo.minings[0]", "'clustermine'"]),
        ("encoders.tinyclip.precision", "fp23", ["encoders.tinyclip.precision", "'fp32'"]),
        ("run", ["demmo"], ["run[0]", "'demo'"]),
        ("clusterings.kmeans_60.k", "many", ["clusterings.kmeans_60.k", "'many'"]),
        ("clusterings.kmeans_60.k", 0, ["clusterings.kmeans_60.k", "minimum of 1"]),
        ("image_sets.my photos", {}, ["image_sets.my photos"]),
        ("studies.demo.clusterings", [], ["minings.clustermine", "studies.demo.clusterings"]),
        ("studies.demo.negatives", [], ["detectors.neglabel", "studies.demo.negatives"]),
        ("clusterings.kmeans_60.encoder", "dinno", ["clusterings.kmeans_60.encoder", "'dino'"]),
        ("clusterings.kmeans_60.encoder", "mine",
         ["studies.demo: clusterings.kmeans_60.encoder 'mine' has no images for 'train'",
          "add encoders.mine.images.train"]),
        ("image_sets.test", {}, ["studies.demo", "image_sets.test.folder"]),
        ("corpora.demo_words", {}, ["studies.demo", "corpora.demo_words.files"]),
        ("studies.demo.test", "train", ["studies.demo", "'train'", "must not be tested on"]),
        ("studies.demo.near", ["noise"], ["studies.demo", "'noise' is named twice"]),
        ("studies.demo.seeds", [0, 1, 0], ["studies.demo.seeds: 0 is there twice"]),
        ("studies.demo.encoders", ["tinyclip"] * 2, ["demo.encoders: 'tinyclip' is there twice"]),
        ("studies.demo.minings", ["union"] * 2, ["studies.demo.minings: 'union' is there"]),
        ("studies.demo.detectors", ["mcm"] * 2, ["studies.demo.detectors: 'mcm' is there twice"]),
        ("run", ["demo", "demo"], ["run: 'demo' is there twice"]),
        ("corpora.demo_words.files", ["a.txt"] * 2, ["files: entry 1 is there twice"]),
        ("corpora.demo_conjugated", {"conjugate": {"corpus": "demo_words"}, "files": ["a.txt"]},
         ["corpora.demo_conjugated: give one of conjugate, files, not both"]),
        ("corpora.demo_conjugated.exclude", ["true.txt"],
         ["corpora.demo_conjugated.exclude: leaves names out of files; put it at "
          "corpora.demo_words, which is conjugated"]),
        ("detectors.mcm", {"metod": "mcm"}, ["detectors.mcm.metod", "did you mean 'method'?"]),
        ("studies.demo.reference", "random", ["studies.demo.reference"]),
        ("negatives.rest.related", False, ["negatives.rest", "'tree'"]),
        ("detectors.mcm.temperature", 0, ["detectors.mcm.temperature", "minimum of 0"]),
        ("detectors.mcm.temperature", "encodr", ["detectors.mcm.temperature", "'^encoder$'"]),
        ("encoders.tinyclip.prompts", {"noun": []}, ["encoders.tinyclip.prompts.noun"]),
        ("encoders.tinyclip", {"method": "timm", "model": "test_vit"},
         ["studies.demo: encoder 'tinyclip' (timm) has no text model", "leave minings"]),
        ("encoders.tinyclip", {"method": "timm"}, ["encoders.tinyclip needs the key 'model'"]),
        ("contaminations.by_match", {"method": "match", "encoder": "dino"},
         ["contaminations.by_match: encoder 'dino' (timm) has no text model"]),
        ("benchmarks", {"b": {"axis": "imbalance", "encoders": ["dino"], "levels": {"a": "nowhere"},
                              "clusterings": ["kmeans_60"]}},
         ["benchmarks.b: encoder 'dino' has no images for 'nowhere'", "image_sets.nowhere.folder"]),
        ("encoders.mine", {"method": "precomputed", "images": {"a": {"index": "a"}}, "texts": {}},
         ["encoders.mine.images.a: give embeddings and index, or clip_retrieval"]),
        ("encoders.mine", {"method": "precomputed", "images": {},
                           "texts": {"w": [{"clip_retrieval": "a", "index": "a"}]}},
         ["encoders.mine.texts.w[0]: give embeddings and index, or clip_retrieval"]),
        ("encoders.tinyclip", {"method": "precomputed"},
         ["studies.demo", "encoders.tinyclip.images.train"]),
        ("encoders.tinyclip.prompts", {}, ["encoders.tinyclip.prompts must not be empty"]),
        ("encoders.tinyclip.prompts", {"noun": ["a {} of {}"]},
         ["encoders.tinyclip.prompts.noun", "'a {} of {}'", "exactly one '{}'"]),
        ("encoders.tinyclip.prompts", {"defualt": ["a {}"]},
         ["encoders.tinyclip.prompts.defualt: did you mean 'default'?"]),
        ("corpora.demo_words.prompts", {"default": ["a {}"], "nouns": ["the {}"]},
         ["config: corpora.demo_words.prompts.nouns: did you mean 'noun'?"]),
        ("corpora.demo_words.prompts", {}, ["corpora.demo_words.prompts must not be empty"]),
        ("corpora.demo_words.prompts", {"default": ["a photo"]},
         ["corpora.demo_words.prompts.default", "'a photo'"]),
        ("encoders.dino.pretrained", "webli",
         ["encoders.dino.pretrained: 'webli' is no weights file", ".safetensors", "'model'"]),
        ("detectors.mcm.temperature", float("nan"), ["detectors.mcm.temperature: nan"]),
        ("detectors.mcm.temperature", ".inf", ["detectors.mcm.temperature"]),
        ("detectors.mcm.temperature", "inf", ["detectors.mcm.temperature: inf"]),
        ("clusterings.kmeans_60.k", float("inf"), ["clusterings.kmeans_60.k: inf"]),
        ("contaminations.by_match", {"method": "match", "encoder": "mine"},
         ["studies.demo: contaminations.by_match: encoder 'mine'", "encoders.mine.images.train"]),
        ("detectors", [], ["detectors must be a mapping, not []"]),
        ("detectors.mcm", {}, ["detectors.mcm needs the key 'method'", "max_logit"]),
        ("detectors.mcm.method", [], ["detectors.mcm.method: unknown method []"]),
        ("corpora.demo_words.prompts", "a {}", ["corpora.demo_words.prompts must be a mapping"]),
        ("clusterings.kmeans_60.k", True, ["clusterings.kmeans_60.k: True is no number"]),
        ("clusterings.kmeans_60.k", 2.5, ["clusterings.kmeans_60.k: 2.5 is no whole number"]),
        ("clusterings.kmeans_60.restarts", "5.5", ["restarts: '5.5' is no whole number"]),
        ("clusterings.kmeans_60.restarts", None, ["restarts: None is no whole number"]),
        ("clusterings.kmeans_60.spherical", "true", ["'true' is neither true nor false"]),
        ("clusterings.temi_60.batch_size", 1, ["1 is less than the minimum of 2"]),
        ("clusterings.temi_60.final_lr", -1, ["clusterings.temi_60.final_lr", "minimum of 0"]),
        ("negatives.rest.quantile", 1.5, ["1.5 is greater than the maximum of 1"]),
        ("negatives.rest.limit", "near", ["negatives.rest.limit: 'near' is no number"]),
        ("image_sets.test.folder", None, ["image_sets.test.folder: None is no text"]),
        ("image_sets.none", {}, ["image_sets.none", "choose another name"]),
        ("benchmarks", {"b": {"axis": "none", "encoders": ["tinyclip"],
                              "clusterings": ["kmeans_60"],
                              "levels": {"one": "test", "two": "test"}}},
         ["config: benchmarks.b.levels: 'test' is there twice; once is enough"]),
        ("detectors.score", {"method": "mcm"},
         ["config: detectors.score: tables of images have a column score; choose another name"]),
        ("image_sets.test.folder", 2024, ["test.folder: 2024 is no text; put it in quotes"]),
        ("image_sets", {3: {}}, ["the name 'image_sets.3': 3 is no text; put it in quotes"]),
        ("image_sets", {False: {}},
         ["the name 'image_sets.False': False is no text; put it in quotes, as YAML takes no"]),
        ("run", "demo", ["run: 'demo' is no list"]),
        ("run", [], ["run must not be empty"]),
        ("contaminations", {}, ["studies.demo.contamination: 'by_match' is not defined", "none"]),
        ("encoders.dino", {"method": "timm", "modle": "x"},
         ["unknown key 'encoders.dino.modle'; did you mean 'model'?"]),
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_remedy(path, value, parts):
    text = message(edited(path, value))
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("section", "derived"),
    [("image_sets", lambda of: {"derive": {"method": "sample", "from": of, "images": 9}}),
     ("corpora", lambda of: {"conjugate": {"corpus": of}})],
)  # fmt: skip
def test_what_is_derived_does_not_lead_back_to_itself(section, derived):
    """Whether of itself, over others, or from outside of the circle; a chain is none."""
    first = next(iter(DEMO[section]))
    chain = {"a": derived("b"), "b": derived("c"), "c": derived(first)}
    resolve_config(edited(section, DEMO[section] | chain))
    key = f"{section}.a.{next(iter(chain['a']))}"
    for circle in ({"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}):
        blocks = {name: derived(of) for name, of in circle.items()}
        text = message(edited(section, DEMO[section] | blocks))
        back = list(circle.values())[-1]
        assert text.startswith(f"config: {key}.") and f"leads back to {back!r}; name one" in text


def test_the_first_of_several_mistakes_is_named():
    """In the order of the keys in the models, not of those in the file."""
    config = edited("detectors.mcm.temperature", "hot")
    config["encoders"]["dino"] |= {"threads": 0, "precision": "fp23"}
    assert "encoders.dino.precision: 'fp23'" in message(config)


def test_missing_key_is_named():
    config = copy.deepcopy(DEMO)
    del config["studies"]["demo"]["corpus"]
    assert "studies.demo needs the key 'corpus'" in message(config)


def test_numbers_written_as_text_are_numbers():
    """YAML reads 1e-3 as text, and `snakemake --config` hands over every value as text."""
    config = edited("detectors.mcm.temperature", "1e-2")
    config["clusterings"]["kmeans_60"]["k"] = "9"
    resolved = resolve_config(config)
    assert resolved["detectors"]["mcm"]["temperature"] == 0.01
    assert resolved["clusterings"]["kmeans_60"]["k"] == 9


def test_writing_1_or_1_0_is_the_same_config():
    one, one_point_zero = (
        repr(resolve_config(edited("detectors.mcm.temperature", value))) for value in (1, 1.0)
    )
    assert one == one_point_zero


def test_data_folder_stands_at_the_start_of_paths():
    config = edited("image_sets.test.folder", "{data}/imagenet/val") | {"data": "/datasets"}
    config["corpora"]["demo_words"]["files"][0]["path"] = "{data}/words.txt"
    config["corpora"]["demo_words"]["prompts"] = {"default": ["a {data} {}", "the {}"]}
    config["image_sets"]["noise"] = {"list": {"path": "a{data}.csv", "root": "{data}"}}
    resolved = resolve_config(config)
    assert resolved["image_sets"]["test"]["folder"] == "/datasets/imagenet/val"
    assert resolved["image_sets"]["noise"]["list"] == {"path": "a{data}.csv", "root": "/datasets"}
    assert resolved["corpora"]["demo_words"]["files"][0]["path"] == "/datasets/words.txt"
    assert resolved["corpora"]["demo_words"]["prompts"] == {"default": ["a {data} {}", "the {}"]}
    del config["data"]
    resolved = resolve_config(config)
    assert resolved["image_sets"]["test"]["folder"] == "data/imagenet/val"


def test_order_of_keys_does_not_matter():
    config = copy.deepcopy(DEMO)
    config["detectors"]["mcm"] = dict(reversed(config["detectors"]["mcm"].items()))
    assert repr(resolve_config(config)) == repr(resolve_config(DEMO))


def test_the_config_imports_nothing_heavy():
    """Every start of the workflow imports its models."""
    heavy = {"torch", "faiss", "numpy", "scipy", "pandas", "pyarrow", "PIL", "sklearn", "timm"}
    code = "import sys, workflow_scripts.lib.config.resolve as _; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "pydantic" in run.stdout.split(), run.stderr
    assert not heavy & set(run.stdout.split())


def test_the_schema_for_editors_is_current():
    text = schema.FILE.read_text("utf-8")
    assert text == schema.schema_text(), "python -m workflow_scripts.lib.config.schema"


def test_every_block_and_key_is_documented():
    """Blocks are all in $defs: a key's own value is no block, but refers to one."""
    parts = {"": SCHEMA} | SCHEMA["$defs"]
    keys = {f"{name}.{key}": k for name, b in parts.items() for key, k in b["properties"].items()}
    assert len(keys) > 200
    assert not [path for path, part in (parts | keys).items() if not part.get("description")]


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda f: f.name)
def test_shipped_configs_are_valid(file):
    config = copy.deepcopy(DEMO)
    changed = [ROOT / "config/imagenet1k.yaml"] if "openood" in file.name else []
    for other in dict.fromkeys([ROOT / "config/benchmark_sets.yaml", *changed, file]):
        update_config(config, yaml.safe_load(other.read_text("utf-8")))
    resolved = resolve_config(config)
    for block in (config, resolved):
        Draft202012Validator(SCHEMA).validate(block)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("detectors.mcm.temprature", 1),
        ("detectors.mcm.temperature", 0),
        ("clusterings.kmeans_60.k", 0),
        ("clusterings.kmeans_60.k", "many"),
        ("encoders.tinyclip.prompts", {}),
        ("image_sets.my photos", {}),
        ("studies.demo.detectors", []),
    ],
)
def test_the_schema_for_editors_marks_mistakes(path, value):
    assert list(Draft202012Validator(SCHEMA).iter_errors(edited(path, value)))


def methods_of(section):
    """The methods that the schema knows for the blocks of a section."""
    (block,) = SCHEMA["properties"][section]["patternProperties"].values()
    for kind in block["anyOf"]:
        yield SCHEMA["$defs"][kind["$ref"].rsplit("/", 1)[-1]]["properties"]["method"]["const"]


def test_models_and_code_know_the_same_methods():
    from workflow_scripts.lib.concepts import negatives

    assert sorted(methods_of("negatives")) == sorted(negatives.METHODS)
    for section in ("minings", "detectors"):
        assert sorted(methods_of(section)) == sorted(NEEDS[section])


def test_functions_and_models_have_the_same_defaults():
    from workflow_scripts.lib.concepts import mining, negatives
    from workflow_scripts.lib.detection.methods import function_of

    functions = {
        "minings": {name: getattr(mining, name) for name in NEEDS["minings"]},
        "negatives": negatives.METHODS,
        "detectors": {name: function_of(name) for name in NEEDS["detectors"]},
    }
    for section, methods in functions.items():
        for method, function in methods.items():
            given = {"file": "names.txt"} if method == "given" else {}
            block = resolve_config(edited(f"{section}.x", {"method": method} | given))[section]["x"]
            for name, parameter in inspect.signature(function).parameters.items():
                if parameter.default is not parameter.empty and name != "images":
                    assert block[name] == parameter.default, f"{method}: {name}"


def test_an_ablation_varies_a_study_that_another_one_makes():
    one = {"study": "methods", "vary": "clusterings", "axis": "k", "values": {"t": ["temi_60"]}}
    two = {"study": "one.t", "vary": "minings", "axis": "m", "values": {"tac": ["tac"]}}
    config = edited("studies.methods.reference", None)
    studies = resolve_config(config | {"ablations": {"one": one, "two": two}})["studies"]
    varied = {"clusterings": ["temi_60"], "minings": ["tac"]}
    assert studies["two.tac"] == studies["methods"] | varied
    text = message(config | {"ablations": {"two": two, "one": one}})
    assert "ablations.two.study: 'one.t' is not defined in studies" in text
    text = message(config | {"ablations": {"one": one | {"values": {"t": ["temi"]}}}})
    assert "ablations.one.clusterings[0]: 'temi' is not defined" in text and "'temi_60'" in text
    text = message(config | {"ablations": {"one": one | {"values": {"t": 5}}}})
    assert "ablations.one.values.t: 5 is neither a name nor a list of names" in text


def test_a_sample_of_the_tested_images_is_not_mined():
    config = edited("studies.demo.train", "part")
    config["image_sets"] = config["image_sets"] | {
        "part": {"derive": {"method": "sample", "from": "textures", "images": 9}}
    }
    assert "must not be tested on" in message(config)


def test_a_part_of_the_images_is_mined_and_the_other_one_tested():
    """Whatever is derived of the parts, but for parts of another seed."""
    cut = {"method": "holdout", "from": "train", "share": 0.5}
    config = edited("studies.demo", DEMO["studies"]["demo"] | {"train": "few", "test": "b"})
    parts = {"a": {"part": "fit"}, "b": {"part": "calibration"}}
    parts["other"] = {"part": "calibration", "seed": 1}
    sets = {name: {"derive": cut | part} for name, part in parts.items()}
    sets["few"] = {"derive": {"method": "sample", "from": "a", "images": 9}}
    config["image_sets"] = config["image_sets"] | sets
    assert resolve_config(config)["studies"]["demo"]["far"]
    for test in ("a", "train", "few", "other"):
        config["studies"]["demo"]["test"] = test
        assert "'few' is mined and must not be tested on" in message(config)


def test_groups_are_a_table_or_folders_and_those_of_the_source():
    derived = {"derive": {"method": "sample", "from": "test", "images": 9}}
    image_sets = DEMO["image_sets"] | {
        "test": {"folder": "test", "groups": "videos.csv"},
        "some": derived,
        "noise": {"folder": "noise", "groups": {"folder": True}},
    }
    config = resolve_config(edited("image_sets", image_sets))
    block = {"path": "videos.csv", "image_id": "image_id", "group": "group", "folder": False}
    assert groups_of_images("some", config) == groups_of_images("test", config) == block
    assert groups_of_images("noise", config)["folder"]
    assert groups_of_images("textures", config) is None
    paths = set(paths_in_run(config))
    assert ("image_sets.test.groups", "videos.csv") in paths
    for wrong in ({"group": "video"}, {"path": "videos.csv", "folder": True}):
        image_sets["noise"]["groups"] = wrong
        assert "image_sets.noise.groups: give a table (path) or folder: true" in message(
            edited("image_sets", image_sets)
        )
    image_sets |= {"noise": {"folder": "noise"}, "some": derived | {"groups": "videos.csv"}}
    assert "image_sets.some.groups: a derived set has those of its source" in message(
        edited("image_sets", image_sets)
    )


def test_derived_sets_have_the_label_names_of_their_source():
    def derived(method, source, **more):
        return {"derive": {"method": method, "from": source} | more}

    image_sets = DEMO["image_sets"] | {
        "train": {"folder": "train", "label_names": "names.csv"},
        "some": derived("sample", "train", images=9),
        "coarse": derived("granularity", "some", tree="tree.csv", depth=1),
        "few_coarse": derived("sample", "coarse", images=3),
        "test": {"folder": "test", "label_names": {"path": "names.csv", "label": "id"}},
    }
    config = resolve_config(edited("image_sets", image_sets))
    block = {"path": "names.csv", "label": "label", "name": "name", "coarse": False}
    assert label_names("train", config) == label_names("some", config) == block
    assert label_names("coarse", config) == label_names("few_coarse", config)
    assert label_names("coarse", config) == block | {"coarse": True}
    assert label_names("noise", config) is None
    paths = set(paths_in_run(config))
    assert ("image_sets.train.label_names", "names.csv") in paths
    assert ("image_sets.test.label_names", "names.csv") in paths
    image_sets["some"]["label_names"] = "other.csv"
    assert "image_sets.some.label_names: a derived set has those of its source" in message(
        edited("image_sets", image_sets)
    )


def test_a_plain_path_stands_for_a_block():
    corpus = {"files": ["a.txt", {"path": "b.csv", "column": "x"}], "exclude": ["c.txt"]}
    config = resolve_config(edited("corpora.demo_words", corpus))
    block = config["corpora"]["demo_words"]
    assert [file["path"] for file in block["files"]] == ["a.txt", "b.csv"]
    written = {"files": [{"path": "a.txt"}, corpus["files"][1]], "exclude": [{"path": "c.txt"}]}
    assert resolve_config(edited("corpora.demo_words", written)) == config
    paths = dict(paths_in_run(config))
    assert paths["corpora.demo_words.files[0].path"] == "a.txt"
    assert paths["corpora.demo_words.exclude[0].path"] == "c.txt"
    assert "corpora.demo_words.exclude[0]" in message(
        edited("corpora.demo_words", corpus | {"exclude": [{"column": "x"}]})
    )


def test_defaults_of_word_lists_are_those_of_the_reader():
    from workflow_scripts.lib.texts.word_lists import DEFAULTS

    block = resolve_config(edited("corpora.x", {"files": ["a"]}))["corpora"]["x"]["files"][0]
    assert block == DEFAULTS | {"path": "a"}


def test_a_path_is_found_by_its_key():
    config = resolve_config(edited("corpora.words", {"files": ["a.txt", "b.txt"]}))
    assert key_of("b.txt", config) == "corpora.words.files[1].path"
    assert key_of("results/demo/images/train", config) == "image_sets.train.folder"
    assert key_of("nowhere", config) == ""


def precomputed(image_sets, corpora):
    return {
        "method": "precomputed",
        "images": {name: {"clip_retrieval": f"their/{name}"} for name in image_sets},
        "texts": {name: [{"clip_retrieval": f"their/{name}"}] for name in corpora},
    }


def test_a_judge_needs_the_images_and_names_that_it_judges():
    def judged_by(encoder):
        config = edited("encoders.mine", encoder)
        config["contaminations"]["by_match"] = {"method": "match", "encoder": "mine"}
        return config

    study = DEMO["studies"]["demo"]
    sets = [study["train"], study["test"], *study["near"], *study["far"]]
    assert study["shift"]
    for missing in sets:
        encoder = precomputed([name for name in sets if name != missing], [study["corpus"]])
        assert message(judged_by(encoder)).endswith(f"add encoders.mine.images.{missing}")
    assert message(judged_by(precomputed(sets, []))).endswith(
        f"add encoders.mine.texts.{study['corpus']}"
    )
    config = resolve_config(judged_by(precomputed(sets, [study["corpus"]])))
    paths = set(files_in_use(config))
    assert {f"their/{name}" for name in (*sets, study["corpus"])} <= paths
    config["contaminations"]["by_match"]["encoder"] = None
    assert not any(path.startswith("their/") for path in files_in_use(config))


def test_a_judge_embeds_images_where_the_encoders_of_the_study_do_not():
    study = DEMO["studies"]["demo"]
    judged = [study["train"], study["test"], *study["near"], *study["far"]]
    corpora = [study["corpus"], "demo_conjugated"]
    config = edited("encoders.mine", precomputed([*judged, *study["shift"]], corpora))
    config["studies"]["demo"]["encoders"] = ["mine"]
    config["run"] = ["demo"]
    assert image_sets_in_use(resolve_config(config)) == []
    config["contaminations"]["by_match"] = {"method": "match", "encoder": "tinyclip"}
    resolved = resolve_config(config)
    assert image_sets_in_use(resolved) == judged
    keys = {key for key, _ in paths_in_run(resolved)}
    assert "encoders.tinyclip.checkpoint" in keys
    assert f"image_sets.{study['train']}.folder" in keys


def test_precomputed_embeddings_do_not_tell_a_temperature():
    study = DEMO["studies"]["demo"]
    sets = [study["train"], study["test"], *study["near"], *study["far"], *study["shift"]]
    corpora = [study["corpus"], "demo_conjugated"]
    config = edited("encoders.mine", precomputed(sets, corpora))
    config["studies"]["demo"]["encoders"] = ["tinyclip", "mine"]
    resolve_config(config)
    config["detectors"]["mcm"]["temperature"] = "encoder"
    text = message(config)
    assert "detectors.mcm.temperature: studies.demo uses encoder 'mine'" in text
    config["studies"]["demo"]["encoders"] = ["tinyclip"]
    resolve_config(config)


def test_an_encoders_own_prompts_add_to_those_of_the_corpus():
    theirs = {"default": ["a {}"], "adjective": ["something {}"]}
    config = edited("corpora.demo_words.prompts", theirs)
    assert prompts_of("tinyclip", "demo_words", resolve_config(config)) == theirs
    config["encoders"]["tinyclip"]["prompts"] = {"default": ["my {}"]}
    merged = {"default": ["my {}"], "adjective": ["something {}"]}
    assert prompts_of("tinyclip", "demo_words", resolve_config(config)) == merged


def test_an_encoders_own_prompts_do_not_undo_an_ablation_of_prompts():
    one = DEMO["corpora"]["demo_words"]
    config = edited("corpora.other", one | {"prompts": {"default": ["one {}"]}})
    config["corpora"]["fewer"] = one | {"prompts": {"default": ["one {}"]}, "top_concepts": 2}

    def ablation(*corpora):
        values = dict(zip("ab", corpora, strict=True))
        block = {"study": "demo", "vary": "corpus", "axis": "prompts", "values": values}
        return config | {"ablations": {"x": block}, "ablate": ["x"]}

    resolve_config(ablation("demo_words", "other"))
    config["encoders"]["tinyclip"]["prompts"] = {"noun": ["my {}"]}
    text = message(ablation("demo_words", "other"))
    assert "ablations.x: 'demo_words' and 'other' differ in prompts alone" in text
    assert "encoders.tinyclip.prompts" in text
    resolve_config(ablation("demo_words", "fewer"))
    resolve_config(ablation("demo_words", "other") | {"ablate": []})


def test_a_model_without_texts_serves_benchmarks():
    benchmark = {"axis": "imbalance", "encoders": ["dino"], "clusterings": ["kmeans_60"]}
    config = edited("benchmarks", {"b": benchmark | {"levels": {"a": "test"}}})
    assert resolve_config(config)["benchmarks"]["b"]["encoders"] == ["dino"]


def visual_study(encoder, **more):
    block = {"encoders": [encoder], "train": "train", "test": "test", "detectors": ["knn"]}
    return edited("studies.visual", block | more) | {"run": ["visual"]}


def test_a_model_without_texts_serves_studies_without_names():
    detectors = {"clusterings": ["kmeans_60"], "detectors": ["knn", "mahalanobis"]}
    study = resolve_config(visual_study("dino", **detectors))["studies"]["visual"]
    assert study["corpus"] is None and study["minings"] == study["negatives"] == []
    text = message(visual_study("dino", detectors=["knn", "mcm"]))
    assert "studies.visual: detectors.mcm needs positives; encoder 'dino' has no texts" in text
    assert "take knn or mahalanobis" in text
    text = message(visual_study("dino", contamination="by_match"))
    assert "studies.visual needs the key 'corpus'" in text
    text = message(visual_study("dino", minings=["frequency_5"], corpus="demo_words"))
    assert "studies.visual: encoder 'dino' (timm) has no text model; leave minings" in text
    text = message(visual_study("tinyclip", detectors=["mcm"]))
    assert "studies.visual: detectors.mcm needs positives; add studies.visual.minings" in text
    config = visual_study("mine", detectors=["mcm"])
    config["encoders"]["mine"] = precomputed(["train", "test"], [])
    assert "encoder 'mine' has no texts" in message(config)


def test_a_clusterings_encoder_embeds_the_training_images_alone():
    config = edited("clusterings.kmeans_60.encoder", "mine")
    config["encoders"]["mine"] = precomputed(["train"], [])
    config["run"] = ["demo"]
    resolved = resolve_config(config)
    study = resolved["studies"]["demo"]
    assert encoders_of(study, resolved)["mine"] == (["train"], [])
    assert "their/train" in files_in_use(resolved)
    assert clustering_encoders(study, resolved) == ["mine", "tinyclip"]


def test_turtle_clusters_several_encoders_at_once():
    block = {"method": "turtle", "k": 60, "spaces": ["dino", "mine"]}
    config = edited("clusterings.turtle_60", block)
    config["encoders"]["mine"] = precomputed(["train"], [])
    config["studies"]["demo"]["clusterings"] = ["turtle_60", "kmeans_60"]
    resolved = resolve_config(config)
    study = resolved["studies"]["demo"]
    assert clustering_encoders(study, resolved) == ["dino", "mine", "tinyclip"]
    assert clustering_encoder("turtle_60", "tinyclip", resolved) == "dino"
    config["encoders"]["mine"] = precomputed([], [])
    text = "studies.demo: clusterings.turtle_60.spaces 'mine' has no images for 'train'"
    assert text in message(config)
    config["clusterings"]["turtle_60"]["encoder"] = "dino"
    assert "clusterings.turtle_60: give encoder or spaces, not both" in message(config)
    config["clusterings"]["turtle_60"] = {"method": "turtle", "k": 60, "spaces": ["dino"]}
    assert "clusterings.turtle_60.spaces: name two or more" in message(config)


def test_an_ensemble_has_the_encoders_of_its_members():
    config = edited("clusterings.both", {"method": "ensemble", "k": 60, "of": ["one", "two"]})
    config["clusterings"]["one"] = {"method": "kmeans", "k": 60, "encoder": "mine"}
    config["clusterings"]["two"] = {"method": "kmeans", "k": 60, "encoder": "dino"}
    config["encoders"]["mine"] = precomputed(["train"], [])
    config["studies"]["demo"]["clusterings"] = ["both"]
    resolved = resolve_config(config)
    assert clustering_encoders(resolved["studies"]["demo"], resolved) == ["mine", "dino"]
    assert clustering_encoder("both", "tinyclip", resolved) == "mine"
    config["encoders"]["mine"] = precomputed([], [])
    assert "studies.demo: clusterings.both.of 'mine' has no images for 'train'" in message(config)
    del config["clusterings"]["two"]["encoder"]
    assert "clusterings.both.of: 'two' has no encoder, but others have" in message(config)
    config["clusterings"]["both"]["of"] = ["both"]
    assert "clusterings.both.of: 'both' is an ensemble; name its members" in message(config)
    config["clusterings"]["both"]["of"] = ["three"]
    assert "clusterings.both.of[0]: 'three' is not defined in clusterings" in message(config)
    config["clusterings"]["both"] |= {"of": ["one"], "encoder": "dino"}
    assert "clusterings.both.encoder: an ensemble takes those of its members" in message(config)


def test_a_users_block_replaces_that_of_its_name():
    own = {
        "clusterings": {"temi_60": {"method": "temi", "k": 9}},
        "image_sets": {"train": {"tar": "x.tar"}, "test": {"labels": "none"}},
        "run": ["methods"],
    }
    merged, demo = copy.deepcopy(DEMO), resolve_config(DEMO)
    update_config(merged, own)
    config = resolve_config(with_own_blocks(merged, own))
    defaults = resolve_config(edited("clusterings.own", {"method": "temi", "k": 9}))
    assert config["clusterings"]["temi_60"] == defaults["clusterings"]["own"]
    assert config["image_sets"]["train"]["tar"] == {"path": "x.tar", "ids": "member"}
    assert config["image_sets"]["test"] == demo["image_sets"]["test"] | {"labels": "none"}
    assert config["run"] == ["methods"]
    assert config["clusterings"]["kmeans_60"] == demo["clusterings"]["kmeans_60"]


@pytest.mark.parametrize(
    ("section", "key"),
    [("studies", "train"), ("ablations", "study"), ("benchmarks", "levels"),
     ("reproductions", "study"), ("demo_images", "content")],
)  # fmt: skip
def test_a_users_study_inherits_nothing_from_one_of_its_name(section, key):
    """What has no method says by another key what it is; without this single keys are changed."""
    theirs = {"x": {key: "a", "near": ["noise"]}}
    for given in ({key: "b"}, {"far": ["noise"]}):
        merged = {section: copy.deepcopy(theirs)}
        update_config(merged, own := {section: {"x": given}})
        found = with_own_blocks(merged, own)[section]["x"]
        assert found == (given if key in given else theirs["x"] | given)


def test_a_study_of_the_name_of_an_ablations_is_refused():
    config = edited("ablations", {"k": {"study": "methods", "vary": "clusterings", "axis": "k",
                                        "values": {"60": ["kmeans_60"]}}})  # fmt: skip
    assert "k.60" in resolve_config(config)["studies"]
    config["studies"]["k.60"] = config["studies"]["demo"]
    assert "studies.k.60: ablations.k makes a study of this name too" in message(config)


def test_a_message_is_short_whatever_the_value_is():
    for value in ("x" * 100_000, [["y"] * 50_000]):
        with pytest.raises(InputError, match="config: run") as error:
            resolve_config(DEMO | {"run": value})
        assert len(str(error.value)) < 1100
    many = {f"set_{i}": {"folder": "x"} for i in range(1000)}
    with pytest.raises(InputError, match=r"'zzz' is not defined in image_sets; valid: .*\.\.\.$"):
        studies = DEMO["studies"] | {"demo": DEMO["studies"]["demo"] | {"test": "zzz"}}
        resolve_config(DEMO | {"studies": studies, "image_sets": many | DEMO["image_sets"]})


def test_one_folder_under_two_names_is_refused():
    sets = DEMO["image_sets"]
    folder = sets["train"]["folder"]
    for place in ({"folder": folder}, {"folder": f"{folder}/./"}):
        config = copy.deepcopy(DEMO) | {"image_sets": sets | {"noise": place}}
        with pytest.raises(InputError, match=r"studies\.\w+: 'train' and 'noise' are the same"):
            resolve_config(config)
