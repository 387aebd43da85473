"""SCANv2: SCAN's clustering loss with self-distillation, on frozen embeddings.

The loss of SCAN (Van Gansbeke et al., ECCV 2020, arXiv 2005.12320): an image and its neighbour
agree, and the classes of a batch have a high entropy. SCANv2, a baseline of arXiv 2406.01203, adds
self-distillation: the neighbour's classes are those of the teacher of `lib.clustering.heads`. It is
read from a description; that paper's code was not at hand. As in the SCAN class of the group's
public code for TEMI, both directions of a pair count and the entropy is that of each view of a
batch, averaged. entropy_momentum is ours.
"""

import torch

from workflow_scripts.lib.clustering import heads, shared

assign = heads.assign
scores = heads.scores


def fit(task):
    """Train SCANv2 heads (see `methods` for the interface).

    task: that of `heads.train_heads`, which describes it; its cfg also has entropy_weight (SCAN:
    5) and entropy_momentum (see `class_probabilities`).
    """
    return heads.train_heads(_batch_loss, task)


def scan_loss(student_a, student_b, teacher_a, teacher_b, probabilities, entropy_weight):
    """SCANv2's loss of every head, [H], averaged over the batch and both directions.

    student_*, teacher_*: log-probabilities [H, B, K] of the two images of each pair;
    probabilities: the student's class probabilities p of each view [2, H, K]. With
    q = exp(log-probability), for one direction
    L_h = -mean log sum_c q_student(c|a) q_teacher(c|b) + weight sum_c p_a(c) log p_a(c).
    The teacher must carry no gradient.
    """
    forward = torch.logsumexp(student_a + teacher_b, dim=-1)
    backward = torch.logsumexp(student_b + teacher_a, dim=-1)
    log_p = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    negative_entropy = (probabilities * log_p).sum(dim=-1).mean(dim=0)
    return -(forward + backward).mean(dim=1) / 2 + entropy_weight * negative_entropy


def class_probabilities(prior, student, momentum, part=1):
    """EMA of each view's batch-mean student probabilities, [2, H, K]; `prior` becomes their mean.

    prior [H, K]: the EMA so far; student: log-probabilities [H, 2B, K] of both views; part: the
    process's share of the batch. Momentum 0
    gives the plain batch means (SCAN's), whose entropy is biased downwards where clusters outnumber
    the images of a batch. The gradient flows through the batch's share 1 - momentum alone, which
    weakens the entropy's pull by this factor, and the EMA lags behind: for batches of 32 and 102
    clusters, 0.5 and 0.7 filled the clusters in our trials, 0.9 left 5 of them.
    """
    means = torch.stack([view.exp().mean(dim=1) for view in student.chunk(2, dim=1)])
    means = shared.whole_mean(means, part)
    probabilities = momentum * prior + (1 - momentum) * means
    prior.copy_(probabilities.detach().mean(dim=0))
    return probabilities


def _batch_loss(student, teacher, prior, part, cfg):
    probabilities = class_probabilities(prior, student, cfg["entropy_momentum"], part)
    return scan_loss(
        *student.chunk(2, dim=1), *teacher.chunk(2, dim=1), probabilities, cfg["entropy_weight"]
    )
