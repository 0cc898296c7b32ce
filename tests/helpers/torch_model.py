"""The layers and the whole model with PyTorch's own functions, in float64: what ours are compared with.

Importing this without PyTorch skips the test file that does.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn.functional
torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other


def tensor(x, requires_grad=True):
    return torch.tensor(np.array(x, order="C"), requires_grad=requires_grad)


def kept(cache):
    """What dropout multiplied by, as a tensor."""
    return 1.0 if cache.mask is None else tensor(cache.mask / (1.0 - cache.rate), requires_grad=False)


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
        z = z + x * kept(c.residual1.dropout) * kept(c.residual1.drop_path)
        x = nn.layer_norm(z, (config.width,), b["norm2_gain"], b["norm2_bias"], config.eps)
        x = mlp(x, b["fc1_weight"], b["fc1_bias"], b["fc2_weight"], b["fc2_bias"], form, kept(c.mlp.dropout))
        z = z + x * kept(c.residual2.dropout) * kept(c.residual2.drop_path)
    z = nn.layer_norm(z, (config.width,), p["norm_gain"], p["norm_bias"], config.eps)
    z = z[:, 0] if config.pooling == "class_token" else z.mean(1)
    return z @ p["head_weight"] + p["head_bias"]
