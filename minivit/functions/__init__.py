"""The mathematics: one file a function, forward and backward side by side.

    y, cache = f(x, ...)
    dx, ... = f_backward(dy, cache)

Every pair is pure: it changes no argument and remembers nothing but what it returns. Every pair runs on
NumPy and on CuPy arrays, in float16, float32 and float64, and takes complex128 for the complex-step check.
"""

from minivit.functions.attention import (
    attention,
    attention_backward,
    multi_head_attention,
    multi_head_attention_backward,
)
from minivit.functions.cross_entropy import cross_entropy, cross_entropy_backward
from minivit.functions.dropout import drop_path, drop_path_backward, dropout, dropout_backward
from minivit.functions.embedding import (
    add_positions,
    add_positions_backward,
    prepend_class_token,
    prepend_class_token_backward,
    sincos_positions,
)
from minivit.functions.gelu import GeluForm, gelu, gelu_backward
from minivit.functions.layer_norm import layer_norm, layer_norm_backward
from minivit.functions.linear import linear, linear_backward
from minivit.functions.mlp import mlp, mlp_backward
from minivit.functions.patches import patchify, patchify_backward, unpatchify, unpatchify_backward
from minivit.functions.pooling import (
    first_tokens,
    first_tokens_backward,
    pool_class_token,
    pool_class_token_backward,
    pool_mean,
    pool_mean_backward,
)
from minivit.functions.residual import pre_norm, pre_norm_backward, residual, residual_backward
from minivit.functions.softmax import softmax, softmax_backward

__all__ = [
    "GeluForm",
    "add_positions",
    "add_positions_backward",
    "attention",
    "attention_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "drop_path",
    "drop_path_backward",
    "dropout",
    "dropout_backward",
    "first_tokens",
    "first_tokens_backward",
    "gelu",
    "gelu_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "mlp",
    "mlp_backward",
    "multi_head_attention",
    "multi_head_attention_backward",
    "patchify",
    "patchify_backward",
    "pool_class_token",
    "pool_class_token_backward",
    "pool_mean",
    "pool_mean_backward",
    "pre_norm",
    "pre_norm_backward",
    "prepend_class_token",
    "prepend_class_token_backward",
    "residual",
    "residual_backward",
    "sincos_positions",
    "softmax",
    "softmax_backward",
    "unpatchify",
    "unpatchify_backward",
]
