"""TEMI: deep clustering on frozen embeddings (Adaloglou et al., BMVC 2023, arXiv 2303.17896).

Heads, teachers and their training are those of `lib.clustering.heads`; here is the loss. Its public
command for over-clustering ImageNet has `standardise` (there --embed_norm).
"""

import torch

from workflow_scripts.lib.clustering import heads, shared

assign = heads.assign
scores = heads.scores


def fit(task):
    """Train TEMI heads (see `methods` for the interface).

    task: that of `heads.train_heads`, which describes it; its cfg also has beta and prior_momentum.
    """
    return heads.train_heads(_batch_loss, task)


def temi_loss(student_a, student_b, teacher_a, teacher_b, prior, beta):
    """TEMI's loss of every head, [H], averaged over the batch and both directions.

    student_*, teacher_*: log-probabilities [H, B, K] of the two images of each pair; prior: class
    probabilities [H, K]. With q = exp(log-probability), for one direction
    L_h = -w log sum_c (q_student(c|a) q_teacher(c|b))^beta / p(c), and the weight
    w = mean over heads of sum_c q_teacher(c|a) q_teacher(c|b) is shared by all heads.
    The teacher must carry no gradient.
    """
    weight = (teacher_a + teacher_b).exp().sum(dim=-1).mean(dim=0)
    log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log().unsqueeze(1)
    forward = torch.logsumexp(beta * (student_a + teacher_b) - log_prior, dim=-1)
    backward = torch.logsumexp(beta * (student_b + teacher_a) - log_prior, dim=-1)
    return -(weight * (forward + backward)).mean(dim=1) / 2


def update_prior(prior, teacher, momentum, part=1):
    """EMA of the batch-mean teacher probabilities, in place.

    prior [H, K]; teacher: log-probabilities [H, B, K] of both views; part: the process's share of
    the batch.
    """
    prior.lerp_(shared.whole_mean(teacher.exp().mean(dim=1), part), 1 - momentum)


def _batch_loss(student, teacher, prior, part, cfg):
    update_prior(prior, teacher, cfg["prior_momentum"], part)
    return temi_loss(*student.chunk(2, dim=1), *teacher.chunk(2, dim=1), prior, cfg["beta"])
