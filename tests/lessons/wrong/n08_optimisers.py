"""Wrong answers to the exercises of 08."""

import numpy as np

from minivit.lessons.answers.n08_optimisers import adam_l2, averaged, clip_by_norm_of


def decoupled(p, g, m, v, t, rate, decay, *rest):
    return adam_l2((1 - rate * decay) * p, g, m, v, t, rate, 0.0, *rest)


def without_decay(p, g, m, v, t, rate, decay, *rest):
    return adam_l2(p, g, m, v, t, rate, 0.0, *rest)


def decay_without_factor(p, g, m, v, t, rate, decay, *rest):
    return adam_l2(p, g, m, v, t, rate, 1.0, *rest)


def decay_times_rate(p, g, m, v, t, rate, decay, *rest):
    return adam_l2(p, g, m, v, t, rate, rate * decay, *rest)


def decay_of_the_wrong_sign(p, g, m, v, t, rate, decay, *rest):
    return adam_l2(p, g, m, v, t, rate, -decay, *rest)


def decay_not_in_v(p, g, m, v, t, rate, decay, *rest):
    new, first, _ = adam_l2(p, g, m, v, t, rate, decay, *rest)
    return new, first, adam_l2(p, g, m, v, t, rate, 0.0, *rest)[2]


def decay_not_in_v_and_its_own_b2(p, g, m, v, t, rate, decay, *rest):
    new, first, _ = adam_l2(p, g, m, v, t, rate, decay, *rest)
    return new, first, 0.999 * v + 0.001 * g * g


def without_correction(p, g, m, v, t, rate, decay, *rest):
    _, m, v = adam_l2(p, g, m, v, t, rate, decay, *rest)
    return p - rate * m / (np.sqrt(v) + 1e-8), m, v


def without_correction_of_v(p, g, m, v, t, rate, decay, *rest):
    _, m, v = adam_l2(p, g, m, v, t, rate, decay, *rest)
    return p - rate * m / (1 - 0.9**t) / (np.sqrt(v) + 1e-8), m, v


def sums_for_means(p, g, m, v, t, rate, decay, *rest):
    new, first, second = adam_l2(p, g, m, v, t, rate, decay, *rest)
    b1, b2 = rest[:2] or (0.9, 0.999)
    return new, b1 * m + (first - b1 * m) / (1 - b1), b2 * v + (second - b2 * v) / (1 - b2)


def corrected_returned(p, g, m, v, t, rate, decay, *rest):
    new, first, second = adam_l2(p, g, m, v, t, rate, decay, *rest)
    b1, b2 = rest[:2] or (0.9, 0.999)
    return new, first / (1 - b1**t), second / (1 - b2**t)


def uphill(p, g, m, v, t, rate, decay, *rest):
    new, m, v = adam_l2(p, g, m, v, t, rate, decay, *rest)
    return p + (p - new), m, v


def clipped_each(gradients, limit):
    rows = [clip_by_norm_of([g], limit)[0] for g in gradients]
    return np.concatenate(rows), clip_by_norm_of(gradients, limit)[1]


def always_scaled(gradients, limit):
    row, norm = clip_by_norm_of(gradients, np.inf)
    return row * limit / norm, norm


def squared(gradients, limit):
    row, norm = clip_by_norm_of(gradients, np.inf)
    return row * min(1.0, limit / norm**2), norm**2


def norm_after(gradients, limit):
    row, norm = clip_by_norm_of(gradients, limit)
    return row, min(norm, limit)


def sum_of_norms(gradients, limit):
    row, _ = clip_by_norm_of(gradients, np.inf)
    norm = sum(np.linalg.norm(g) for g in gradients)
    return row * min(1.0, limit / norm), norm


def value_by_value(gradients, limit):
    row, norm = clip_by_norm_of(gradients, np.inf)
    return np.clip(row, -limit, limit), norm


def a_list(gradients, limit):
    _, norm = clip_by_norm_of(gradients, limit)
    return [g * min(1.0, limit / norm) for g in gradients], norm


def in_place(gradients, limit):
    row, norm = clip_by_norm_of(gradients, limit)
    for g in gradients:
        g *= min(1.0, limit / norm)
    return row, norm


def not_corrected(history, decay):
    return averaged(history, decay) * (1 - decay ** len(history))


def from_the_first(history, decay):
    mean = history[0]
    for point in history[1:]:
        mean = decay * mean + (1 - decay) * point
    return mean


def deaf_to_settings(p, g, m, v, t, rate, decay, b1=0.9, b2=0.999, eps=1e-8):
    return adam_l2(p, g, m, v, t, rate, decay)


WRONG = {
    "8.1": [
        ((deaf_to_settings,), "b1, b2 and eps are arguments: use what is given"),
        ((decoupled,), "as AdamW does"),
        ((decoupled,), "decay * p is missing"),
        ((without_decay,), "decay * p is missing"),
        ((decay_without_factor,), "off by the factor 3.33333 = 1 / decay"),
        ((decay_times_rate,), "off by the factor 0.15 = rate"),
        ((decay_of_the_wrong_sign,), "the sign is wrong"),
        ((decay_not_in_v,), "decay * p is missing"),
        ((decay_not_in_v_and_its_own_b2,), "zero everywhere"),
        ((without_correction,), "(1 - b1^t) / sqrt(1 - b2^t)"),
        ((without_correction_of_v,), "1 / sqrt(1 - b2^t)"),
        ((sums_for_means,), "what enters is not weighted"),
        ((corrected_returned,), "this is the average after the bias correction"),
        ((uphill,), "the sign is wrong"),
        (
            (lambda p, g, m, v, t, rate, decay, *rest: adam_l2(p, g, m, v, t, rate, decay, *rest)[0],),
            "returned 1 result",
        ),
    ],
    "8.2": [
        ((clipped_each,), "each tensor is clipped by its own norm"),
        ((always_scaled,), "off by the factor 1.88889 = limit / norm"),
        ((squared,), "off by the factor 6.3 = norm"),
        ((norm_after,), "this is the norm after clipping"),
        ((sum_of_norms,), "the norms are added"),
        ((value_by_value,), "each value is clipped"),
        ((a_list,), "clipped is a list"),
        ((in_place,), "an argument was changed"),
    ],
    "8.3": [
        ((not_corrected,), "1 - decay^S"),
        ((lambda history, decay: averaged(history, 1 - decay),), "decay and 1 - decay are swapped"),
        ((lambda history, decay: averaged(history[::-1], decay),), "the newest point is taken for the oldest"),
        ((from_the_first,), "it starts at the first point"),
        ((lambda history, decay: history.mean(0),), "the plain mean"),
        ((lambda history, decay: averaged(history.T, decay),), "has shape (8,)"),
    ],
}
