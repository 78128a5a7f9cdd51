"""Our UNet in PyTorch, for timing: SDPA, channels_last, rows in one batch, under torch.compile.

Modules have the names of our parameter paths. Rows are folded into the batch as [R * F, C, H, W],
and a route is one `index_select`. It computes what ours does without masks; the benchmark compares
both before it times either. Sampling is in `torch_peer_sampling.py`, the VAE in
`torch_peer_vae.py`. Needs the extra `parity`.
"""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from flax import traverse_util
from torch import nn
from torch.utils.checkpoint import checkpoint

from uniedit_jax.models.attention import relative_buckets


def make_unet(config, params, dtype=torch.float32, device='cpu', remat=False):
  """The UNet of a `UNetConfig` with our parameters, channels last and without gradients.

  `remat` recomputes activations of resnets and transformers in the backward pass.

  Raises:
    RuntimeError: parameters are missing or unknown.
  """
  unet = UNet(config, remat)
  flat = traverse_util.flatten_dict(params, sep='/')
  unet.load_state_dict(dict(_to_torch(path, x) for path, x in flat.items()))
  return unet.to(device, dtype, memory_format=torch.channels_last).requires_grad_(False)


def _to_torch(path, x):
  """Our path and array as (name, tensor) of `UNet`."""
  module, leaf = path.rsplit('/', 1)
  x = torch.from_numpy(np.array(x, np.float32))
  if leaf == 'kernel':
    x = x.permute(3, 2, 0, 1) if x.ndim == 4 else x.T
    # The shortcut is a 1x1 convolution here.
    x = x[:, :, None, None] if module.endswith('conv_shortcut') else x
  name = leaf if leaf in ('bias', 'frame_positions') else 'weight'
  return f'{module.replace("/", ".")}.{name}', x.contiguous()


@torch.compiler.assume_constant_result
@functools.cache
def _relative_buckets(frames, buckets, max_distance, device):
  """i64[F, F], made once and a constant of compiled programs."""
  return torch.from_numpy(np.int64(relative_buckets(frames, buckets, max_distance))).to(device)


@torch.compiler.assume_constant_result
@functools.cache
def _rotary_table(frames, dim, width, device):
  """Cosines and signed sines of `dim` head dims in interleaved pairs, f32[F, 1, width] each."""
  angles = torch.arange(frames)[:, None] * 10000.0 ** (-torch.arange(0, dim, 2) / dim)
  pairs = lambda even, odd: torch.stack([even, odd], dim=-1).flatten(-2)
  cos = F.pad(pairs(angles.cos(), angles.cos()), (0, width - dim), value=1.0)
  sin = F.pad(pairs(-angles.sin(), angles.sin()), (0, width - dim))
  return cos[:, None].to(device), sin[:, None].to(device)


class VideoNorm(nn.GroupNorm):
  """Group normalisation with statistics over all frames of a row."""

  def forward(self, x, rows):
    # The frames of a row as one tall image, without a copy.
    n, c, h, w = x.shape
    tall = x.permute(0, 2, 3, 1).reshape(rows, n // rows * h, w, c).permute(0, 3, 1, 2)
    return super().forward(tall).permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


class Resnet(nn.Module):
  def __init__(self, inputs, features, time, groups):
    super().__init__()
    self.norm1, self.norm2 = (VideoNorm(groups, n, eps=1e-5) for n in (inputs, features))
    self.conv1, self.conv2 = (nn.Conv2d(n, features, 3, padding=1) for n in (inputs, features))
    self.time_emb_proj = nn.Linear(time, features)
    if inputs != features:
      self.conv_shortcut = nn.Conv2d(inputs, features, 1)

  def forward(self, x, time, rows):
    # All rows share the timestep, so its embedding is a bias.
    shift = self.conv1.bias + self.time_emb_proj(time)
    hidden = F.conv2d(F.silu(self.norm1(x, rows)), self.conv1.weight, shift, padding=1)
    hidden = self.conv2(F.silu(self.norm2(hidden, rows)))
    return (self.conv_shortcut(x) if hasattr(self, 'conv_shortcut') else x) + hidden


def _read(x, rows, source):
  """f[R * F, N, C] with the rows i64[R] that each row reads; None if each reads itself."""
  return x if source is None else x.unflatten(0, (rows, -1)).index_select(0, source).flatten(0, 1)


class Attention(nn.Module):
  def __init__(self, width, context, heads):
    super().__init__()
    self.heads = heads
    self.to_q = nn.Linear(width, width, bias=False)
    self.to_k, self.to_v = (nn.Linear(context, width, bias=False) for _ in range(2))
    self.to_out_0 = nn.Linear(width, width)

  def read(self, x, rows, routes):
    """Queries, keys and values of the rows that `routes` name, f[R * F, N, C] each."""
    projections = zip((self.to_q, self.to_k, self.to_v), routes, strict=True)
    return [_read(project(x), rows, source) for project, source in projections]

  def attend(self, q, k, v, bias=None):
    """f[b, N, C] x 3 -> f[b, N, C]."""
    split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
    out = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias)
    return self.to_out_0(out.transpose(1, 2).flatten(2))


class Spatial(Attention):
  def forward(self, x, rows, routes):
    return self.attend(*self.read(x, rows, routes))


class Cross(Attention):
  def forward(self, x, text):
    q = self.to_q(x).reshape(len(text), -1, x.shape[-1])
    return self.attend(q, self.to_k(text), self.to_v(text)).reshape(x.shape)


class Temporal(Attention):
  def __init__(self, width, config):
    super().__init__(width, width, config.heads)
    self.config, self.time_rel_pos_bias = config, nn.Module()
    bias = nn.Embedding(config.relative_buckets, config.heads)
    self.time_rel_pos_bias.relative_attention_bias = bias
    if config.frame_positions:
      self.frame_positions = nn.Parameter(torch.zeros(config.frame_positions, width))

  def forward(self, x, rows, routes):
    config, frames, tokens = self.config, len(x) // rows, x.shape[1]
    x = x.unflatten(0, (rows, frames)).transpose(1, 2)
    if config.frame_positions:
      x = x + self.frame_positions[:frames]
    q, k, v = self.read(x.reshape(rows * tokens, frames, -1), rows, routes)
    span = config.relative_max_distance
    buckets = _relative_buckets(frames, config.relative_buckets, span, x.device)
    table = self.time_rel_pos_bias.relative_attention_bias.weight
    out = self.attend(self.rotate(q), self.rotate(k), v, table[buckets].permute(2, 0, 1)[None])
    return out.unflatten(0, (rows, tokens)).transpose(1, 2).flatten(0, 1)

  def rotate(self, x):
    """Rotary positions of frames on the first head dims, in interleaved pairs."""
    cos, sin = _rotary_table(x.shape[1], self.config.rotary_dim, x.shape[2] // self.heads, x.device)
    heads = x.unflatten(-1, (self.heads, -1))
    swapped = heads.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return (heads * cos + swapped * sin).to(x.dtype).flatten(-2)


class FeedForward(nn.Module):
  def __init__(self, width):
    super().__init__()
    self.net_0, self.net_2 = nn.Module(), nn.Linear(4 * width, width)
    self.net_0.proj = nn.Linear(width, 8 * width)

  def forward(self, x):
    value, gate = self.net_0.proj(x).chunk(2, dim=-1)
    return self.net_2(value * F.gelu(gate))


class Block(nn.Module):
  def __init__(self, width, config):
    super().__init__()
    self.norm1, self.norm2, self.norm_temp, self.norm3 = (nn.LayerNorm(width) for _ in range(4))
    self.attn1 = Spatial(width, width, config.heads)
    self.attn2 = Cross(width, config.text_width, config.heads)
    self.attn_temp, self.ff = Temporal(width, config), FeedForward(width)

  def forward(self, x, text, routes):
    x = x + self.attn1(self.norm1(x), len(text), routes[:3])
    x = x + self.attn2(self.norm2(x), text)
    x = x + self.attn_temp(self.norm_temp(x), len(text), routes[3:])
    return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
  def __init__(self, width, config):
    super().__init__()
    self.norm = nn.GroupNorm(config.groups, width, eps=1e-6)
    self.proj_in, self.proj_out = nn.Linear(width, width), nn.Linear(width, width)
    self.transformer_blocks_0 = Block(width, config)

  def forward(self, x, text, routes):
    tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
    tokens = self.proj_out(self.transformer_blocks_0(tokens, text, routes))
    return x + tokens.transpose(1, 2).unflatten(2, x.shape[2:])


class UNet(nn.Module):
  """`models.unet.UNet` for R rows at once."""

  def __init__(self, config, remat=False):
    super().__init__()
    self.config, self.remat, widths, depth = config, remat, config.channels, config.layers_per_block
    time, levels = 4 * widths[0], len(widths)
    self.time_embedding = nn.Module()
    self.time_embedding.linear_1 = nn.Linear(widths[0], time)
    self.time_embedding.linear_2 = nn.Linear(time, time)
    self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
    resnet = lambda inputs, features: Resnet(inputs, features, time, config.groups)

    # Down; `x` and `skips` are numbers of channels.
    skips, x = [widths[0]], widths[0]
    for i, width in enumerate(widths):
      level = nn.Module()
      for j in range(depth):
        setattr(level, f'resnets_{j}', resnet(x, width))
        if i < levels - 1:
          setattr(level, f'attentions_{j}', Transformer(width, config))
        x = width
        skips.append(x)
      if i < levels - 1:
        level.downsamplers_0 = nn.Module()
        level.downsamplers_0.conv = nn.Conv2d(x, x, 3, stride=2, padding=1)
        skips.append(x)
      setattr(self, f'down_blocks_{i}', level)

    # Middle and up.
    self.mid_block = nn.Module()
    self.mid_block.resnets_0, self.mid_block.resnets_1 = resnet(x, x), resnet(x, x)
    self.mid_block.attentions_0 = Transformer(x, config)
    for i, width in enumerate(reversed(widths)):
      level = nn.Module()
      for j in range(depth + 1):
        setattr(level, f'resnets_{j}', resnet(x + skips.pop(), width))
        if i:
          setattr(level, f'attentions_{j}', Transformer(width, config))
        x = width
      if i < levels - 1:
        level.upsamplers_0 = nn.Module()
        level.upsamplers_0.conv = nn.Conv2d(x, x, 3, padding=1)
      setattr(self, f'up_blocks_{i}', level)
    self.conv_norm_out = VideoNorm(config.groups, x, eps=1e-5)
    self.conv_out = nn.Conv2d(x, config.latent_channels, 3, padding=1)

  def forward(self, latents, timestep, text, routes=None):
    """f[R, F, C, H, W], i64[], f[R, T, E], `routes_of` or None -> f32[R, F, C, H, W]."""
    rows, depth, levels = len(latents), self.config.layers_per_block, len(self.config.channels)
    table, read = routes or (None, ((False,) * 6,) * self.config.blocks)
    dtype, half = self.conv_in.weight.dtype, self.config.channels[0] // 2
    routes = iter(
      [[table[i, j] if on else None for j, on in enumerate(slots)] for i, slots in enumerate(read)]
    )

    # The timestep's embedding.
    frequencies = -math.log(10000.0) * torch.arange(half, device=latents.device) / half
    angles = timestep * torch.exp(frequencies)
    time = self.time_embedding.linear_1(torch.cat([angles.cos(), angles.sin()]).to(dtype))
    time, text = F.silu(self.time_embedding.linear_2(F.silu(time))), text.to(dtype)

    def run(module, *inputs):
      keep = not (self.remat and torch.is_grad_enabled())
      return module(*inputs) if keep else checkpoint(module, *inputs, use_reentrant=False)

    def layer(level, j, x):
      x = run(getattr(level, f'resnets_{j}'), x, time, rows)
      attention = getattr(level, f'attentions_{j}', None)
      return x if attention is None else run(attention, x, text, next(routes))

    # Down.
    x = self.conv_in(latents.flatten(0, 1).to(dtype).contiguous(memory_format=torch.channels_last))
    skips = [x]
    for i in range(levels):
      level = getattr(self, f'down_blocks_{i}')
      for j in range(depth):
        x = layer(level, j, x)
        skips.append(x)
      if i < levels - 1:
        x = level.downsamplers_0.conv(x)
        skips.append(x)

    # Middle and up.
    x = self.mid_block.resnets_1(layer(self.mid_block, 0, x), time, rows)
    for i in range(levels):
      level = getattr(self, f'up_blocks_{i}')
      for j in range(depth + 1):
        x = layer(level, j, torch.cat([x, skips.pop()], dim=1))
      if i < levels - 1:
        x = level.upsamplers_0.conv(F.interpolate(x, size=skips[-1].shape[2:], mode='nearest'))
    x = self.conv_out(F.silu(self.conv_norm_out(x, rows)))
    return x.unflatten(0, (rows, -1)).float()


SLOTS = ('spatial_q', 'spatial_k', 'spatial_v', 'temporal_q', 'temporal_k', 'temporal_v')


def routes_of(rows, device='cpu'):
  """The routes of a `rows.Rows`, for `UNet`.

  Returns:
    (i64[L, 6, R], the row that each row reads; bool (L, 6) as nested tuples, where that is another
    row), or None if every row reads itself.
  """
  # [6, R, L] to [L, 6, R].
  tables = np.stack([getattr(rows.routes, slot).inside for slot in SLOTS])
  tables = np.int64(tables).transpose(2, 0, 1)
  read = (tables != np.arange(len(rows.branch))).any(-1)
  if not read.any():
    return None
  return torch.from_numpy(tables.copy()).to(device), tuple(tuple(slots) for slots in read.tolist())
