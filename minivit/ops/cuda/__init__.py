"""Fused twins for NVIDIA GPUs: one pass over memory where a chain of CuPy calls makes several.

    linear, mlp             products by cuBLAS; bias, GELU and their gradients in one pass
    layer_norm, pre_norm    a row at a time, in registers
    multi_head_attention    straight from the merged q k v; for short sequences one kernel each way
    residual, dropout       masks drawn inside the kernel, the same as NumPy's
    prepend_class_token, add_positions    16 bytes at a time

Arrays are CuPy's in bfloat16, float32 or float64; statistics and the gradients of parameters are float32 or
wider. Each has the name and signature of its readable function in `minivit.functions`, and is that function for
arrays it is not made for. float32 is multiplied as TF32 unless `products.exact_products()` holds.
"""

from typing import Any

from minivit.ops import reference
from minivit.ops.cuda.attention import multi_head_attention, multi_head_attention_backward  # noqa: F401
from minivit.ops.cuda.embedding import (  # noqa: F401
    add_positions,
    add_positions_backward,
    prepend_class_token,
    prepend_class_token_backward,
)
from minivit.ops.cuda.residual import (  # noqa: F401
    dropout,
    dropout_backward,
    residual,
    residual_backward,
)
from minivit.ops.cuda.twins import (  # noqa: F401
    layer_norm,
    layer_norm_backward,
    linear,
    linear_backward,
    mlp,
    mlp_backward,
    pre_norm,
    pre_norm_backward,
)

__all__ = reference.__all__


def __getattr__(name: str) -> Any:
    """What has no twin here, because it is not hot or not in a step, is the readable function."""
    return getattr(reference, name)
