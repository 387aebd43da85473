"""All detectors in one stream of images, and beside other code."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax
from score_references import embeddings, slow_neglabel, unit

from workflow_scripts.lib.concepts import similarity
from workflow_scripts.lib.detection import detectors
from workflow_scripts.lib.detection import texts as text_scores
from workflow_scripts.lib.detection.detectors import (
    score_blocks,
    score_embeddings,
    with_temperatures,
)
from workflow_scripts.lib.detection.images import fit_gaussians, knn, mahalanobis
from workflow_scripts.lib.detection.methods import METHODS, Method, function_of
from workflow_scripts.lib.detection.texts import energy, entropy, max_logit
from workflow_scripts.lib.errors import Impossible, InputError

# ---- other code ---------------------------------------------------------------------------------


def test_agrees_with_pytorch_ood():
    other = pytest.importorskip("pytorch_ood.detector")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    sims = rng.uniform(-0.1, 0.4, (50, 30)).astype(np.float32)
    logits = torch.from_numpy(100 * sims.astype(float))
    np.testing.assert_allclose(100 * max_logit(sims), -other.MaxLogit.score(logits), rtol=1e-6)
    np.testing.assert_allclose(100 * energy(sims), -other.EnergyBased.score(logits), rtol=1e-6)
    # They clamp probabilities at 1e-7, which adds up to 1e-7 log 1e7 for each.
    np.testing.assert_allclose(entropy(sims), -other.Entropy.score(logits), atol=6e-5)
    train, images, clusters = unit(rng, 300, 8), unit(rng, 50, 8), rng.integers(0, 4, 300)
    theirs = other.Mahalanobis(None)
    theirs.fit_features(torch.from_numpy(train), torch.from_numpy(clusters))
    halves = theirs.predict_features(torch.from_numpy(images)).numpy()
    # Theirs is half the distance, by a covariance that is not divided by N (and has a ridge).
    found = mahalanobis(fit_gaussians(embeddings([train]), clusters), shrinkage=0)(images)
    np.testing.assert_allclose(found, -2 * len(train) * halves, rtol=1e-3)


# ---- the stream ---------------------------------------------------------------------------------


CONFIG = {
    "mcm": {"method": "mcm", "temperature": 1.0},
    "sharp": {"method": "mcm", "temperature": 0.01},
    "neglabel": {"method": "neglabel", "temperature": 0.01, "groups": 6, "seed": 1},
}


def test_score_blocks_is_the_detectors_on_the_cosines(monkeypatch):
    rng = np.random.default_rng(0)
    images, positives = unit(rng, 50), unit(rng, 7)
    negatives = {"far": unit(rng, 40), "rest": unit(rng, 65)}
    monkeypatch.setattr(similarity, "TILE", 650)  # 10 images a tile
    blocks = [images[:23], images[23:24], images[24:]]
    scores, nearest, cosines = score_blocks(iter(blocks), positives, negatives, CONFIG)
    assert set(scores) == {
        ("mcm", None), ("sharp", None), ("neglabel", "far"), ("neglabel", "rest"),
    }  # fmt: skip
    sims = np.array([[float(np.dot(x, p)) for p in positives] for x in images])
    np.testing.assert_array_equal(nearest, sims.argmax(axis=1))
    np.testing.assert_allclose(cosines, sims.max(axis=1), atol=1e-6)
    for name, temperature in (("mcm", 1), ("sharp", 0.01)):
        expected = softmax(sims / temperature, axis=1).max(axis=1)
        np.testing.assert_allclose(scores[name, None], expected, rtol=3e-5)
    for name, texts in negatives.items():
        expected = slow_neglabel(sims, images.astype(float) @ texts.T.astype(float), 0.01, 6, 1)
        np.testing.assert_allclose(scores["neglabel", name], expected, rtol=1e-4, atol=1e-6)
    assert {values.dtype for values in scores.values()} == {np.dtype(np.float32)}
    assert nearest.dtype == np.int32
    assert cosines.dtype == np.float32


def test_nearest_is_the_first_of_equals():
    positives = np.ones((5, 1), np.float32)
    _, nearest, _ = score_blocks([np.ones((3, 1), np.float32)], positives, {}, {})
    assert nearest.tolist() == [0, 0, 0]


def test_an_impossible_detector_has_a_reason_in_place_of_scores():
    """Two negatives for six groups, and fewer training images than neighbours; the others score."""
    rng = np.random.default_rng(0)
    images, positives = unit(rng, 9), unit(rng, 4)
    negatives = {"far": unit(rng, 7), "few": unit(rng, 2)}
    config = CONFIG | {"knn": {"method": "knn", "k": 6}}
    train = embeddings([unit(rng, 5)])
    with pytest.raises(Impossible, match="2 negatives for 6 groups"):
        score_blocks([images], positives, negatives, CONFIG)
    missing = {}
    blocks = [images[:4], images[4:]]
    scores, _, _ = score_blocks(blocks, positives, negatives, config, train, missing=missing)
    assert set(missing) == {("neglabel", "few"), ("knn", None)}
    assert "2 negatives for 6 groups" in missing["neglabel", "few"]
    assert "5 training images" in missing["knn", None]
    expected, _, _ = score_blocks([images], positives, {"far": negatives["far"]}, CONFIG)
    assert set(scores) == set(expected)
    for key, values in scores.items():
        np.testing.assert_allclose(values, expected[key], rtol=1e-5)


def test_no_images():
    positives = np.ones((5, 1), np.float32)
    scores, nearest, cosines = score_blocks([], positives, {"n": positives}, CONFIG)
    assert len(scores) == 3
    assert all(len(values) == 0 for values in [*scores.values(), nearest, cosines])


def test_memory_does_not_grow_with_the_images(monkeypatch):
    rng = np.random.default_rng(0)
    positives, negatives = unit(rng, 50), {"n": unit(rng, 1000)}
    train, images = embeddings([unit(rng, 1000)]), unit(rng, 5000)
    config = {name: {"method": name} for name in METHODS}
    monkeypatch.setattr(similarity, "TILE", 100_000)
    tracemalloc.start()
    clusters = fit_gaussians(train, np.arange(1000) % 10)
    score_blocks([images], positives, negatives, config, train, clusters)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # the product would be 20 MB, a tile is 0.4 MB


def test_one_product_per_tile_and_list_of_texts(monkeypatch):
    rng = np.random.default_rng(0)
    products = []

    def counted(images, texts):
        products.append(len(texts))
        return (texts @ images.T).T

    monkeypatch.setattr(detectors, "_cosines", counted)
    monkeypatch.setattr(similarity, "TILE", 650)  # 10 images a tile
    negatives = {"far": unit(rng, 40), "rest": unit(rng, 65)}
    config = {name: {"method": name} for name, m in METHODS.items() if m.needs[0] == "positives"}
    for block in config.values():
        if block["method"] in ("neglabel", "negrefine"):
            block["groups"] = 5
    score_blocks([unit(rng, 30)], unit(rng, 7), negatives, config)
    assert products == [7, 40, 65] * 3


def test_refuses_bad_configurations():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(InputError, match=r"detectors.a.method: unknown method 'best'.*mcm"):
        score_blocks([x], x, {}, {"a": {"method": "best"}})
    with pytest.raises(InputError, match=r"detectors\.neglabel: neglabel needs negatives"):
        score_blocks([x], x, {}, CONFIG)
    with pytest.raises(InputError, match="no positives"):
        score_blocks([x], x[:0], {"n": x}, CONFIG)
    with pytest.raises(InputError, match="has 0 negatives"):
        score_blocks([x], x, {"n": x[:0]}, CONFIG)


@pytest.mark.parametrize(("positives", "negatives", "name"), [(2, 3, "positives"), (3, 2, "'n'")])
def test_refuses_other_dimensions(positives, negatives, name):
    x = np.ones((9, 3), np.float32)
    with pytest.raises(InputError, match=name):
        score_blocks([x], x[:, :positives], {"n": x[:, :negatives]}, CONFIG)


def test_refuses_values_that_are_not_finite():
    x = np.ones((9, 3), np.float32)
    bad = x.copy()
    bad[1, 1] = np.nan
    for arguments in ([[bad], x, {"n": x}], [[x], bad, {"n": x}], [[x], x, {"n": bad}]):
        with pytest.raises(InputError, match="NaN or infinite"):
            score_blocks(*arguments, CONFIG)


def test_the_temperature_of_the_encoder():
    blocks = {
        "mcm": {"method": "mcm", "temperature": "encoder"},
        "energy": {"method": "energy", "temperature": 0.5},
        "max_logit": {"method": "max_logit"},
    }
    known = with_temperatures(blocks, {"model": "siglip", "logit_scale": 8.0})
    assert known == blocks | {"mcm": {"method": "mcm", "temperature": 0.125}}
    for encoder in ({}, {"model": "mine", "pretrained": "precomputed"}, {"logit_scale": None}):
        with pytest.raises(InputError, match=r"detectors.mcm.temperature: .* does not tell"):
            with_temperatures(blocks, encoder)
    others = {name: blocks[name] for name in ("energy", "max_logit")}
    assert with_temperatures(others, {}) == others


def test_every_method_in_one_stream(monkeypatch):
    """Each score equals the same detector's on the whole, whatever the tiles, its inputs apart."""
    rng = np.random.default_rng(5)
    images, positives, negatives = unit(rng, 50), unit(rng, 7), unit(rng, 40)
    train = unit(rng, 60)
    clusters = fit_gaussians(embeddings([train]), rng.integers(0, 3, 60))
    sources = {"positives": positives, "train": embeddings([train]), "clusters": clusters}
    config = {name: {"method": name} for name in METHODS}
    config["knn"]["k"] = 4
    for name in ("neglabel", "negrefine"):
        config[name]["groups"] = 6
    monkeypatch.setattr(similarity, "TILE", 400)  # 10 images a tile
    scores, _, _ = score_blocks(
        [images[:23], images[23:]],
        positives,
        {"n": negatives},
        config,
        embeddings([train]),
        clusters,
    )
    monkeypatch.undo()
    positive_sims, negative_sims = images @ positives.T, images @ negatives.T
    for name, method in METHODS.items():
        parameters = {key: value for key, value in config[name].items() if key != "method"}
        if method.fitted:
            given = [{**sources, "negatives": negatives}[need] for need in method.needs]
            expected = function_of(name)(*given, **parameters)(images, positive_sims, negative_sims)
        else:
            sims = {"positives": positive_sims, "negatives": negative_sims}
            expected = function_of(name)(*(sims[need] for need in method.needs), **parameters)
        against = "n" if "negatives" in method.needs else None
        np.testing.assert_allclose(scores[name, against], expected, rtol=1e-4, atol=1e-5)
    assert len(scores) == len(METHODS)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_names_what_is_missing(method):
    x = np.ones((20, 3), np.float32)
    sources = {
        "positives": x,
        "negatives": {"n": x},
        "train": embeddings([x]),
        "clusters": fit_gaussians(embeddings([x]), np.arange(20) % 2),
    }
    assert set(METHODS[method].needs) <= set(sources)
    config = {"mine": {"method": method}}
    for need in METHODS[method].needs:
        given = sources | {need: {} if need == "negatives" else None}
        with pytest.raises(InputError, match=rf"detectors\.mine: {method} needs {need}"):
            score_blocks(
                [x], given["positives"], given["negatives"], config, given["train"],
                given["clusters"],
            )  # fmt: skip


def test_scores_without_positives():
    rng = np.random.default_rng(0)
    train, images = unit(rng, 30), unit(rng, 9)
    config = {"knn": {"method": "knn", "k": 3}}
    scores, nearest, cosines = score_blocks([images], None, {}, config, train=embeddings([train]))
    np.testing.assert_array_equal(scores["knn", None], knn(embeddings([train]), 3)(images))
    assert nearest is cosines is None


def test_a_detector_with_a_memory_sees_all_image_sets_mixed():
    """Two image sets one after the other: in order the memory would fill with the first alone."""
    rng = np.random.default_rng(0)
    positives, negatives, images = unit(rng, 3), {"n": unit(rng, 7)}, unit(rng, 60)
    config = {"ada": {"method": "adaneg", "temperature": 0.3, "groups": 2}}
    config["mcm"] = {"method": "mcm"}
    stored = embeddings([images[:35], images[35:35], images[35:]])
    scores, nearest, cosines = score_embeddings(stored, positives, negatives, config)
    order = np.random.default_rng(0).permutation(60)
    mixed, _, _ = score_blocks([images[order]], positives, negatives, config)
    np.testing.assert_allclose(scores["ada", "n"][order], mixed["ada", "n"], atol=1e-6)
    plain, plain_nearest, plain_cosines = score_blocks([images], positives, negatives, config)
    assert not np.allclose(scores["ada", "n"], plain["ada", "n"], atol=1e-3)
    np.testing.assert_allclose(scores["mcm", None], plain["mcm", None], atol=1e-6)
    np.testing.assert_array_equal(nearest, plain_nearest)
    np.testing.assert_allclose(cosines, plain_cosines, atol=1e-6)


def test_memory_of_a_whole_set_does_not_grow_with_the_images(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", unit(rng, 60_000, 128).astype(np.float16))
    images = embeddings([np.load(tmp_path / "images.npy", mmap_mode="r")])
    config = {name: {"method": name} for name in ("mcm", "adaneg")}
    positives, negatives = unit(rng, 5, 128), {"n": unit(rng, 10, 128)}
    tracemalloc.start()
    score_embeddings(images, positives, negatives, config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # all images are 31 MB of float32, a block is 4 MB


def margin(positive_sims):
    """Gap between the two nearest positives; of a single positive, its cosine."""
    first = positive_sims.max(axis=1)
    if positive_sims.shape[1] == 1:
        return first
    return first - np.partition(positive_sims, -2, axis=1)[:, -2]


@pytest.mark.parametrize("p", [1, 2, 9])
def test_a_new_detector_is_one_function_and_one_entry(p, monkeypatch):
    """The example of workflow_scripts/README.md, beside a detector that is there already."""
    monkeypatch.setattr(text_scores, "margin", margin, raising=False)
    monkeypatch.setitem(METHODS, "margin", Method("texts"))
    rng = np.random.default_rng(p)
    images, positives = unit(rng, 30), unit(rng, p)
    config = {"margin": {"method": "margin"}, "max_logit": {"method": "max_logit"}}
    scores, _, cosines = score_embeddings(embeddings([images]), positives, {}, config)
    ordered = np.sort(images @ positives.T, axis=1)
    expected = ordered[:, -1] - (ordered[:, -2] if p > 1 else 0)
    np.testing.assert_allclose(scores["margin", None], expected, atol=1e-6)
    assert scores["margin", None].dtype == np.float32
    np.testing.assert_array_equal(scores["max_logit", None], cosines)
