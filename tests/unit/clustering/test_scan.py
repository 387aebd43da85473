"""The loss of SCANv2 and its training; the machinery it shares with TEMI is in test_temi.py."""

import clustering_cases as cases
import numpy as np
import pytest
import torch
from clustering_cases import (
    accuracy,
    by_epoch,
    joined_blobs,
    random_tensors,
    same_clustering,
    task_of,
)

from workflow_scripts.lib.clustering import scan, temi
from workflow_scripts.lib.clustering.heads import log_probabilities
from workflow_scripts.lib.clustering.scan import class_probabilities, scan_loss
from workflow_scripts.lib.errors import InputError

CFG = {
    "method": "scan",
    "seed": 0,
    "steps": 30,
    "warmup_steps": 5,
    "batch_size": 32,
    "base_lr": 0.05,
    "standardise": False,
    "heads": 3,
    "hidden": 12,
    "bottleneck": 6,
    "entropy_weight": 5.0,
    "entropy_momentum": 0.5,
    "temperature": 0.1,
    "precision": "float32",
    "teacher_momentum": 0.9,
    "neighbours": 5,
}


def train(rows, neighbours, k, cfg, **options):
    return scan.fit(task_of(rows, k, cfg, neighbours, **options))


# --- loss -----------------------------------------------------------------------------------


def reference_loss(student_a, student_b, teacher_a, teacher_b, before, momentum, weight):
    """One head's loss as loops over pairs and clusters; probabilities [B, K], float64."""
    pairs, k = student_a.shape
    loss = 0
    for student, teacher in ((student_a, teacher_b), (student_b, teacher_a)):
        for i in range(pairs):
            agreement = 0
            for c in range(k):
                agreement = agreement + teacher[i, c] * student[i, c]
            loss = loss - torch.log(agreement) / (2 * pairs)
    for view in (student_a, student_b):
        for c in range(k):
            mean = 0
            for i in range(pairs):
                mean = mean + view[i, c] / pairs
            p = momentum * before[c] + (1 - momentum) * mean
            loss = loss + weight * p * torch.log(p) / 2
    return loss


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_loss_and_gradients_equal_the_loops_over_single_heads(heads, momentum):
    logits = [2 * x for x in random_tensors(heads, 5, 4, count=4)]
    prior = random_tensors(heads, 4, seed=9)[0].softmax(-1)
    before = prior.double().clone()

    student_a, student_b = (x.clone().requires_grad_() for x in logits[:2])
    views = [x.log_softmax(-1) for x in (student_a, student_b, *logits[2:])]
    probabilities = class_probabilities(prior, torch.cat(views[:2], dim=1), momentum)
    loss = scan_loss(*views, probabilities, 5)
    loss.sum().backward()

    for h in range(heads):
        slow = [x[h].double().requires_grad_() for x in logits]
        expected = reference_loss(*[x.softmax(-1) for x in slow[:2]],
                                  *[x.softmax(-1).detach() for x in slow[2:]],
                                  before[h], momentum, 5)  # fmt: skip
        expected.backward()
        assert loss[h].item() == pytest.approx(expected.item(), rel=1e-5)
        for fast, view in ((student_a, slow[0]), (student_b, slow[1])):
            assert view.grad.abs().max() > 1e-2
            torch.testing.assert_close(fast.grad[h].double(), view.grad, rtol=1e-5, atol=1e-5)


def test_class_probabilities_by_hand():
    prior = torch.tensor([[0.5, 0.5]])
    rows = [
        [0.8, 0.2],
        [1.0, 0.0],
        [0.2, 0.8],
        [0.4, 0.6],
    ]  # two pairs: the last two are neighbours
    student = torch.tensor([rows]).log().requires_grad_()
    found = class_probabilities(prior, student, 0.75)
    # .75 x .5 + .25 x .9 for the images, + .25 x .3 for their neighbours
    torch.testing.assert_close(found.detach(), torch.tensor([[[0.6, 0.4]], [[0.45, 0.55]]]))
    torch.testing.assert_close(prior, torch.tensor([[0.525, 0.475]]))
    assert not prior.requires_grad
    found[0, 0, 0].backward()
    # d p / d log q = (1 - momentum) q / 2 for each of the view's two rows, nothing for the others.
    torch.testing.assert_close(student.grad[0, :, 0], torch.tensor([0.1, 0.125, 0, 0]))


def test_the_loss_of_perfect_and_of_collapsed_clusters():
    # Pairs that agree with certainty cost nothing; K equal clusters gain the entropy log K.
    certain = torch.full((1, 4, 4), -1e4).diagonal_scatter(torch.zeros(1, 4), dim1=1, dim2=2)
    balanced = scan_loss(*[certain] * 4, torch.full((2, 1, 4), 0.25), 5)
    assert balanced.item() == pytest.approx(-5 * np.log(4))
    one = certain[:, :1].expand(1, 4, 4)
    assert scan_loss(*[one] * 4, torch.tensor([[[1.0, 0, 0, 0]]] * 2), 5).item() == pytest.approx(0)


def test_loss_stays_finite_for_hard_probabilities():
    logits = [1000 * x for x in random_tensors(2, 6, 50, count=4)]
    logits[0].requires_grad_(), logits[1].requires_grad_()
    views = [x.log_softmax(-1) for x in logits]
    loss = scan_loss(*views, class_probabilities(torch.zeros(2, 50), torch.cat(views[:2], 1), 0), 5)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits[0].grad.isfinite().all()
    assert logits[1].grad.isfinite().all()


def test_the_heads_do_not_touch_each_other():
    # Gradients of all weights: stacked heads against each head alone.
    shapes = {
        "hidden_weight": (3, 7, 6),
        "hidden_bias": (3, 1, 6),
        "bottleneck_weight": (3, 6, 5),
        "bottleneck_bias": (3, 1, 5),
        "prototypes": (3, 4, 5),
        "scale": (3, 4, 1),
    }
    stacked = {
        name: random_tensors(*shape, seed=i)[0] for i, (name, shape) in enumerate(shapes.items())
    }
    (x,) = random_tensors(8, 7, seed=20)

    def gradients(weights):
        weights = {name: value.clone().requires_grad_() for name, value in weights.items()}
        student = log_probabilities(weights, x, 0.5)
        prior = torch.full((len(student), 4), 0.25)
        probabilities = class_probabilities(prior, student, 0.5)
        views = [*student.chunk(2, 1), *student.detach().chunk(2, 1)]
        scan_loss(*views, probabilities, 5).sum().backward()
        return {name: value.grad for name, value in weights.items()}

    together = gradients(stacked)
    for h in range(3):
        alone = gradients({name: value[h : h + 1] for name, value in stacked.items()})
        for name, value in alone.items():
            torch.testing.assert_close(together[name][h], value[0], rtol=1e-4, atol=1e-5)


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_recovers_blobs(momentum):
    embeddings, neighbours, labels = joined_blobs()
    cfg = CFG | {"steps": 100, "warmup_steps": 25, "batch_size": 100, "base_lr": 0.02, "heads": 8}
    result = train(embeddings, neighbours, 5, cfg | {"entropy_momentum": momentum})
    clusters, probability = scan.assign([embeddings], result.weights, CFG)
    assert accuracy(labels, clusters) > 0.95
    assert (clusters.dtype, probability.dtype) == (np.int32, np.float32)
    loss = by_epoch(result, "loss")
    assert result.meta["best_head"] == loss[-1].argmin()
    # Full agreement on 5 equal clusters would cost -5 log 5.
    assert loss[-1].min() == pytest.approx(-5 * np.log(5), abs=0.2)


def test_without_the_entropy_all_images_share_few_clusters():
    embeddings, neighbours, _ = joined_blobs()
    cfg = CFG | {"steps": 100, "batch_size": 100}
    used = {
        weight: by_epoch(
            train(embeddings, neighbours, 5, cfg | {"entropy_weight": weight}), "used_clusters"
        )[-1].max()
        for weight in (0.0, 5.0)
    }
    assert used[0.0] < used[5.0] == 5


def test_seeds_and_float16_memory_map(tmp_path):
    embeddings, neighbours, _ = joined_blobs()
    np.save(tmp_path / "e.npy", embeddings.astype(np.float16))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    one, again, other = (
        train(rows, neighbours, 5, CFG | {"seed": seed})
        for rows, seed in ((mapped, 1), (mapped.astype(np.float32), 1), (mapped, 2))
    )
    same_clustering(one, again)
    assert one.weights["prototypes"].tobytes() != other.weights["prototypes"].tobytes()


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_killed_training_resumes_to_the_same_bytes(tmp_path, monkeypatch, epoch):
    embeddings, neighbours, _ = joined_blobs()
    state = tmp_path / "state"
    cases.kill_after(monkeypatch, epoch)
    with pytest.raises(cases.Killed):
        train(embeddings, neighbours, 5, CFG, state_path=state)
    seen = cases.watch_epochs(monkeypatch)
    resumed = train(embeddings, neighbours, 5, CFG, state_path=state)
    assert seen == list(range(epoch + 1, 5))
    same_clustering(resumed, train(embeddings, neighbours, 5, CFG))
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_method_is_ignored(tmp_path, monkeypatch, caplog):
    embeddings, neighbours, _ = joined_blobs()
    cfg, state = CFG | {"beta": 0.6, "prior_momentum": 0.9}, tmp_path / "state"
    cases.kill_after(monkeypatch, 2)
    with pytest.raises(cases.Killed):
        temi.fit(task_of(embeddings, 5, cfg | {"method": "temi"}, neighbours, state))
    cases.watch_epochs(monkeypatch)
    found = train(embeddings, neighbours, 5, cfg, state_path=state)
    assert "training starts anew" in caplog.text
    same_clustering(found, train(embeddings, neighbours, 5, cfg))


# --- odd inputs -----------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0.0, 0.25])
def test_equal_images_train_without_nan(fill):
    embeddings = np.full((40, 16), fill, np.float32)
    neighbours = np.random.default_rng(0).integers(0, 40, (40, 5)).astype(np.int32)
    result = train(embeddings, neighbours, 4, CFG)
    assert all(np.isfinite(value).all() for value in result.weights.values())
    assert len(set(scan.assign([embeddings], result.weights, CFG)[0])) == 1


def test_as_many_clusters_as_images_and_fewer_images_than_a_batch():
    embeddings, neighbours, _ = joined_blobs(classes=2, per_class=10)
    result = train(embeddings, neighbours, 20, CFG | {"steps": 3})
    np.testing.assert_array_equal(by_epoch(result, "step")[:, 0], [1, 2, 3])
    assert np.isfinite(result.history["loss"]).all()


def test_broken_embeddings_are_refused():
    embeddings, neighbours, _ = joined_blobs()
    embeddings[3] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values in the embeddings"):
        train(embeddings, neighbours, 5, CFG)


def test_sizes_that_do_not_fit():
    embeddings, neighbours, _ = joined_blobs()
    with pytest.raises(InputError, match="set `k` from 2 to 200"):
        train(embeddings, neighbours, 1, CFG)
    with pytest.raises(InputError, match="199 rows of neighbours for 200 images"):
        train(embeddings, neighbours[1:], 5, CFG)
