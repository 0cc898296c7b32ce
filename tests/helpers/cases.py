"""What the tests of the functions and of the model share: one case for each pair, untidy arrays, profiles.

Hypothesis runs 25 examples of a test, the same each time; MINIVIT_TESTS=full runs 200 fresh ones.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, settings
from tolerances import COMPLEX_STEP

from minivit import functions as fn
from minivit import gradcheck
from minivit.model import ViTConfig, ViTParams
from minivit.model.params import param_specs, tree_of
from minivit.randomness import Key

settings.register_profile(
    "everyday", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("full", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("full" if os.environ.get("MINIVIT_TESTS") == "full" else "everyday")

DROP_KEY = Key(seed=3, purpose="dropout", epoch=1, step=2)


def random(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Standard normal numbers times `scale`, in float64."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)) * scale


def untidy(x: Any) -> Any:
    """The numbers of x in memory that runs backwards, with gaps of NaN between, and the axes reversed."""
    if not isinstance(x, np.ndarray) or x.ndim == 0 or x.dtype.kind != "f":
        return x
    room = np.full((*x.shape[:0:-1], 2 * x.shape[0]), np.nan, x.dtype)
    view = room[..., ::-2].transpose()
    view[...] = x
    return view


class Case(NamedTuple):
    """A pair and arguments for it: float64 arrays, and settings that are passed through."""

    f: Callable[..., tuple[Any, Any]]
    f_backward: Callable[[Any, Any], Any]
    args: tuple[Any, ...]
    like_x: int = 1  # this many gradients have the type of x; those of parameters are float32 or wider
    wide_result: bool = False  # the result, too, is float32 or wider

    def cast(self, dtype: Any) -> "Case":
        """The same case with its float arrays in dtype."""
        return self._replace(args=tuple(a.astype(dtype) if is_float(a) else a for a in self.args))


def is_float(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


# Odd sizes, at least 3 tokens, images and patches that are not square, random gains and biases.
CASES: dict[str, Case] = {
    "linear": Case(fn.linear, fn.linear_backward, (random(1, 3, 5, 7), random(2, 7, 4), random(3, 4))),
    "layer_norm": Case(fn.layer_norm, fn.layer_norm_backward, (random(4, 2, 3, 7), random(5, 7), random(6, 7))),
    "softmax": Case(fn.softmax, fn.softmax_backward, (random(7, 2, 3, 5, scale=3.0),)),
    "attention": Case(
        fn.attention, fn.attention_backward, (random(8, 2, 3, 5, 4), random(9, 2, 3, 7, 4), random(10, 2, 3, 7, 6)), 3
    ),
    "multi_head_attention": Case(
        fn.multi_head_attention,
        fn.multi_head_attention_backward,
        (random(11, 3, 5, 6), random(12, 6, 18), random(13, 18), random(14, 6, 6), random(15, 6), 3),
    ),
    "gelu_tanh": Case(fn.gelu, fn.gelu_backward, (random(16, 3, 5, 7, scale=2.0), "tanh")),
    "gelu_erf": Case(fn.gelu, fn.gelu_backward, (random(17, 3, 5, 7, scale=2.0), "erf")),
    "mlp": Case(
        fn.mlp,
        fn.mlp_backward,
        (random(18, 2, 3, 5), random(19, 5, 7), random(20, 7), random(21, 7, 5), random(22, 5), "erf", 0.3, DROP_KEY),
    ),
    "dropout": Case(fn.dropout, fn.dropout_backward, (random(23, 3, 5, 7), 0.4, DROP_KEY)),
    "drop_path": Case(fn.drop_path, fn.drop_path_backward, (random(24, 9, 3, 5), 0.4, DROP_KEY)),
    "prepend_class_token": Case(
        fn.prepend_class_token, fn.prepend_class_token_backward, (random(25, 3, 5, 7), random(26, 7))
    ),
    "add_positions": Case(fn.add_positions, fn.add_positions_backward, (random(27, 3, 5, 7), random(28, 5, 7))),
    "pool_class_token": Case(fn.pool_class_token, fn.pool_class_token_backward, (random(29, 3, 5, 7),)),
    "pool_mean": Case(fn.pool_mean, fn.pool_mean_backward, (random(30, 3, 5, 7),)),
    "patchify": Case(fn.patchify, fn.patchify_backward, (random(31, 2, 3, 6, 10), (3, 2))),
    "unpatchify": Case(fn.unpatchify, fn.unpatchify_backward, (random(32, 2, 10, 18), (6, 10), (3, 2))),
    "cross_entropy": Case(
        fn.cross_entropy,
        fn.cross_entropy_backward,
        (random(33, 5, 7, scale=2.0), np.array([0, 6, 3, 3, 1]), 0.1),
        wide_result=True,
    ),
}


def as_tuple(gradients: Any) -> tuple[Any, ...]:
    return gradients if isinstance(gradients, tuple) else (gradients,)


def assert_right(f: Any, f_backward: Any, *args: Any, seed: int = 0) -> None:
    """Every gradient of the pair agrees with the complex step, for tidy and for untidy arrays."""
    for these in (args, tuple(map(untidy, args))):
        errors = gradcheck.check(f, f_backward, these, seed)
        assert max(errors) <= COMPLEX_STEP, errors


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Relative error in the L2 norm of the whole tensor; names the error when it fails."""
    error = gradcheck.relative_error(np.asarray(found, np.float64), np.asarray(expected, np.float64))
    assert error <= tolerance, f"relative error {error:.2e} is above {tolerance:.0e}"


# The smallest model with more than one of everything; images and patches are not square.
TINY = ViTConfig(image_size=(6, 4), patch_size=(3, 2), channels=2, classes=3, width=8, depth=1, heads=2, mlp_width=5)


def random_params(config: ViTConfig, seed: int = 0, dtype: Any = np.float64) -> ViTParams:
    """Parameters with no zero and no one among them, so that every term of a gradient counts."""
    tensors = {}
    for i, (name, spec) in enumerate(param_specs(config).items()):
        tensors[name] = (random(seed + i, *spec.shape, scale=0.4) + name.endswith("_gain")).astype(dtype)
    return tree_of(tensors)


def random_images(config: ViTConfig, batch: int = 3, seed: int = 99, dtype: Any = np.float64) -> np.ndarray:
    return random(seed, batch, config.channels, *config.image_size).astype(dtype)
