"""The sides of `experiments.benchmark`: the same work, with the same weights, by us and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.benchmark import torch_peer, torch_peer_sampling, torch_peer_vae
from uniedit_jax.method import inversion
from uniedit_jax.method.rows import Rows
from uniedit_jax.method.sampling import (
  Conditioning,
  Network,
  Sampler,
  predict_rows,
  sample_edit,
)
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
_predict = jax.jit(predict_rows, static_argnums=0)


class Side:
  """Work shared by both sides."""

  def edit_frames(self, frames, texts, plan, steps):
    """Frames to edited frames: encodes, inverts with the first text, edits, decodes."""
    start = self.invert(self.encode(frames), texts[0], steps)
    return self.decode(self.edit(start, texts, plan))


class Ours(Side):
  """The package's functions."""

  ours = True

  def __init__(self, config, params, dtype, remat=False):
    """Loads {'unet', 'vae'} of float32 arrays; with `remat`, gradients recompute activations."""
    self.config, self.dtype, self.remat = config, dtype, remat
    self.params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

  def put(self, x):
    """An array f32[..., H, W, C] (or of any other shape) on this side's device."""
    return jnp.asarray(x)

  def get(self, x):
    """The reverse of `put`, f32[..., H, W, C]."""
    return np.asarray(x, np.float32)

  def wait(self, x):
    """Blocks until a result is ready."""
    jax.block_until_ready(x)

  def peak(self, run):
    """The peak bytes on a GPU since the process began, or None; runs `run` once."""
    run()
    return peak_memory()

  def multiply(self, x):
    """A function that squares a matrix in the compute dtype."""
    x = jnp.asarray(x, self.dtype)
    return lambda: _multiply(x, x)

  def step(self, latents, texts):
    """The noise of R plain rows: latents f32[R, F, H, W, C] and texts f32[R, T, E]."""
    apply, params = unet_apply(self.config, self.dtype), self.params['unet']
    index = np.arange(len(latents), dtype=np.int32)
    rows, timestep = Rows(index, index, None), np.int32(TIMESTEP)
    return _predict(apply, params, latents, texts, rows, timestep)

  def invert(self, latents, text, steps):
    """z_T of DDIM inversion."""
    denoise, sampler = denoiser(self.config, self.dtype), Sampler(self.config.schedule, steps, 1.0)
    return inversion.ddim_invert(denoise, self.params['unet'], latents, text, sampler)[-1]

  def edit(self, start, texts, plan):
    """The latents of the main branch."""
    network = Network(unet_apply(self.config, self.dtype), self.params['unet'], checked=False)
    sampler = Sampler(self.config.schedule, len(plan.steps), GUIDANCE)
    edited = sample_edit(network, start, plan, sampler, Conditioning(texts))
    return edited[main_branch(plan)]

  def null_text(self, trajectory, text, null_text, inner_steps):
    """The reconstruction after null-text optimisation that never stops early."""
    denoise = denoiser(self.config, self.dtype, remat=self.remat)
    return inversion.optimise_null_text(
      denoise,
      self.params['unet'],
      trajectory,
      text,
      null_text,
      Sampler(self.config.schedule, len(trajectory) - 1, GUIDANCE),
      inner_steps=inner_steps,
      epsilon=NEVER,
    ).latents[-1]

  def encode(self, frames):
    """[F, 8 H, 8 W, 3] to latents."""
    return vae.encode_frames(module(self.config, 'vae', self.dtype), self.params['vae'], frames)

  def decode(self, latents):
    """Latents to [F, 8 H, 8 W, 3]."""
    return vae.decode_frames(module(self.config, 'vae', self.dtype), self.params['vae'], latents)


class Peer(Side):
  """The methods of `Ours` in PyTorch, on a GPU if there is one; channels come before the grid."""

  ours = False

  def __init__(self, config, params, dtype, remat=False, compiled=False):
    """Loads the weights as `Ours` does; `compiled` applies torch.compile to the UNet."""
    # float32 means float32, not TF32.
    if dtype == 'float32':
      torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    self.schedule, self.dtype = config.schedule, getattr(torch, dtype)
    self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    self.plain = torch_peer.make_unet(config.unet, params['unet'], self.dtype, self.device, remat)
    self.unet = self.plain
    if compiled:
      self.unet = torch.compile(self.plain, mode='max-autotune-no-cudagraphs')
    self.vae = torch_peer_vae.make_vae(config.vae, params['vae'], self.dtype, self.device)

  def put(self, x):
    x = np.array(x)
    x = np.moveaxis(x, -1, -3) if x.ndim >= 4 else x
    return torch.from_numpy(np.ascontiguousarray(x)).to(self.device)

  def get(self, x):
    return np.moveaxis(x.detach().float().cpu().numpy(), -3, -1)

  def wait(self, _):
    if self.device == 'cuda':
      torch.cuda.synchronize()

  def peak(self, run):
    """The peak bytes of a run on a GPU."""
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated()

  def multiply(self, x):
    x = torch.from_numpy(x).to(self.device, self.dtype)
    return lambda: x @ x

  @torch.no_grad()
  def step(self, latents, texts):
    return self.unet(latents, torch.tensor(TIMESTEP, device=self.device), texts)

  def invert(self, latents, text, steps):
    return torch_peer_sampling.ddim_invert(self.unet, latents, text, self.schedule, steps)[-1]

  def edit(self, start, texts, plan):
    latents = start[None].repeat(len(plan.branches), 1, 1, 1, 1)
    edited = torch_peer_sampling.sample(self.unet, latents, texts, plan, self.schedule, GUIDANCE)
    return edited[plan.branches.index(main_branch(plan))]

  def null_text(self, trajectory, text, null_text, inner_steps):
    _, _, latents = torch_peer_sampling.optimise_null_text(
      self.plain,
      trajectory,
      text,
      null_text,
      self.schedule,
      guidance=GUIDANCE,
      inner_steps=inner_steps,
    )
    return latents[-1]

  def encode(self, frames):
    return torch_peer_vae.encode(self.vae, frames.movedim(-3, -1))

  def decode(self, latents):
    return torch_peer_vae.decode(self.vae, latents).movedim(-1, -3)


def main_branch(plan):
  """The main `Branch` of a plan with one."""
  return next(branch for branch in plan.branches if branch.kind == 'main')


def read_params(request):
  """{'unet', 'vae'} of float32 arrays: those of the checkpoint, or random ones if it is ''."""
  if request.checkpoint:
    return jax.device_get(checkpoint.load(request.checkpoint, 'float32', ('unet', 'vae')).params)
  return {
    part: random_init.random_params(abstract_params(request.model_config, part), part=part)
    for part in ('unet', 'vae')
  }


def make_sides(request, params, dtypes):
  """{name: `Side`} of a `BenchmarkRequest`; `dtypes` are those of ours and of PyTorch."""
  model_config = request.model_config
  sides = {OURS: Ours(model_config, params, dtypes[0], request.remat)}
  for name in (PEER, COMPILED)[: 1 + request.compiled]:
    compiled = name == COMPILED
    sides[name] = Peer(model_config, params, dtypes[1], request.remat, compiled=compiled)
  return sides
