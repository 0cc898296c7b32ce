"""timm's names and layouts, checked against PyTorch's own layers where it is installed."""

import numpy as np
import pytest

from minivit.errors import MinivitError
from minivit.interop.timm import from_timm, to_timm
from minivit.model import ViTConfig, init_params, named, vit

CONFIG = ViTConfig(image_size=(8, 12), patch_size=(4, 3), width=12, depth=2, heads=3, classes=5, gelu="erf")


def params(config=CONFIG):
    rng = np.random.default_rng(0)
    tree = init_params(config, 1, np.float64)
    for _, x in named(tree):
        x += 0.2 * rng.standard_normal(x.shape)
    return tree


@pytest.mark.parametrize("change", [{}, {"pooling": "mean"}, {"positions": "none"}, {"positions": "sincos"}])
def test_the_way_there_and_back_changes_nothing(change):
    config = CONFIG.replace(**change)
    tree = params(config)
    back = from_timm(to_timm(tree, config), config)
    for (name, x), (same, y) in zip(named(tree), named(back), strict=True):
        assert name == same
        np.testing.assert_array_equal(x, y)


def test_names_and_shapes_are_timms():
    tensors = to_timm(params(), CONFIG)
    shapes = {name: x.shape for name, x in tensors.items()}
    assert shapes["patch_embed.proj.weight"] == (12, 3, 4, 3)
    assert shapes["cls_token"] == (1, 1, 12)
    assert shapes["pos_embed"] == (1, 9, 12)
    assert shapes["blocks.1.attn.qkv.weight"] == (36, 12)
    assert shapes["blocks.0.mlp.fc1.weight"] == (48, 12)
    assert shapes["head.weight"] == (5, 12)
    assert len(tensors) == 2 + 1 + 1 + 2 * 12 + 2 + 2


def test_a_model_of_torch_layers_with_these_tensors_gives_the_same_logits():
    """timm's forward pass, written with PyTorch's own convolution, linear and attention functions."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    t = {name: torch.tensor(np.ascontiguousarray(x)) for name, x in to_timm(params(), CONFIG).items()}
    images = np.random.default_rng(2).standard_normal((2, 3, 8, 12))
    x = f.conv2d(torch.tensor(images), t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=(4, 3))
    x = torch.cat([t["cls_token"].expand(2, 1, 12), x.flatten(2).transpose(1, 2)], 1) + t["pos_embed"]
    for i in range(2):
        b = {name.removeprefix(f"blocks.{i}."): v for name, v in t.items() if name.startswith(f"blocks.{i}.")}
        h = f.layer_norm(x, (12,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        qkv = f.linear(h, b["attn.qkv.weight"], b["attn.qkv.bias"]).reshape(2, 9, 3, 3, 4).permute(2, 0, 3, 1, 4)
        h = f.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(2, 9, 12)
        x = x + f.linear(h, b["attn.proj.weight"], b["attn.proj.bias"])
        h = f.layer_norm(x, (12,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        h = f.gelu(f.linear(h, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
        x = x + f.linear(h, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
    x = f.layer_norm(x, (12,), t["norm.weight"], t["norm.bias"], 1e-6)
    theirs = f.linear(x[:, 0], t["head.weight"], t["head.bias"]).numpy()
    ours, _ = vit(params(), images, CONFIG)
    assert np.linalg.norm(ours - theirs) <= 1e-13 * np.linalg.norm(theirs)


def test_wrong_tensors_are_refused_by_name():
    tensors = to_timm(params(), CONFIG)
    with pytest.raises(MinivitError, match=r"misses tensor 'head\.bias'"):
        from_timm({k: v for k, v in tensors.items() if k != "head.bias"}, CONFIG)
    with pytest.raises(MinivitError, match="surplus tensor 'extra'"):
        from_timm(tensors | {"extra": np.zeros(1)}, CONFIG)
    with pytest.raises(MinivitError, match=r"'norm\.weight' is float64 \(13,\); expected float64 \(12,\)"):
        from_timm(tensors | {"norm.weight": np.zeros(13)}, CONFIG)
    with pytest.raises(MinivitError, match="float32"):
        from_timm(tensors | {"norm.weight": np.zeros(12, np.float32)}, CONFIG)
    with pytest.raises(MinivitError, match="int64"):
        from_timm({k: v.astype(np.int64) for k, v in tensors.items()}, CONFIG)


def test_the_first_of_several_names_is_told():
    tensors = to_timm(params(), CONFIG)
    with pytest.raises(MinivitError, match=r"misses tensor 'head\.bias' \(2 in all\)"):
        from_timm({k: v for k, v in tensors.items() if not k.startswith("head")}, CONFIG)


def test_complex_tensors_are_no_parameters():
    with pytest.raises(MinivitError, match="the file holds tensors of complex128; expected a float type"):
        from_timm({k: v.astype(complex) for k, v in to_timm(params(), CONFIG).items()}, CONFIG)


def test_what_is_read_lies_in_order():
    tensors = {k: np.ascontiguousarray(v) for k, v in to_timm(params(), CONFIG).items()}
    assert all(x.flags.c_contiguous for _, x in named(from_timm(tensors, CONFIG)))
