import logging

import clustering_cases as cases
import numpy as np
import pytest
import torch
from clustering_cases import (
    accuracy,
    by_epoch,
    joined_blobs,
    random_heads,
    random_tensors,
    same_clustering,
    task_of,
)

from workflow_scripts.lib.clustering import epochs, temi
from workflow_scripts.lib.clustering.epochs import best_head
from workflow_scripts.lib.clustering.heads import log_probabilities
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
from workflow_scripts.lib.clustering.temi import temi_loss, update_prior
from workflow_scripts.lib.errors import InputError

CFG = {
    "method": "temi",
    "seed": 0,
    "steps": 40,
    "warmup_steps": 5,
    "batch_size": 32,
    "base_lr": 0.05,
    "standardise": False,
    "heads": 3,
    "hidden": 12,
    "bottleneck": 6,
    "beta": 0.6,
    "temperature": 0.1,
    "precision": "float32",
    "teacher_momentum": 0.9,
    "prior_momentum": 0.9,
    "neighbours": 5,
}


def train(rows, neighbours, k, cfg, **options):
    return temi.fit(task_of(rows, k, cfg, neighbours, **options))


# --- loss -----------------------------------------------------------------------------------


def reference_loss(student_a, student_b, teacher_a, teacher_b, prior, beta):
    """The paper's loss written as loops over heads, pairs and clusters, in float64."""
    heads, pairs, k = student_a.shape
    losses = []
    for h in range(heads):
        loss = 0
        for i in range(pairs):
            weight = 0
            for g in range(heads):
                for c in range(k):
                    weight = weight + teacher_a[g, i, c] * teacher_b[g, i, c] / heads
            for student, teacher in ((student_a, teacher_b), (student_b, teacher_a)):
                mass = 0
                for c in range(k):
                    mass = mass + (student[h, i, c] * teacher[h, i, c]) ** beta / prior[h, c]
                loss = loss - weight * torch.log(mass) / (2 * pairs)
        losses.append(loss)
    return torch.stack(losses)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("beta", [0.6, 1.0])
def test_loss_and_gradients_equal_the_loops(heads, beta):
    logits = random_tensors(heads, 5, 4, count=4)
    prior = random_tensors(heads, 4, seed=9)[0].softmax(-1)

    fast = [2 * x.clone() for x in logits]
    fast[0].requires_grad_(), fast[1].requires_grad_()
    loss = temi_loss(*[x.log_softmax(-1) for x in fast], prior, beta)
    loss.mean().backward()

    slow = [2 * x.double() for x in logits]
    slow[0].requires_grad_(), slow[1].requires_grad_()
    expected = reference_loss(*[x.softmax(-1) for x in slow], prior.double(), beta)
    expected.mean().backward()

    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    for view in (0, 1):
        assert slow[view].grad.abs().max() > 1e-3
        torch.testing.assert_close(fast[view].grad.double(), slow[view].grad, rtol=1e-5, atol=1e-6)


def test_loss_stays_finite_for_hard_probabilities():
    logits = [1000 * x for x in random_tensors(2, 6, 50, count=4)]
    logits[0].requires_grad_(), logits[1].requires_grad_()
    prior = torch.zeros(2, 50)
    prior[:, 0] = 1
    loss = temi_loss(*[x.log_softmax(-1) for x in logits], prior, 0.6)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits[0].grad.isfinite().all()
    assert logits[1].grad.isfinite().all()


def test_the_gradient_of_a_stacked_head_is_that_of_the_head_alone():
    # With identical copies the shared weight w equals the weight of one head alone.
    single = random_heads(heads=1)
    stacked = {name: value.repeat(3, 1, 1) for name, value in single.items()}
    (x,) = random_tensors(8, 7, seed=20)
    gradients = {}
    for label, heads in (("single", single), ("stacked", stacked)):
        heads = {name: value.clone().requires_grad_() for name, value in heads.items()}
        student = log_probabilities(heads, x, 0.5)
        prior = torch.full((len(student), 4), 0.25)
        teacher = student.detach()
        temi_loss(*student.chunk(2, 1), *teacher.chunk(2, 1), prior, 0.6).sum().backward()
        gradients[label] = {name: value.grad for name, value in heads.items()}
    for name, value in gradients["single"].items():
        torch.testing.assert_close(gradients["stacked"][name], value.repeat(3, 1, 1))


def test_prior_by_hand():
    prior = torch.tensor([[0.5, 0.5]])
    update_prior(prior, torch.tensor([[[0.8, 0.2], [1.0, 0.0]]]).log(), 0.9)
    torch.testing.assert_close(prior, torch.tensor([[0.54, 0.46]]))  # .9 x .5 + .1 x .9
    update_prior(prior, torch.tensor([[[0.0, 1.0], [0.2, 0.8]]]).log(), 0.9)
    torch.testing.assert_close(prior, torch.tensor([[0.496, 0.504]]))  # .9 x .54 + .1 x .1


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_recovers_blobs(seed):
    embeddings, _, labels = joined_blobs()
    cfg = CFG | {
        "steps": 200,
        "warmup_steps": 50,
        "batch_size": 100,
        "base_lr": 0.02,
        "heads": 8,
        "hidden": 32,
        "bottleneck": 16,
        "neighbours": 20,
        "seed": seed,
    }
    result = train(embeddings, nearest_neighbours(embeddings, 20), 5, cfg)
    clusters, probability = temi.assign([embeddings], result.weights, CFG)
    assert accuracy(labels, clusters) > 0.95
    assert (clusters.dtype, probability.dtype) == (np.int32, np.float32)
    loss = by_epoch(result, "loss")
    assert loss[-1].max() < loss[0].min()


def test_float16_memory_map_trains_as_its_values_do(tmp_path):
    embeddings, neighbours, _ = joined_blobs()
    np.save(tmp_path / "e.npy", embeddings.astype(np.float16))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    one = train(mapped, neighbours, 5, CFG)
    same_clustering(one, train(mapped.astype(np.float32), neighbours, 5, CFG))
    assert temi.assign([mapped], one.weights, CFG)[0].shape == (200,)


def test_history_and_head_selection(monkeypatch):
    # 200 images in batches of 32: at most 6 steps an epoch, so 40 steps make 7 epochs.
    embeddings, neighbours, _ = joined_blobs()
    rows = []
    monkeypatch.setattr(epochs, "log_epoch", rows.append)
    result = train(embeddings, neighbours, 5, CFG)
    np.testing.assert_array_equal(
        by_epoch(result, "step"), np.repeat([[5], [11], [17], [22], [28], [34], [40]], 3, axis=1)
    )
    np.testing.assert_array_equal(by_epoch(result, "epoch")[:, 0], range(7))
    np.testing.assert_array_equal(by_epoch(result, "head")[4], range(3))
    loss, used = by_epoch(result, "loss"), by_epoch(result, "used_clusters")
    assert loss.shape == used.shape == (7, 3)
    assert result.meta == {"best_head": loss[-1].argmin(), "objective": loss[-1].min()}
    assert len(set(loss[-1])) == 3
    assert used.min() >= 1
    assert used.max() <= 5
    np.testing.assert_array_equal([row["loss"] for row in rows], loss)


def test_the_best_head_has_a_finite_loss():
    loss = np.array([np.nan, 3, 2], np.float32)
    assert best_head(loss) == 2
    with pytest.raises(InputError, match="lower the learning rate"):
        best_head(loss * np.nan)


def test_fewer_images_than_a_batch():
    embeddings, neighbours, _ = joined_blobs(classes=2, per_class=10)
    result = train(embeddings, neighbours, 2, CFG | {"steps": 3})
    np.testing.assert_array_equal(by_epoch(result, "step")[:, 0], [1, 2, 3])


def test_last_layer_is_frozen_in_the_first_epoch_only():
    embeddings, neighbours, _ = joined_blobs()
    first, second = (
        train(embeddings, neighbours, 5, CFG | {"steps": steps}).weights for steps in (6, 12)
    )
    assert (first["scale"] == 1).all()
    assert first["hidden_bias"].any()
    assert (second["scale"] != 1).any()
    assert (second["prototypes"] != first["prototypes"]).any()


def test_seeds():
    embeddings, neighbours, _ = joined_blobs()
    one, again, other = (
        train(embeddings, neighbours, 5, CFG | {"seed": seed}) for seed in (1, 1, 2)
    )
    same_clustering(one, again)
    assert one.weights["prototypes"].tobytes() != other.weights["prototypes"].tobytes()


def test_assign_streams_blocks_and_scores_are_its_log_probabilities():
    embeddings, neighbours, _ = joined_blobs()
    weights = train(embeddings, neighbours, 5, CFG).weights
    blocks = (embeddings[i : i + 33] for i in range(0, 200, 33))
    clusters, probability = temi.assign(blocks, weights, CFG)
    heads = {name: torch.from_numpy(value[None]) for name, value in weights.items()}
    expected = log_probabilities(heads, torch.from_numpy(embeddings), 0.1)[0].exp().numpy()
    np.testing.assert_array_equal(clusters, expected.argmax(axis=1))
    np.testing.assert_allclose(probability, expected.max(axis=1), rtol=1e-4)
    scores = temi.scores(embeddings, weights, CFG)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4)


def test_what_is_found_in_blocks_of_any_size_is_in_their_order():
    (logits,) = random_tensors(57, 4)
    blocks = [logits[:1], logits[1:2], logits[2:30], logits[30:30], logits[30:]]
    clusters, probabilities = epochs.most_probable(iter(block.log_softmax(-1) for block in blocks))
    best = logits.double().softmax(-1).max(-1)
    np.testing.assert_array_equal(clusters, best.indices)
    np.testing.assert_allclose(probabilities, best.values, rtol=1e-6)
    assert [array.dtype for array in epochs.most_probable([])] == [np.int32, np.float32]


# --- kill and resume ------------------------------------------------------------------------


def train_and_kill(monkeypatch, after_epoch, **options):
    cases.kill_after(monkeypatch, after_epoch)
    rows, neighbours, _ = joined_blobs()
    with pytest.raises(cases.Killed):
        train(rows, neighbours, 5, **({"cfg": CFG} | options))


@pytest.mark.parametrize(("after_epoch", "standardise"), [(0, False), (3, False), (3, True)])
def test_a_killed_training_resumes_to_the_same_bytes(
    tmp_path, monkeypatch, after_epoch, standardise
):
    rows, neighbours, _ = joined_blobs()
    cfg = CFG | {"standardise": standardise}
    whole = train(rows, neighbours, 5, cfg)
    train_and_kill(monkeypatch, after_epoch, cfg=cfg, state_path=tmp_path / "state")
    assert (tmp_path / "state").exists()
    seen = cases.watch_epochs(monkeypatch)
    resumed = train(rows, neighbours, 5, cfg, state_path=tmp_path / "state")
    assert seen == list(range(after_epoch + 1, 7))
    same_clustering(resumed, whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("seed", "other code, settings, seed or data"),
        ("cfg", "other code, settings, seed or data"),
        ("code", "other code, settings, seed or data"),
        ("data", "other code, settings, seed or data"),
        ("truncated", "it is not a readable"),
    ],
)
def test_a_foreign_state_is_ignored_with_a_warning(tmp_path, monkeypatch, caplog, change, reason):
    state = tmp_path / "state"
    changed = {"seed": {"cfg": CFG | {"seed": 7}}, "cfg": {"cfg": CFG | {"beta": 0.5}},
               "code": {"code": "code@2"}}  # fmt: skip
    train_and_kill(monkeypatch, 2, state_path=state, **changed.get(change, {}))
    rows, neighbours, _ = joined_blobs()
    if change == "data":
        rows = rows[::-1].copy()
    if change == "truncated":
        state.write_bytes(state.read_bytes()[:1000])
    seen = cases.watch_epochs(monkeypatch)
    with caplog.at_level(logging.WARNING):
        found = train(rows, neighbours, 5, CFG, state_path=state)
    assert f"ignoring {state}, training starts anew: {reason}" in caplog.text
    assert seen == list(range(7))
    same_clustering(found, train(rows, neighbours, 5, CFG))


def test_states_are_written_at_most_every_30_seconds(tmp_path, monkeypatch):
    rows, neighbours, _ = joined_blobs()
    written = []
    cases.watch_epochs(monkeypatch)
    monkeypatch.setattr(epochs, "_save", lambda path, *_: written.append(path))
    train(rows, neighbours, 5, CFG, state_path=tmp_path / "state")
    assert not written


# --- sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "k", "wanted", "message"),
    [
        (200, 1, 5, "set `k` from 2 to 200"),
        (200, 201, 5, "cannot make 201 clusters of 200 images: set `k` from 2 to 200"),
        (199, 5, 5, "199 rows of neighbours for 200 images"),
        (200, 5, 6, "`neighbours` is 6, but 5 per image were given"),
    ],
)
def test_sizes_that_do_not_fit(rows, k, wanted, message):
    embeddings, neighbours, _ = joined_blobs()
    with pytest.raises(InputError, match=message):
        train(embeddings, neighbours[:rows], k, CFG | {"neighbours": wanted})
