"""Every function and the whole model against PyTorch's autograd, in float64. Skipped without PyTorch."""

import math

import numpy as np
import pytest
from helpers.cases import CASES, Case, as_tuple, assert_close, is_float, random, random_images, random_params
from tolerances import TORCH

from minivit.functions import cross_entropy, cross_entropy_backward
from minivit.model import ViTConfig, named, vit, vit_backward_with_images
from minivit.model.vit import attention_maps
from minivit.randomness import Key

pytest.importorskip("torch")
from helpers.torch_model import kept, mlp, model, multi_head_attention, nn, patchify, tensor, torch, unpatchify

# PyTorch's function for each case, given the case's arguments as tensors.
TWINS = {
    "linear": lambda x, w, b: nn.linear(x, w.T, b),
    "layer_norm": lambda x, g, b: nn.layer_norm(x, g.shape, g, b, eps=1e-6),
    "pre_norm": lambda z, g, b: torch.stack([z, nn.layer_norm(z, g.shape, g, b, eps=1e-6)], dim=-2),
    "softmax": lambda x: nn.softmax(x, dim=-1),
    "attention": nn.scaled_dot_product_attention,
    "multi_head_attention": multi_head_attention,
    "multi_head_attention_of_first": lambda *args: multi_head_attention(*args[:6])[:, : args[6]],
    "gelu_tanh": lambda x, form: nn.gelu(x, approximate="tanh"),
    "gelu_erf": lambda x, form: nn.gelu(x, approximate="none"),
    "mlp": lambda x, w1, b1, w2, b2, form, rate, kept: mlp(x, w1, b1, w2, b2, "none", kept),
    "dropout": lambda x, rate, kept: x * kept,
    "drop_path": lambda x, rate, kept: x * kept,
    "residual": lambda z, x, rate, path_rate, kept: z + x * kept,
    "prepend_class_token": lambda x, token: torch.cat([token.expand(x.shape[0], 1, -1), x], dim=1),
    "add_positions": torch.add,
    "pool_class_token": lambda x: x[:, 0],
    "first_tokens": lambda x, count: x[:, :count],
    "pool_mean": lambda x: x.mean(1),
    "patchify": patchify,
    "unpatchify": unpatchify,
    "cross_entropy": lambda x, labels, smoothing: nn.cross_entropy(x, labels, label_smoothing=smoothing),
}


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
        masks = [cache.dropout, cache.drop_path] if name == "residual" else [getattr(cache, "dropout", cache)]
        args[-1] = math.prod(map(kept, masks))
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
