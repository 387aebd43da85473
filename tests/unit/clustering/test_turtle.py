import math

import numpy as np
import pytest
import torch
from clustering_cases import (
    Killed,
    accuracy,
    blobs,
    by_epoch,
    kill_after,
    same_clustering,
    task_of,
    watch_epochs,
)

from workflow_scripts.lib.clustering import epochs, turtle
from workflow_scripts.lib.clustering.turtle import (
    adam,
    fit_classifiers,
    task_log_probabilities,
    train_turtle,
    turtle_objective,
)
from workflow_scripts.lib.errors import InputError

CFG = {
    "method": "turtle",
    "seed": 0,
    "steps": 60,
    "inner_steps": 10,
    "batch_size": 64,
    "inner_lr": 0.1,
    "outer_lr": 0.03,
    "gamma": 10.0,
    "warm_start": False,
    "temperature": 0.1,
    "precision": "float32",
    "heads": 3,
}


def train(rows, k, cfg, **options):
    return turtle.fit(task_of(rows, k, cfg, **options))


# --- one step against a slow reference ------------------------------------------------------


def softmax(row):
    top = [math.exp(value - max(row)) for value in row]
    return [value / sum(top) for value in top]


def reference_fit(x, labels, lr, steps):
    """Classifier from zero by Adam (Kingma and Ba), with loops; x [B, d], labels [B, K]."""
    (n, d), k = x.shape, labels.shape[1]
    theta = np.zeros(k * d + k)  # weights, then biases
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, steps + 1):
        gradient = np.zeros_like(theta)
        for i in range(n):
            q = softmax([theta[c * d : c * d + d] @ x[i] + theta[k * d + c] for c in range(k)])
            for c in range(k):
                gradient[c * d : c * d + d] += (q[c] - labels[i, c]) * x[i] / n
                gradient[k * d + c] += (q[c] - labels[i, c]) / n
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        theta = theta - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta[: k * d].reshape(k, d), theta[k * d :]


def reference_labels(directions, scale, x, temperature):
    return np.array(
        [
            softmax(
                [
                    scale[c] * (directions[c] @ row) / math.sqrt(directions[c] @ directions[c])
                    / temperature
                    for c in range(len(scale))
                ]
            )
            for row in x
        ]
    )  # fmt: skip


def reference_objective(directions, scale, x, weight, bias, temperature, gamma):
    labels = reference_labels(directions, scale, x, temperature)
    n, k = labels.shape
    total = 0
    for i in range(n):
        q = softmax([weight[c] @ x[i] + bias[c] for c in range(k)])
        total -= sum(labels[i, c] * math.log(q[c]) for c in range(k)) / n
    mean = labels.mean(axis=0)
    return total + gamma * sum(p * math.log(p) for p in mean)


def test_one_step_equals_the_loops():
    # Inner loop, objective, and the first-order gradient by central differences in float64.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 4))
    directions, scale = rng.normal(size=(3, 4)), rng.uniform(0.5, 2, 3)
    labels = reference_labels(directions, scale, x, 0.5)
    weight, bias = reference_fit(x, labels, 0.1, 7)

    views = [torch.from_numpy(x).float()]
    task = {
        "prototypes_0": torch.from_numpy(directions)[None].float().requires_grad_(),
        "scale_0": torch.from_numpy(scale)[None, :, None].float().requires_grad_(),
    }
    found = task_log_probabilities(task, views, 0.5)
    np.testing.assert_allclose(found.detach().exp()[0], labels, rtol=1e-5)
    classifiers = {"weight_0": torch.zeros(1, 3, 4), "bias_0": torch.zeros(1, 3)}
    optimiser = adam(classifiers, 0.1)
    fit_classifiers(classifiers, optimiser, views, found.detach().exp(), 7)
    np.testing.assert_allclose(classifiers["weight_0"][0], weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(classifiers["bias_0"][0], bias, rtol=1e-4, atol=1e-5)
    assert [state["step"] for state in optimiser.state.values()] == [7, 7]

    logits = views[0] @ classifiers["weight_0"].mT + classifiers["bias_0"].unsqueeze(1)
    objective = turtle_objective(found, [logits.log_softmax(-1)], 10)
    objective.sum().backward()

    def slow(directions, scale):
        return reference_objective(directions, scale, x, weight, bias, 0.5, 10)

    assert objective.item() == pytest.approx(slow(directions, scale), rel=1e-5)
    for name, array in (("prototypes_0", directions), ("scale_0", scale)):
        expected = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                changed = array.copy()
                changed[index] += sign * 1e-5
                both = (changed, scale) if name == "prototypes_0" else (directions, changed)
                values.append(slow(*both))
            expected[index] = (values[0] - values[1]) / 2e-5
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(
            task[name].grad.numpy().reshape(array.shape), expected, rtol=1e-3, atol=1e-4
        )


def test_labels_are_the_mean_over_the_spaces():
    rng = np.random.default_rng(1)
    task, views, labels = {}, [], []
    for s, d in enumerate((4, 7)):
        x, directions, scale = rng.normal(size=(5, d)), rng.normal(size=(3, d)), np.ones(3)
        labels.append(reference_labels(directions, scale, x, 0.3))
        task[f"prototypes_{s}"] = torch.from_numpy(directions)[None].float()
        task[f"scale_{s}"] = torch.ones(1, 3, 1)
        views.append(torch.from_numpy(x).float())
    found = task_log_probabilities(task, views, 0.3)[0].exp()
    np.testing.assert_allclose(found, np.mean(labels, axis=0), rtol=1e-4)


def test_objective_of_two_spaces_by_hand():
    labels = torch.tensor([[[0.75, 0.25], [0.25, 0.75]]])
    one = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]])
    other = torch.tensor([[[0.25, 0.75], [0.75, 0.25]]])
    found = turtle_objective(labels.log(), [one.log(), other.log()], 10)
    expected = math.log(2) - 0.75 * math.log(0.25) - 0.25 * math.log(0.75) - 10 * math.log(2)
    assert found.item() == pytest.approx(expected, rel=1e-5)


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize("warm_start", [True, False])
def test_recovers_blobs(warm_start):
    embeddings, labels = blobs()
    cfg = CFG | {"steps": 200, "heads": 4, "warm_start": warm_start}
    result = train(embeddings, 5, cfg)
    clusters, probability = turtle.assign([embeddings], result.weights, CFG)
    assert accuracy(labels, clusters) > 0.95
    assert (clusters.dtype, probability.dtype) == (np.int32, np.float32)
    loss = by_epoch(result, "loss")
    assert loss[-1].max() < loss[0].min()
    assert result.meta == {"best_head": loss[-1].argmin(), "objective": loss[-1].min()}
    assert len(set(loss[-1])) == 4


def test_two_spaces_recover_blobs():
    spaces = [blobs(seed=0)[0], blobs(d=24, seed=1)[0]]
    labels = blobs()[1]
    task = task_of(spaces[0], 5, CFG | {"steps": 200})
    weights = train_turtle(spaces, task).weights
    assert weights["prototypes_1"].shape == (5, 24)
    encoder = {name: torch.from_numpy(value)[None] for name, value in weights.items()}
    views = [torch.from_numpy(space) for space in spaces]
    clusters = task_log_probabilities(encoder, views, 0.1)[0].argmax(dim=-1)
    assert accuracy(labels, clusters.numpy()) > 0.95


def test_assign_streams_blocks_and_scores_are_its_log_probabilities():
    embeddings, _ = blobs()
    weights = train(embeddings, 5, CFG).weights
    encoder = {name: torch.from_numpy(value)[None] for name, value in weights.items()}
    views = [torch.from_numpy(embeddings)]
    expected = task_log_probabilities(encoder, views, 0.1)[0].exp().numpy()
    blocks = (embeddings[i : i + 33] for i in range(0, 200, 33))
    clusters, probability = turtle.assign(blocks, weights, CFG)
    np.testing.assert_array_equal(clusters, expected.argmax(axis=1))
    np.testing.assert_allclose(probability, expected.max(axis=1), rtol=1e-4)
    np.testing.assert_allclose(np.exp(turtle.scores(embeddings, weights, CFG)), expected, rtol=1e-4)


def test_a_head_does_not_depend_on_the_others():
    # With one batch per epoch all heads see the same images, in another order.
    embeddings, _ = blobs()
    cfg = CFG | {"steps": 5, "batch_size": 200, "heads": 1}
    alone = by_epoch(train(embeddings, 5, cfg), "loss")
    together = by_epoch(train(embeddings, 5, cfg | {"heads": 3}), "loss")
    np.testing.assert_allclose(alone[:, 0], together[:, 0], rtol=1e-4)


@pytest.mark.parametrize("warm_start", [True, False])
def test_only_warm_classifiers_go_on_where_they_ended(warm_start):
    # With the labels held fixed and the whole set in a batch, only the classifiers can improve.
    embeddings, _ = blobs()
    cfg = CFG | {"steps": 4, "batch_size": 200, "outer_lr": 0.0, "warm_start": warm_start}
    loss = by_epoch(train(embeddings, 5, cfg), "loss")
    if warm_start:
        assert (np.diff(loss, axis=0) < -1e-3).all()
    else:
        np.testing.assert_allclose(loss, np.broadcast_to(loss[0], loss.shape), rtol=1e-4)


def test_history(monkeypatch):
    embeddings, _ = blobs()
    rows = []
    monkeypatch.setattr(epochs, "log_epoch", rows.append)
    found = train(embeddings, 5, CFG | {"steps": 8})
    # 200 images: at most 3 batches
    np.testing.assert_array_equal(by_epoch(found, "step")[:, 0], [2, 5, 8])
    assert by_epoch(found, "loss").shape == by_epoch(found, "used_clusters").shape == (3, 3)
    np.testing.assert_array_equal([row["loss"] for row in rows], by_epoch(found, "loss"))


def test_seeds_and_float16_memory_map(tmp_path):
    np.save(tmp_path / "e.npy", blobs()[0].astype(np.float16))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    one, again, other = (
        train(rows, 5, CFG | {"seed": seed})
        for rows, seed in ((mapped, 1), (mapped.astype(np.float32), 1), (mapped, 2))
    )
    same_clustering(one, again)
    assert one.weights["prototypes_0"].tobytes() != other.weights["prototypes_0"].tobytes()


@pytest.mark.parametrize("warm_start", [True, False])
def test_a_killed_training_resumes_to_the_same_bytes(tmp_path, monkeypatch, warm_start):
    embeddings, _ = blobs()
    cfg, state = CFG | {"warm_start": warm_start}, tmp_path / "state"
    kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        train(embeddings, 5, cfg, state_path=state)
    seen = watch_epochs(monkeypatch)
    resumed = train(embeddings, 5, cfg, state_path=state)
    assert seen == list(range(5, 20))
    same_clustering(resumed, train(embeddings, 5, cfg))
    assert list(tmp_path.iterdir()) == []


# --- odd inputs -----------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0.0, 0.25])
def test_equal_images_train_without_nan(fill):
    embeddings = np.full((40, 16), fill, np.float32)
    result = train(embeddings, 4, CFG)
    assert all(np.isfinite(value).all() for value in result.weights.values())
    assert len(set(turtle.assign([embeddings], result.weights, CFG)[0])) == 1


def test_inputs_that_do_not_fit():
    embeddings, _ = blobs()
    with pytest.raises(InputError, match=r"spaces of \[200, 199\] images"):
        train_turtle([embeddings, embeddings[1:]], task_of(embeddings, 5, CFG))
    with pytest.raises(InputError, match="set `k` from 2 to 200"):
        train(embeddings, 201, CFG)
    embeddings[3] = np.inf
    with pytest.raises(InputError, match="NaN or infinite values in the embeddings"):
        train(embeddings, 5, CFG)
