"""Every function's gradients on generated arguments: any sizes, magnitudes and places in memory.

25 examples a function, the same each time; MINIVIT_TESTS=full draws 200 fresh ones.
"""

import numpy as np
import pytest
from helpers.cases import DROP_KEY, random, untidy
from hypothesis import given
from hypothesis import strategies as st
from tolerances import COMPLEX_STEP

from minivit import functions as fn
from minivit.gradcheck import check
from minivit.gradcheck.catalog import FUNCTIONS

sizes = st.integers(1, 5)
leading_axes = st.lists(st.integers(1, 4), max_size=3)
seeds = st.integers(0, 2**16)
rates = st.sampled_from([0.0, 0.1, 0.5, 0.9])

# A softmax of large numbers is saturated: its gradient is nothing but cancellation, right to no relative
# digits in any method. test_softmax.py looks at its values there.
SMALL = (1e-8, 1e-3, 0.3, 1.0)
ANY = (*SMALL, 1e2, 1e4)


def fortran(x):
    """The numbers of x with the first axis running fastest."""
    return np.asfortranarray(x)


def swapped(x):
    """The numbers of x as a view of an array with its last two axes exchanged."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if x.ndim > 1 else x


def every_other(x):
    """The numbers of x with gaps between, as a slice leaves them."""
    room = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan)
    room[..., ::2] = x
    return room[..., ::2]


def broadcast(x):
    """The first of the leading axis in place of all: one piece of memory, seen many times, read-only.

    A single row stays as it is: a layer norm of equal numbers is 0 up to roundings, over a small eps.
    """
    return np.broadcast_to(x[:1], x.shape) if x.ndim > 1 else x


def misaligned(x):
    """The numbers of x one byte off the boundary that float64 likes."""
    room = np.empty(x.nbytes + 1, np.uint8)
    view = np.frombuffer(room.data, np.float64, x.size, 1).reshape(x.shape)
    view[...] = x
    return view


LAYOUTS = (np.asarray, fortran, swapped, every_other, untidy, broadcast, misaligned)


@st.composite
def arrays(draw, *shape, scales=ANY, first=None, mean=0.0):
    """Standard normal numbers of a shape, times a magnitude, plus a mean, laid out somehow; `first` is the first."""
    x = random(draw(seeds), *shape, scale=draw(st.sampled_from(scales))) + mean
    if first is not None:
        x.flat[0] = first
    return draw(st.sampled_from(LAYOUTS))(x)


@st.composite
def linear(draw):
    d_in, d_out = draw(sizes), draw(sizes)
    return fn.linear, draw(arrays(*draw(leading_axes), d_in)), draw(arrays(d_in, d_out)), draw(arrays(d_out))


@st.composite
def layer_norm(draw):
    """At least 3 wide: two numbers are -1 and 1 whatever they are, up to eps."""
    width, eps = draw(st.integers(3, 9)), draw(st.sampled_from([1e-12, 1e-6, 0.1]))
    return fn.layer_norm, draw(arrays(*draw(leading_axes), width)), draw(arrays(width)), draw(arrays(width)), eps


@st.composite
def pre_norm(draw):
    return (FUNCTIONS["pre_norm"].f, *draw(layer_norm())[1:4])


@st.composite
def softmax(draw):
    return fn.softmax, draw(arrays(*draw(leading_axes), draw(st.integers(1, 9)), scales=(*SMALL, 2.0)))


@st.composite
def attention(draw):
    lead, queries, keys, width, values = draw(leading_axes), draw(sizes), draw(sizes), draw(sizes), draw(sizes)
    q, k = (draw(arrays(*lead, tokens, width, scales=SMALL)) for tokens in (queries, keys))
    return fn.attention, q, k, draw(arrays(*lead, keys, values))


@st.composite
def multi_head_attention(draw):
    heads = draw(st.integers(1, 3))
    width = heads * draw(st.integers(1, 3))
    x = draw(arrays(draw(st.integers(1, 3)), draw(sizes), width, scales=SMALL))
    weights = [draw(arrays(*shape, scales=SMALL)) for shape in ((width, 3 * width), (3 * width,))]
    out = [draw(arrays(*shape)) for shape in ((width, width), (width,))]
    return fn.multi_head_attention, x, *weights, *out, heads


@st.composite
def gelu(draw):
    """One number is 1: at -5 and below y is 0 up to roundings (1 + tanh cancels), alone it has few right digits."""
    shape = draw(st.lists(sizes, min_size=1, max_size=4))
    return fn.gelu, draw(arrays(*shape, first=1.0)), draw(st.sampled_from(["tanh", "erf"]))


@st.composite
def mlp(draw):
    """Of any magnitude but what GELU gets, which stays near 1; see gelu()."""
    width, hidden, scale = draw(sizes), draw(sizes), draw(st.sampled_from(ANY))
    x = draw(arrays(*draw(leading_axes), width, scales=(scale,)))
    fc1 = draw(arrays(width, hidden, scales=(0.3 / scale,))), draw(arrays(hidden, scales=(0.3,), mean=1.0))
    fc2 = draw(arrays(hidden, width)), draw(arrays(width))
    return fn.mlp, x, *fc1, *fc2, draw(st.sampled_from(["tanh", "erf"])), draw(rates), DROP_KEY.at(draw(seeds))


@st.composite
def dropout(draw):
    shape = draw(st.lists(sizes, min_size=1, max_size=4))
    return fn.dropout, draw(arrays(*shape)), draw(rates), draw(st.sampled_from([None, DROP_KEY.at(draw(seeds))]))


@st.composite
def drop_path(draw):
    return fn.drop_path, *draw(dropout())[1:]


@st.composite
def residual(draw):
    shape = draw(st.lists(sizes, min_size=1, max_size=4))
    key = draw(st.sampled_from([None, DROP_KEY.at(draw(seeds))]))
    return fn.residual, draw(arrays(*shape)), draw(arrays(*shape)), draw(rates), draw(rates), key


@st.composite
def prepend_class_token(draw):
    batch, tokens, width = draw(sizes), draw(sizes), draw(sizes)
    return fn.prepend_class_token, draw(arrays(batch, tokens, width)), draw(arrays(width))


@st.composite
def add_positions(draw):
    batch, tokens, width = draw(sizes), draw(sizes), draw(sizes)
    return fn.add_positions, draw(arrays(batch, tokens, width)), draw(arrays(tokens, width))


@st.composite
def pool_class_token(draw):
    return fn.pool_class_token, draw(arrays(draw(sizes), draw(sizes), draw(sizes)))


@st.composite
def first_tokens(draw):
    tokens = draw(sizes)
    return fn.first_tokens, draw(arrays(draw(sizes), tokens, draw(sizes))), draw(st.integers(1, tokens))


@st.composite
def pool_mean(draw):
    return fn.pool_mean, draw(arrays(draw(sizes), draw(sizes), draw(sizes)))


@st.composite
def layouts_of_patches(draw):
    """Batch, channels, patch size and grid; nothing is square but by chance."""
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return batch, channels, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), (draw(sizes), draw(sizes))


@st.composite
def patchify(draw):
    batch, channels, (tall, wide), (rows, columns) = draw(layouts_of_patches())
    return fn.patchify, draw(arrays(batch, channels, rows * tall, columns * wide)), (tall, wide)


@st.composite
def unpatchify(draw):
    batch, channels, (tall, wide), (rows, columns) = draw(layouts_of_patches())
    x = draw(arrays(batch, rows * columns, tall * wide * channels))
    return fn.unpatchify, x, (rows * tall, columns * wide), (tall, wide)


@st.composite
def cross_entropy(draw):
    """With one class the loss is 0 whatever the logits; with soft targets see test_cross_entropy.py."""
    batch, classes = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    labels = np.random.default_rng(draw(seeds)).integers(0, classes, batch)
    labels = labels.astype(draw(st.sampled_from([np.int64, np.int32, np.uint8])))
    smoothing = draw(st.sampled_from([0.0, 0.1, 0.9]))
    return fn.cross_entropy, draw(arrays(batch, classes, scales=SMALL)), labels, smoothing


GENERATED = {
    "linear": linear(),
    "layer_norm": layer_norm(),
    "pre_norm": pre_norm(),
    "softmax": softmax(),
    "attention": attention(),
    "multi_head_attention": multi_head_attention(),
    "gelu": gelu(),
    "mlp": mlp(),
    "dropout": dropout(),
    "drop_path": drop_path(),
    "residual": residual(),
    "prepend_class_token": prepend_class_token(),
    "add_positions": add_positions(),
    "pool_class_token": pool_class_token(),
    "first_tokens": first_tokens(),
    "pool_mean": pool_mean(),
    "patchify": patchify(),
    "unpatchify": unpatchify(),
    "cross_entropy": cross_entropy(),
}


def test_every_exported_pair_is_generated():
    assert set(GENERATED) == {name for name in fn.__all__ if f"{name}_backward" in fn.__all__}


@pytest.mark.parametrize("name", GENERATED)
@given(st.data())
def test_gradients(name, data):
    """And the promises of a pure pair with them: `check` watches those, too."""
    f, *args = data.draw(GENERATED[name])
    seed = data.draw(seeds)
    f_backward = FUNCTIONS["pre_norm"].f_backward if name == "pre_norm" else getattr(fn, f"{name}_backward")
    check(f, f_backward, args, seed=seed).require(COMPLEX_STEP)


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_a_layout_keeps_the_numbers_but_not_their_places(layout):
    x = random(1, 3, 4, 5)
    y = layout(x)
    assert y.shape == x.shape
    assert np.array_equal(y[:1], x[:1])
    assert layout is broadcast or np.array_equal(y, x)
    assert not (y.flags.c_contiguous and y.flags.aligned)
