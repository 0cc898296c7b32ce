"""Wrong answers to the exercises of 03."""

import numpy as np

from minivit.functions import softmax
from minivit.lessons.answers.n03_linear_softmax_cross_entropy import (
    log_softmax,
    log_softmax_backward,
    smoothed_cross_entropy,
    smoothed_cross_entropy_backward,
    tempered_cross_entropy,
    tempered_cross_entropy_backward,
)


def smoothing_forgotten(logits, labels, smoothing):
    return smoothed_cross_entropy(logits, labels, 0.0)


def smoothing_over_the_others(logits, labels, smoothing):
    others = smoothing / (logits.shape[1] - 1)
    label = (labels[:, None] == np.arange(logits.shape[1])).astype(logits.real.dtype)
    t = label * (1.0 - smoothing - others) + others
    log_p = log_softmax(logits)[0]
    return -np.sum(t * log_p) / len(logits), (np.exp(log_p), t)


def smoothing_by_log_of_p_and_a_little(logits, labels, smoothing):
    p, t = smoothed_cross_entropy(logits, labels, smoothing)[1]
    return -np.sum(t * np.log(p + 1e-12)) / len(logits), (p, t)


def smoothing_summed(dloss, cache):
    p, t = cache
    return dloss * (p - t)


def smoothing_sign(dloss, cache):
    return -smoothed_cross_entropy_backward(dloss, cache)


def smoothing_log_probabilities(dloss, cache):
    p, t = cache
    return dloss * (np.log(p) - t) / len(p)


def smoothing_not_in_the_gradient(dloss, cache):
    p, t = cache
    return dloss * (p - (t > 0.5)) / len(p)


def ten_classes(logits, labels, smoothing):
    t = (labels[:, None] == np.arange(logits.shape[1])).astype(logits.real.dtype) * (1.0 - smoothing) + smoothing / 10
    log_p = log_softmax(logits)[0]
    return -np.sum(t * log_p) / len(logits), (np.exp(log_p), t)


def smoothing_without_dloss(dloss, cache):
    p, t = cache
    return (p - t) / len(p)


def tau_not_in_dlogits(dloss, cache):
    dlogits, dtau = tempered_cross_entropy_backward(dloss, cache)
    return dlogits * cache[1], dtau


def tau_sign(dloss, cache):
    dlogits, dtau = tempered_cross_entropy_backward(dloss, cache)
    return dlogits, -dtau


def tau_once(dloss, cache):
    dlogits, dtau = tempered_cross_entropy_backward(dloss, cache)
    return dlogits, dtau * cache[1]


def tau_without_mean(dloss, cache):
    dlogits, dtau = tempered_cross_entropy_backward(dloss, cache)
    return dlogits * len(dlogits), dtau


def tau_not_summed(dloss, cache):
    logits, tau, _ = cache
    dlogits, _ = tempered_cross_entropy_backward(dloss, cache)
    return dlogits, -dlogits * logits / tau


def tau_without_logits(dloss, cache):
    """Sums to 0, but for roundings."""
    dlogits, _ = tempered_cross_entropy_backward(dloss, cache)
    return dlogits, -dlogits.sum() / cache[1]


def log_of_softmax(x):
    with np.errstate(all="ignore"):
        y = np.log(np.exp(x) / np.sum(np.exp(x), axis=-1, keepdims=True))
    return y, y


def log_without_exp(dy, cache):
    return dy - cache * np.sum(dy, axis=-1, keepdims=True)


def log_with_mean(dy, cache):
    return dy - np.exp(cache) * np.mean(dy, axis=-1, keepdims=True)


def log_as_softmax(dy, cache):
    y = np.exp(cache)
    return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))


def log_of_all_rows(dy, cache):
    return dy - np.exp(cache) * np.sum(dy)


def log_with_one_maximum(x):
    z = x - x.real.max()
    y = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return y, y


def log_with_the_mean_taken_off(x):
    z = x - x.mean(-1, keepdims=True)
    y = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return y, y


def log_without_maximum(x):
    y = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return y, y


def smoothing_without_maximum(logits, labels, smoothing):
    t = (labels[:, None] == np.arange(logits.shape[1])) * (1 - smoothing) + smoothing / logits.shape[1]
    t = t.astype(logits.real.dtype)
    e = np.exp(logits)
    p = e / e.sum(-1, keepdims=True)
    return -np.sum(t * np.log(p)) / len(logits), (p, t)


def smoothing_shifted_by(shift):
    """As asked for, but for what is taken off the logits before exp."""

    def attempt(logits, labels, smoothing):
        _, (_, t) = smoothed_cross_entropy(logits, labels, smoothing)
        z = logits - shift(logits.real)
        e = np.exp(z)
        total = e.sum(-1, keepdims=True)
        return -np.sum(t * (z - np.log(total))) / len(logits), (e / total, t)

    return attempt


def smoothing_by_log_of_p(logits, labels, smoothing):
    t = (labels[:, None] == np.arange(logits.shape[1])) * (1 - smoothing) + smoothing / logits.shape[1]
    t = t.astype(logits.real.dtype)
    p, _ = softmax(logits)
    return -np.sum(t * np.log(p)) / len(logits), (p, t)


def smoothing_on_top(logits, labels, smoothing):
    t = (labels[:, None] == np.arange(logits.shape[1])) + smoothing / logits.shape[1]
    t = t.astype(logits.real.dtype)
    log_p, _ = log_softmax(logits)
    return -np.sum(t * log_p) / len(logits), (np.exp(log_p), t)


def smoothing_on_top_backward(dloss, cache):
    p, t = cache
    return dloss * (p * t.sum(-1, keepdims=True) - t) / len(p)


WRONG = {
    "3.1": [
        ((smoothing_without_maximum, smoothed_cross_entropy_backward), "exp overflows: take each row's maximum"),
        ((smoothing_shifted_by(np.max), smoothed_cross_entropy_backward), "not finite"),
        (
            (smoothing_shifted_by(lambda x: x.mean(-1, keepdims=True)), smoothed_cross_entropy_backward),
            "z the logits less each row's maximum",
        ),
        ((smoothing_by_log_of_p, smoothed_cross_entropy_backward), "log p is -inf, as p underflows"),
        ((smoothing_by_log_of_p_and_a_little, smoothed_cross_entropy_backward), "log(p + a little) is cut off"),
        ((smoothing_by_log_of_p_and_a_little, smoothed_cross_entropy_backward), "mend y first"),
        ((smoothing_forgotten, smoothed_cross_entropy_backward), "the smoothing is missing"),
        ((smoothing_over_the_others, smoothed_cross_entropy_backward), "s is spread over the other classes"),
        ((smoothing_on_top, smoothing_on_top_backward), "t is not scaled by 1 - s"),
        ((smoothed_cross_entropy, smoothing_summed), "= B"),
        ((smoothed_cross_entropy, smoothing_sign), "the sign is wrong"),
        ((smoothed_cross_entropy, smoothing_log_probabilities), "log p stands where p belongs"),
        ((smoothed_cross_entropy, smoothing_without_dloss), "dy is ignored"),
        ((smoothed_cross_entropy, smoothing_not_in_the_gradient), "the targets here are 0 and 1"),
        ((ten_classes, smoothing_on_top_backward), "wrong: it is"),
    ],
    "3.2": [
        ((tempered_cross_entropy, tau_not_in_dlogits), "off by the factor"),
        ((tempered_cross_entropy, tau_sign), "the sign is wrong"),
        ((tempered_cross_entropy, tau_once), "off by the factor"),
        ((tempered_cross_entropy, tau_without_mean), "= B"),
        ((tempered_cross_entropy, tau_not_summed), "not summed over the first 2 axes"),
        ((tempered_cross_entropy, tau_without_logits), "wrong: it is"),
    ],
    "3.3": [
        ((log_of_softmax, log_softmax_backward), "not finite"),
        ((log_with_one_maximum, log_softmax_backward), "numbers are not finite"),
        ((log_with_the_mean_taken_off, log_softmax_backward), "not finite"),
        ((log_without_maximum, log_softmax_backward), "20 of 20 numbers are not finite"),
        ((log_softmax, log_without_exp), "sums to 0"),
        ((log_softmax, log_with_mean), "a term is missing or wrong"),
        ((log_softmax, log_as_softmax), "wrong: at"),
        ((log_softmax, log_of_all_rows), "sums to 0"),
    ],
}
