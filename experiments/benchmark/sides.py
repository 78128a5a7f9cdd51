"""The two sides of `experiments.benchmark`: the same work by our functions and by PyTorch's, on the
same weights.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.benchmark import torch_peer, torch_peer_sampling, torch_peer_vae
from uniedit_jax.method import inversion, sampling
from uniedit_jax.method.rows import Rows
from uniedit_jax.models import vae
from uniedit_jax.models.config import abstract_params
from uniedit_jax.pipeline.model import denoiser, module, unet_apply
from uniedit_jax.runtime import checkpoint, random_init
from uniedit_jax.runtime.run_log import peak_memory

OURS, PEER, COMPILED = 'ours', 'PyTorch', 'PyTorch, compiled'
TIMESTEP = 501
GUIDANCE = 7.5
NEVER = -1e9  # a loss below which null-text inversion stops early

_multiply = jax.jit(jnp.matmul)


class Side:
  """What both have."""

  def edit_frames(self, frames, texts, layout, steps):
    """Frames to edited frames: encodes, inverts with the first text, edits, decodes."""
    return self.decode(self.edit(self.invert(self.encode(frames), texts[0], steps), texts, layout))


class Ours(Side):
  """The package's functions.

  Attributes:
    remat: whether null-text inversion recomputes activations.
  """

  ours = True

  def __init__(self, config, params, dtype, remat=False):
    """Takes a `ModelConfig` and {'unet', 'vae'} of float32 arrays."""
    self.config, self.dtype, self.remat = config, dtype, remat
    self.params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

  def put(self, x):
    """f32[..., H, W, C] (or any other array) as this side takes it."""
    return jnp.asarray(x)

  def get(self, x):
    """The reverse: f32[..., H, W, C]."""
    return np.asarray(x, np.float32)

  def wait(self, x):
    """Waits until a result is there."""
    jax.block_until_ready(x)

  def peak(self, run):
    """The most bytes of a GPU that were held while the process ran, or None; runs once."""
    run()
    return peak_memory()

  def multiply(self, x):
    """() -> the product of a square matrix with itself, in the compute dtype."""
    x = jnp.asarray(x, self.dtype)
    return lambda: _multiply(x, x)

  def step(self, latents, texts):
    """The noise of R plain rows side by side: [R, F, H, W, C], [R, T, E]."""
    apply, rows = unet_apply(self.config, self.dtype), np.arange(len(latents), dtype=np.int32)
    return sampling.predict(
      apply, self.params['unet'], latents, texts, Rows(rows, rows, None), np.int32(TIMESTEP), None
    )

  def invert(self, latents, text, steps):
    """z_T of plain DDIM inversion."""
    denoise, schedule = denoiser(self.config, self.dtype), self.config.schedule
    return inversion.ddim_invert(denoise, self.params['unet'], latents, text, schedule, steps)[-1]

  def edit(self, start, texts, layout):
    """The latents of the main branch."""
    apply, schedule = unet_apply(self.config, self.dtype), self.config.schedule
    return sampling.edit(apply, self.params['unet'], start, texts, layout, schedule, GUIDANCE)[
      main_branch(layout)
    ]

  def null_text(self, trajectory, text, null_text, inner_steps):
    """The reconstruction after null-text optimisation that never stops early."""
    denoise = denoiser(self.config, self.dtype, remat=self.remat)
    return inversion.optimise_null_text(
      *(denoise, self.params['unet'], trajectory, text, null_text, self.config.schedule),
      **dict(guidance=GUIDANCE, inner_steps=inner_steps, epsilon=NEVER),
    ).latents[-1]

  def encode(self, frames):
    """[F, 8 H, 8 W, 3] to latents."""
    return vae.encode_frames(module(self.config, 'vae', self.dtype), self.params['vae'], frames)

  def decode(self, latents):
    """Latents to [F, 8 H, 8 W, 3]."""
    return vae.decode_frames(module(self.config, 'vae', self.dtype), self.params['vae'], latents)


class Peer(Side):
  """PyTorch's; arrays have channels before the grid here."""

  ours = False

  def __init__(self, config, params, dtype, remat=False, compiled=False):
    """As `Ours`; `compiled` puts torch.compile over the UNet. On a GPU where PyTorch has one."""
    if dtype == 'float32':  # and not fewer bits
      torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    self.schedule, self.dtype = config.schedule, getattr(torch, dtype)
    self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    self.plain = torch_peer.make_unet(config.unet, params['unet'], self.dtype, self.device, remat)
    self.unet = (
      torch.compile(self.plain, mode='max-autotune-no-cudagraphs') if compiled else self.plain
    )
    self.vae = torch_peer_vae.make_vae(config.vae, params['vae'], self.dtype, self.device)

  def put(self, x):
    """See `Ours.put`."""
    x = np.array(x)
    x = np.moveaxis(x, -1, -3) if x.ndim >= 4 else x
    return torch.from_numpy(np.ascontiguousarray(x)).to(self.device)

  def get(self, x):
    """See `Ours.get`."""
    return np.moveaxis(x.detach().float().cpu().numpy(), -3, -1)

  def wait(self, _):
    """See `Ours.wait`."""
    if self.device == 'cuda':
      torch.cuda.synchronize()

  def peak(self, run):
    """The most bytes of a GPU that a run holds."""
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated()

  def multiply(self, x):
    """See `Ours.multiply`."""
    x = torch.from_numpy(x).to(self.device, self.dtype)
    return lambda: x @ x

  @torch.no_grad()
  def step(self, latents, texts):
    """See `Ours.step`; channels first, as in all below."""
    return self.unet(latents, torch.tensor(TIMESTEP, device=self.device), texts)

  def invert(self, latents, text, steps):
    """See `Ours.invert`."""
    return torch_peer_sampling.ddim_invert(self.unet, latents, text, self.schedule, steps)[-1]

  def edit(self, start, texts, layout):
    """See `Ours.edit`."""
    latents = start[None].repeat(len(layout.branches), 1, 1, 1, 1)
    edited = torch_peer_sampling.sample(
      self.unet, latents, texts, layout.plan, self.schedule, GUIDANCE
    )
    return edited[layout.branches.index(main_branch(layout))]

  def null_text(self, trajectory, text, null_text, inner_steps):
    """See `Ours.null_text`."""
    given = self.plain, trajectory, text, null_text, self.schedule
    return torch_peer_sampling.optimise_null_text(
      *given, guidance=GUIDANCE, inner_steps=inner_steps
    )[-1][-1]

  def encode(self, frames):
    """See `Ours.encode`."""
    return torch_peer_vae.encode(self.vae, frames.movedim(-3, -1))

  def decode(self, latents):
    """See `Ours.decode`."""
    return torch_peer_vae.decode(self.vae, latents).movedim(-1, -3)


def main_branch(layout):
  """The main `Branch` of a layout with one."""
  return next(branch for branch in layout.branches if branch.kind == 'main')


def read_params(config, model_config):
  """{'unet', 'vae'} of float32 arrays: of the checkpoint of a benchmark's config, or random ones."""
  if config.checkpoint:
    return jax.device_get(checkpoint.load(config.checkpoint, 'float32', ('unet', 'vae')).params)
  return {
    part: random_init.random_params(abstract_params(model_config, part), part=part)
    for part in ('unet', 'vae')
  }


def make_sides(config, model_config, params, dtypes):
  """{name: `Side`}.

  Args:
    config: ConfigDict of a benchmark.
    model_config: `ModelConfig`.
    params: `read_params(config, model_config)`.
    dtypes: the compute dtypes of ours and of PyTorch.
  """
  sides = {OURS: Ours(model_config, params, dtypes[0], config.remat)}
  for name in (PEER, COMPILED)[: 1 + config.compiled]:
    sides[name] = Peer(model_config, params, dtypes[1], config.remat, name == COMPILED)
  return sides
