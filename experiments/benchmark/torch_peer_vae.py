"""The VAE of diffusers with our parameters, for timing. Needs the extra `parity`."""

import re

import diffusers
import numpy as np
import torch
from flax import traverse_util


def make_vae(config, params, dtype=torch.float32, device='cpu'):
  """`diffusers.AutoencoderKL` of a `VAEConfig` with our parameters, channels last, no gradients.

  Raises:
    RuntimeError: parameters are missing or unknown.
  """
  levels = len(config.channels)
  vae = diffusers.AutoencoderKL(
    block_out_channels=config.channels,
    down_block_types=['DownEncoderBlock2D'] * levels,
    up_block_types=['UpDecoderBlock2D'] * levels,
    layers_per_block=config.layers,
    norm_num_groups=config.groups,
    latent_channels=config.latent_channels,
    scaling_factor=config.scale,
  )
  shapes = {name: x.shape for name, x in vae.state_dict().items()}
  state = {}
  for path, x in traverse_util.flatten_dict(params, sep='/').items():
    name, leaf = re.sub(r'_(\d+)(?=/)', r'.\1', path).replace('/', '.').rsplit('.', 1)
    x = torch.from_numpy(np.array(x, np.float32))
    if leaf == 'kernel':
      x = x.permute(3, 2, 0, 1) if x.ndim == 4 else x.T
    name = f'{name}.{"bias" if leaf == "bias" else "weight"}'
    # Some of our matrices are 1x1 convolutions there.
    state[name] = x.reshape(shapes.get(name, x.shape))
  vae.load_state_dict(state)
  return vae.to(device, dtype, memory_format=torch.channels_last).eval().requires_grad_(False)


@torch.no_grad()
def encode(vae, frames, batch=1):
  """Frames f32[F, H, W, 3] in [-1, 1], `batch` at once, to scaled means f32[F, C, H/8, W/8]."""
  frames = frames.permute(0, 3, 1, 2).to(vae.dtype)
  means = [vae.encode(x).latent_dist.mean for x in frames.split(batch)]
  return torch.cat(means).float() * vae.config.scaling_factor


@torch.no_grad()
def decode(vae, latents, batch=1):
  """Latents f32[F, C, H, W], `batch` at once, to unclipped frames f32[F, 8 H, 8 W, 3]."""
  latents = (latents / vae.config.scaling_factor).to(vae.dtype, memory_format=torch.channels_last)
  return torch.cat([vae.decode(x).sample for x in latents.split(batch)]).permute(0, 2, 3, 1).float()
