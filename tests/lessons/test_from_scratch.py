"""Every function that a notebook writes from nothing under a name of the package equals the package's.

The names are found, not listed: a new one without a comparison here fails the first test.
"""

import importlib
import inspect
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.cases import as_tuple
from lessons.notebook_code import LESSONS, defined_functions, definitions
from tolerances import SAME_FORMULA

from minivit import functions as fn
from minivit.gradcheck import check, relative_error
from minivit.gradcheck.catalog import FUNCTIONS, TINY, block_case, normal, random_images, random_params
from minivit.model import named
from minivit.model.block import BlockSettings
from minivit.ops import reference
from minivit.randomness import Key
from minivit.training.optimizers import fresh_moments
from minivit.training.settings import TrainSettings
from minivit.training.step import fresh_state, train_step

MODULES = (
    "functions", "functions.attention", "model.vit", "model.block", "training.optimizers", "training.schedule",
    "training.step", "data", "data.augment", "interpret", "gradcheck.derivative",
)  # fmt: skip
PACKAGE = {
    name: function
    for module in MODULES
    for name, function in vars(importlib.import_module(f"minivit.{module}")).items()
    if inspect.isfunction(function) and not name.startswith("_")
}
WRITTEN = [
    pytest.param(path, name, id=f"{path.stem[:2]}-{name}")
    for path in LESSONS
    for name in defined_functions(path)
    if name in PACKAGE
]
PAIRS = {case.f.__name__: case for case in FUNCTIONS.values()}
SPLIT = (normal(3, 2, 5, 18), 3)  # q k v of three heads


def args_of(f, args):
    """As many of the arguments as f takes."""
    return args[: len(inspect.signature(f).parameters)]


def close(found, expected):
    """Within rounding of one another, through tuples."""
    for a, b in zip(as_tuple(found), as_tuple(expected), strict=True):
        assert np.shape(a) == np.shape(b)
        assert relative_error(np.asarray(a, np.float64), np.asarray(b, np.float64)) <= SAME_FORMULA


def compare_pair(mine, name):
    for case in FUNCTIONS.values():  # gelu has two forms, a case each
        if case.f.__name__ == name:
            compare_case(mine, name, case)


def compare_case(mine, name, case):
    f, f_backward = mine[name], mine[f"{name}_backward"]
    args = args_of(f, case.args)
    y, cache = f(*args)
    expected, expected_cache = case.f(*args)
    close(y, expected)
    dy = normal(77, *np.shape(expected))
    close(f_backward(dy, cache), case.f_backward(dy, expected_cache))


def compare_gradients(mine, name):
    args = (*PAIRS["layer_norm"].args, 1e-6)
    dy = normal(5, *args[0].shape)
    for i in range(3):
        close(mine[name](fn.layer_norm, args, dy, i), PACKAGE[name](fn.layer_norm, args, dy, i))


def compare_update(mine, name):
    """Three steps of an optimiser, which works in place."""
    settings = TrainSettings(weight_decay=0.1)
    ends = []
    for update in (mine[name], PACKAGE[name]):
        params, rng = normal(1, 11), np.random.default_rng(2)
        moments = fresh_moments(params, name)
        for step in (1, 2, 3):
            update(params, rng.standard_normal(11), moments, step, 0.01, 7, settings)
        ends.append((params, *(m for m in moments if m is not None)))
    close(*ends)


def compare_clip(mine, name):
    for limit in (0.5, 100.0, 0.0):
        mine_gradient, gradient = normal(1, 9), normal(1, 9)
        assert mine[name](mine_gradient, limit) == pytest.approx(PACKAGE[name](gradient, limit), rel=1e-15)
        close(mine_gradient, gradient)


def compare_vit(mine, name):
    params, images = random_params(TINY.replace(depth=2)), random_images(TINY)
    logits, cache = mine["vit"](params, images, TINY.replace(depth=2))
    expected, expected_cache = PACKAGE["vit"](params, images, TINY.replace(depth=2))
    close(logits, expected)
    dlogits = normal(4, *logits.shape)
    found, right = mine["vit_backward"](dlogits, cache), PACKAGE["vit_backward"](dlogits, expected_cache)
    assert type(found) is type(right)
    close(tuple(x for _, x in named(found)), tuple(x for _, x in named(right)))


def compare_block(mine, name):
    settings = BlockSettings(2, "tanh", 1e-6, 0.0, 0.0)
    z, block_params = block_case(settings, None).args[0], random_params(TINY).blocks[0]
    y, cache = mine["block"](z, block_params, settings)
    expected, expected_cache = PACKAGE["block"](z, block_params, settings, reference, None)
    close(y, expected)
    dy = normal(6, *z.shape)
    (dz, dparams), (right_dz, right_dparams) = (
        mine["block_backward"](dy, cache),
        PACKAGE["block_backward"](dy, expected_cache, reference),
    )
    close((dz, *dparams), (right_dz, *right_dparams))


def compare_calls(*calls):
    """Plain functions: the same results for the same arguments."""

    def compare(mine, name):
        for args in calls:
            close(mine[name](*args), PACKAGE[name](*args))

    return compare


BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 9, 8), np.uint8)
EVEN = np.random.default_rng(1).random((3, 2, 2, 6, 6))
MAPS = EVEN / EVEN.sum(-1, keepdims=True)
KEY = Key(3, "augment", epoch=1, step=2)

COMPARISONS = {
    **dict.fromkeys(PAIRS, compare_pair),
    **dict.fromkeys(("complex_step_gradient", "central_gradient"), compare_gradients),
    **dict.fromkeys(("adamw", "sgd"), compare_update),
    "clip_by_norm": compare_clip,
    "vit": compare_vit,
    "block": compare_block,
    "relative_error": compare_calls((normal(1, 3, 4), normal(2, 3, 4)), (normal(1, 5), np.zeros(5))),
    "split_heads": compare_calls(SPLIT),
    "learning_rate": compare_calls(*((step, 50, 7, 0.3, 0.01) for step in (0, 3, 6, 7, 30, 49))),
    "random_crop_and_flip": compare_calls((BYTES, KEY), (BYTES, KEY, 2, False), (BYTES, KEY, 0, True)),
    "crop_and_flip_moves": compare_calls((6, KEY, 4)),
    "normalise": compare_calls((BYTES, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), np.float64)),
    "channel_statistics": compare_calls((BYTES,)),
    "attention_rollout": compare_calls((list(MAPS),)),
    "attention_distance": compare_calls((MAPS[0], (2, 3), (4, 5))),
    "position_similarity": compare_calls((normal(3, 6, 5), (2, 3))),
}
STUBS = {"complex_step_gradient"}  # an exercise: its solution is compared in test_graders.py


@pytest.mark.parametrize(("path", "name"), WRITTEN)
def test_it_equals_the_package_s(path, name):
    if name in STUBS:
        with pytest.raises(NotImplementedError):
            COMPARISONS[name](definitions(path), name)
        return
    pair = name.removesuffix("_backward")
    assert pair in COMPARISONS, f"no comparison for {name}"
    COMPARISONS[pair](definitions(path), pair)


def first_gives(f, *args):
    """The result of a pair without its cache."""
    return f(*args)[0]


IMAGES, TOKENS = normal(1, 2, 3, 6, 4), normal(2, 3, 5, 8)
CUT, KERNEL = normal(3, 2, 4, 18), normal(9, 3, 3, 3, 2)
ASKED = (normal(10, 4, 3), fn.attention(normal(11, 4, 5), normal(12, 4, 5), normal(13, 4, 3))[1])  # dy and the cache
LONGHAND = {  # written to be read: what they have to agree with
    "patchify_loops": lambda f: (f(IMAGES, (3, 2)), fn.patchify(IMAGES, (3, 2))[0]),
    "unpatchify_loops": lambda f: (f(CUT, (6, 4), (3, 2)), fn.unpatchify(CUT, (6, 4), (3, 2))[0]),
    "strided_convolution": lambda f: (
        f(IMAGES, KERNEL, FLAT[2]).reshape(2, 3, 4).transpose(0, 2, 1),
        fn.linear(fn.patchify(IMAGES, (3, 2))[0], KERNEL.transpose(2, 3, 1, 0).reshape(18, 3), FLAT[2])[0],
    ),
    "attention_backward_by_index": lambda f: (f(*ASKED), fn.attention_backward(*ASKED)),
    "linear_by_loops": lambda f: (f(*FLAT), fn.linear(*FLAT)[0]),
    "softmax_as_defined": lambda f: (f(TOKENS), fn.softmax(TOKENS)[0]),
    "merge_heads": lambda f: (f(normal(4, 2, 3, 5, 4)), normal(4, 2, 3, 5, 4).transpose(0, 2, 1, 3).reshape(2, 5, 12)),
    "central_difference": lambda f: (np.round(f(np.sin, TOKENS, 1e-4), 6), np.round(np.cos(TOKENS), 6)),
    "forward_difference": lambda f: (np.round(f(np.sin, TOKENS, 1e-8), 5), np.round(np.cos(TOKENS), 5)),
    "complex_step": lambda f: (f(np.sin, TOKENS), np.cos(TOKENS)),
    "halve": lambda f: (first_gives(f, IMAGES), IMAGES.reshape(2, 3, 3, 2, 2, 2).mean((3, 5))),
    "valley_gradient": lambda f: (f(normal(5, 2)), np.array([1.0, 100.0]) * normal(5, 2)),
    "mean_cosine": lambda f: (f(np.eye(4)), 0.0),
}  # fmt: skip
FLAT = (normal(6, 4, 5), normal(7, 5, 3), normal(8, 3))


@pytest.mark.parametrize("name", LONGHAND)
def test_what_is_written_at_length_agrees(name):
    (f,) = (found[name] for path in LESSONS if name in (found := defined_functions(path)))
    close(*LONGHAND[name](f))


# Pairs that no other name of the package covers, with arguments: their gradients are checked here as in the notebooks.
CHECKED = {
    "swish": (normal(1, 3, 4),),
    "signed_square": (normal(2, 3, 4) + 3.0,),
    "convolution": (normal(3, 2, 3, 5, 4), normal(4, 3, 3, 3, 6), normal(5, 6)),
    "halve": (normal(6, 2, 3, 4, 6),),
    "valley_loss": (normal(7, 2),),
}


@pytest.mark.parametrize("name", CHECKED)
def test_the_other_pairs_have_right_gradients(name):
    (path,) = (path for path in LESSONS if name in defined_functions(path))
    found = definitions(path)
    check(
        found[name], found[f"{name}_backward"], CHECKED[name], method="central" if "square" in name else "complex_step"
    ).require()


def test_every_function_of_the_vit_is_written_from_nothing_somewhere():
    """But for those that an exercise asks for, or that are one line."""
    written = {name for path in LESSONS for name in defined_functions(path)}
    pairs = {name for name in PAIRS if f"{name}_backward" in written} | {"vit", "block"} & written
    assert pairs >= {
        "patchify", "unpatchify", "prepend_class_token", "add_positions", "linear", "softmax", "cross_entropy",
        "layer_norm", "attention", "multi_head_attention", "gelu", "dropout", "mlp", "block", "vit",
    }  # fmt: skip


def test_the_step_by_hand_of_lesson_09_is_the_package_s():
    (path,) = (path for path in LESSONS if path.stem.startswith("09"))
    by_hand, config = definitions(path)["step_by_hand"], TINY.replace(pooling="mean")
    settings = SimpleNamespace(model=config, training=TrainSettings(clip=0.5, weight_decay=0.1, ops="reference"))
    images, labels = random_images(config, 5), np.array([0, 2, 1, 1, 2])
    one, two = (fresh_state(random_params(config), settings.training) for _ in range(2))
    for rate in (0.01, 0.02):
        loss = by_hand(one, images, labels, settings, rate)
        close(loss, train_step(two, images, labels, config, settings.training, rate).loss)
    close(one.params.buffer, two.params.buffer)


def test_the_convolution_of_lesson_10_is_pytorch_s():
    torch = pytest.importorskip("torch")
    (path,) = (path for path in LESSONS if path.stem.startswith("10"))
    convolution = definitions(path)["convolution"]
    x, kernel, b = normal(1, 2, 3, 6, 5), normal(2, 3, 3, 3, 4), normal(3, 4)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (1, 1, 1, 1), mode="circular")
    weight = torch.from_numpy(kernel.transpose(3, 0, 1, 2).copy())
    close(convolution(x, kernel, b)[0], torch.nn.functional.conv2d(padded, weight, torch.from_numpy(b)).numpy())
