"""Every function and the whole model against PyTorch's autograd, in float64. Skipped without PyTorch."""

import numpy as np
import pytest
from helpers.cases import CASES, Case, as_tuple, assert_close, is_float, random, random_images, random_params
from tolerances import TORCH

from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.model import ViTConfig, named, vit, vit_backward_with_images
from minivit.model.vit import attention_maps
from minivit.randomness import Key

torch = pytest.importorskip("torch")
nn = torch.nn.functional
torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other


def multi_head_attention(x, qkv_weight, qkv_bias, out_weight, out_bias, heads):
    return nn.multi_head_attention_forward(
        x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1), x.shape[-1], heads, qkv_weight.T, qkv_bias,
        None, None, False, 0.0, out_weight.T, out_bias, training=False, need_weights=False,
    )[0].transpose(0, 1)  # fmt: skip


def mlp(x, w1, b1, w2, b2, form, kept):
    """`kept` is the mask over 1 - rate: a random mask cannot be drawn alike in both libraries."""
    return nn.linear(nn.gelu(nn.linear(x, w1.T, b1), approximate=form) * kept, w2.T, b2)


def patchify(x, patch_size):
    """unfold orders a patch (channel, row, column), and ours is (row, column, channel)."""
    y = nn.unfold(x, patch_size, stride=patch_size)  # (B, C*P*P, N)
    return y.reshape(x.shape[0], x.shape[1], -1, y.shape[-1]).permute(0, 3, 2, 1).flatten(2)


def unpatchify(x, image_size, patch_size):
    values = patch_size[0] * patch_size[1]
    y = x.reshape(*x.shape[:2], values, -1).permute(0, 3, 2, 1).flatten(1, 2)
    return nn.fold(y, image_size, patch_size, stride=patch_size)


# PyTorch's function for each case, given the case's arguments as tensors.
TWINS = {
    "linear": lambda x, w, b: nn.linear(x, w.T, b),
    "layer_norm": lambda x, g, b: nn.layer_norm(x, g.shape, g, b, eps=1e-6),
    "softmax": lambda x: nn.softmax(x, dim=-1),
    "attention": nn.scaled_dot_product_attention,
    "multi_head_attention": multi_head_attention,
    "gelu_tanh": lambda x, form: nn.gelu(x, approximate="tanh"),
    "gelu_erf": lambda x, form: nn.gelu(x, approximate="none"),
    "mlp": lambda x, w1, b1, w2, b2, form, rate, kept: mlp(x, w1, b1, w2, b2, "none", kept),
    "dropout": lambda x, rate, kept: x * kept,
    "drop_path": lambda x, rate, kept: x * kept,
    "prepend_class_token": lambda x, token: torch.cat([token.expand(x.shape[0], 1, -1), x], dim=1),
    "add_positions": torch.add,
    "pool_class_token": lambda x: x[:, 0],
    "pool_mean": lambda x: x.mean(1),
    "patchify": patchify,
    "unpatchify": unpatchify,
    "cross_entropy": lambda x, labels, smoothing: nn.cross_entropy(x, labels, label_smoothing=smoothing),
}


def tensor(x, requires_grad=True):
    return torch.tensor(np.array(x, order="C"), requires_grad=requires_grad)


def kept(cache):
    """What dropout multiplied by, as a tensor."""
    return 1.0 if cache.mask is None else tensor(cache.mask / (1.0 - cache.rate), requires_grad=False)


def test_every_case_has_a_twin():
    assert TWINS.keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_function(name):
    case: Case = CASES[name]
    y, cache = case.f(*case.args)
    dy = random(1, *y.shape)
    gradients = as_tuple(case.f_backward(dy, cache))

    args = [tensor(a) if is_float(a) else tensor(a, False) if isinstance(a, np.ndarray) else a for a in case.args]
    if isinstance(args[-1], Key):
        args[-1] = kept(getattr(cache, "dropout", cache))
    torch_y = TWINS[name](*args)
    torch_y.backward(tensor(dy, False))
    assert_close(y, torch_y.detach().numpy(), TORCH)
    leaves = [a for a in args if isinstance(a, torch.Tensor) and a.requires_grad]
    for found, leaf in zip(gradients, leaves, strict=True):
        assert_close(found, leaf.grad.numpy(), TORCH)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_soft_targets(smoothing):
    logits, targets = random(1, 5, 7), np.random.default_rng(2).random((5, 7))
    loss, cache = cross_entropy(logits, targets, smoothing)
    x = tensor(logits)
    expected = nn.cross_entropy(x, tensor(targets, False), label_smoothing=smoothing)
    expected.backward()
    assert_close(loss, expected.item(), TORCH)
    assert_close(cross_entropy_backward(1.0, cache), x.grad.numpy(), TORCH)


def model(p, images, config, cache):
    """The Vision Transformer with PyTorch's own layers; dropout masks are those of `cache`."""
    form = "tanh" if config.gelu == "tanh" else "none"
    # A convolution with the patch for its stride: another way to embed than cutting and multiplying.
    kernel = p["patch_weight"].reshape(*config.patch_size, config.channels, config.width).permute(3, 2, 0, 1)
    z = nn.conv2d(images, kernel, p["patch_bias"], stride=config.patch_size).flatten(2).transpose(1, 2)
    if "class_token" in p:
        z = torch.cat([p["class_token"].expand(z.shape[0], 1, -1), z], dim=1)
    if "positions" in p:
        z = z + p["positions"]
    z = z * kept(cache.dropout)
    for i, c in enumerate(cache.blocks):
        b = {name.split(".")[2]: x for name, x in p.items() if name.startswith(f"blocks.{i}.")}
        x = nn.layer_norm(z, (config.width,), b["norm1_gain"], b["norm1_bias"], config.eps)
        x = multi_head_attention(x, b["qkv_weight"], b["qkv_bias"], b["out_weight"], b["out_bias"], config.heads)
        z = z + x * kept(c.dropout1) * kept(c.drop_path1)
        x = nn.layer_norm(z, (config.width,), b["norm2_gain"], b["norm2_bias"], config.eps)
        x = mlp(x, b["fc1_weight"], b["fc1_bias"], b["fc2_weight"], b["fc2_bias"], form, kept(c.mlp.dropout))
        z = z + x * kept(c.dropout2) * kept(c.drop_path2)
    z = nn.layer_norm(z, (config.width,), p["norm_gain"], p["norm_bias"], config.eps)
    z = z[:, 0] if config.pooling == "class_token" else z.mean(1)
    return z @ p["head_weight"] + p["head_bias"]


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.parametrize("positions", ["learned", "none"])
@pytest.mark.parametrize("gelu", ["tanh", "erf"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_model(pooling, positions, gelu, dropout):
    config = ViTConfig(
        image_size=(12, 8), patch_size=(4, 2), classes=5, width=24, depth=3, heads=3, mlp_width=40,
        pooling=pooling, positions=positions, gelu=gelu, dropout=dropout, drop_path=dropout, eps=1e-5,
    )  # fmt: skip
    params, images = random_params(config), random_images(config, 5)
    labels = np.array([0, 4, 2, 2, 1])
    logits, cache = vit(params, images, config, key=Key(1, "dropout"))
    loss, loss_cache = cross_entropy(logits, labels, 0.1)
    gradients, dimages = vit_backward_with_images(cross_entropy_backward(1.0, loss_cache), cache)

    leaves = {name: tensor(x) for name, x in named(params)}
    torch_images = tensor(images)
    torch_logits = model(leaves, torch_images, config, cache)
    torch_loss = nn.cross_entropy(torch_logits, tensor(labels, False), label_smoothing=0.1)
    torch_loss.backward()
    assert_close(logits, torch_logits.detach().numpy(), TORCH)
    assert_close(loss, torch_loss.item(), TORCH)
    assert_close(dimages, torch_images.grad.numpy(), TORCH)
    found = dict(named(gradients))
    assert found.keys() == leaves.keys()
    for name, leaf in leaves.items():
        assert_close(found[name], leaf.grad.numpy(), TORCH)
    assert len(attention_maps(cache)) == 3
