"""From frames and prompts to frames: what the entry points, sweeps and notebooks call.

The numbers are made elsewhere (`models`, `inversion`, `editing`); here a loaded `checkpoint.Model` meets pixels.
"""

import dataclasses
import functools
import hashlib
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from uniedit_jax import editing, inversion, video, windows
from uniedit_jax.diffusion import NoiseSchedule
from uniedit_jax.layout import lay_out
from uniedit_jax.model_config import PARTS, abstract_params, network
from uniedit_jax.models import attention, vae

# Memory of one row while it is sampled, in units of f[F, H, W, channels[0]]: the difference of the process peaks with
# three and with six rows a pass in docs/performance.md.
ROW_UNITS = 36


def resolve_dtype(name):
  """The compute dtype: 'auto' is bfloat16 where the hardware has it, float16 on older GPUs, float32 on CPU.

  Raises:
    ValueError: another name, or float16 on a CPU, which has no such matrix products.
  """
  device = jax.local_devices()[0]
  if name == 'auto':
    old_gpu = device.platform == 'gpu' and float(getattr(device, 'compute_capability', 8)) < 8
    name = 'float32' if device.platform == 'cpu' else 'float16' if old_gpu else 'bfloat16'
  accepted = ('float32', 'bfloat16', *(['float16'] if device.platform != 'cpu' else []))
  if name not in accepted:
    raise ValueError(f'dtype is {name!r}; accepted here: auto, {", ".join(accepted)}')
  return name


@functools.cache
def module(config, part, dtype):
  """The network of a part, the same object in every call so that compiled programs are found again."""
  return network(config, part, jnp.dtype(dtype))


@functools.cache
def unet_apply(config, dtype, window=None, remat=False):
  """The UNet's `apply`, as `editing` wants it.

  Args:
    config: `ModelConfig`.
    dtype: compute dtype.
    window: (length, overlap) of the windows that it sees of a longer clip (`windows.windowed`), or None.
    remat: save memory under differentiation.
  """
  unet = module(config, 'unet', dtype)
  apply = unet.clone(remat=True).apply if remat else unet.apply
  return windows.windowed(apply, *window) if window else apply


@functools.cache
def denoiser(config, dtype, window=None, remat=False):
  """The UNet without routes, as `inversion` wants it; arguments as of `unet_apply`."""
  apply = unet_apply(config, dtype, window, remat)
  return lambda params, latents, timestep, text: apply({'params': params}, latents, timestep, text)[0]


def encode_prompts(model, prompts, dtype):
  """Encodes prompts.

  Args:
    model: `checkpoint.Model`.
    prompts: list of P str.
    dtype: compute dtype.

  Returns:
    f32[P, T, E].

  Raises:
    ValueError: a prompt is too long.
  """
  tokens = model.tokenizer.encode(prompts)
  return _encode_tokens(module(model.config, 'text', dtype), model.params['text'], tokens)


@functools.partial(jax.jit, static_argnums=0)
def _encode_tokens(encoder, params, tokens):
  return encoder.apply({'params': params}, tokens).astype(jnp.float32)


def encode_clip(model, frames, dtype):
  """Frames uint8[F, H, W, 3] to latents f32[F, H/8, W/8, C]."""
  return vae.encode_frames(module(model.config, 'vae', dtype), model.params['vae'], video.to_model(frames))


def decode_clip(model, latents, dtype):
  """Latents f32[F, H, W, C] to frames uint8[F, 8 H, 8 W, 3]."""
  frames = vae.decode_frames(module(model.config, 'vae', dtype), model.params['vae'], latents)
  return video.from_model(np.asarray(frames))


def start_noise(seed, shape):
  """The start latents of a generated clip, f32[F, H, W, C]: the same for the same seed, everywhere."""
  return jax.random.normal(jax.random.key(seed), shape, jnp.float32)


class Inversion(NamedTuple):
  """What sampling needs to know of a source clip.

  Attributes:
    trajectory: f32[S + 1, F, H, W, C], z_0, ..., z_T.
    null_texts: f32[S, T, E], optimised unconditional texts (null_text), or None.
    free: f32[F, H, W, C], the reconstruction sampled freely from z_T (direct; elsewhere the reconstruction row
      is that), or None.
  """

  trajectory: np.ndarray
  null_texts: np.ndarray | None = None
  free: np.ndarray | None = None

  def all_texts(self, texts):
    """The encoded prompts f[P, T, E], followed by the optimised texts if there are any."""
    return texts if self.null_texts is None else jnp.concatenate([texts, self.null_texts])


@dataclasses.dataclass(frozen=True)
class InversionOptions:
  """How a clip is inverted; the fields of `config.inversion`."""

  method: str = 'ddim'
  prompt: str = ''
  guidance: float = 1.0
  inner_steps: int | None = None
  epsilon: float = 1e-5

  @property
  def sampler(self):
    """The sampler that comes back to the clip."""
    return 'obelm' if self.method == 'obelm' else 'ddim'

  @property
  def repetitions(self):
    """`inner_steps`, or else the method's own number."""
    return self.inner_steps or inversion.INNER_STEPS.get(self.method, 0)

  def stored(self, steps):
    """Of so many steps, those after which the reconstruction is the inversion's trajectory (`layout.lay_out`)."""
    return {'direct': steps, 'obelm': 1}.get(self.method, 0)

  def uncond(self, texts, steps):
    """The text of every uncond half, for `layout.lay_out`: optimised ones follow the `texts` prompts."""
    return texts + np.arange(steps) if self.method == 'null_text' else None

  def faults(self):
    """What is wrong with the options, as a list of sentences."""
    faults = []
    if self.method not in inversion.METHODS:
      faults.append(f'inversion.method is {self.method!r}; accepted: {inversion.METHODS}')
    if self.method == 'null_text' and self.guidance != 1.0:
      faults.append(
        f'inversion.guidance is {self.guidance}; accepted: 1.0 with method null_text, which repairs an '
        'unguided inversion'
      )
    if self.inner_steps is not None and (self.method not in inversion.INNER_STEPS or self.inner_steps < 1):
      faults.append(
        f'inversion.inner_steps is {self.inner_steps} with method {self.method!r}; accepted: at least 1, with '
        f'{" or ".join(inversion.INNER_STEPS)}'
      )
    return faults


def latent_shape(config, frames, height, width, **_):
  """(F, H, W, C) of the latents of a clip of `frames` x `height` x `width` pixels."""
  return frames, height // config.vae.factor, width // config.vae.factor, config.unet.latent_channels


def invert(
  model, latents, text, source_prompt, schedule, steps, options, guidance, dtype, cache, progress, window=None
):
  """Inverts a clip, or reads the inversion from the cache.

  Args:
    model: `checkpoint.Model`.
    latents: f32[F, H, W, C], the encoded clip.
    text: dict {prompt: f[T, E]} with '', `options.prompt` and `source_prompt`.
    source_prompt: what the reconstruction is conditioned on.
    schedule: `NoiseSchedule`.
    steps: number of steps S.
    options: `InversionOptions`.
    guidance: guidance of the sampling to come: null_text optimises for it, direct measures its drift.
    dtype: compute dtype.
    cache: path of the folder of inversions.
    progress: label -> wrapper of an iterable.
    window: as in `unet_apply`.

  Returns:
    (`Inversion`, whether it came from the cache).
  """
  facts = {
    'checkpoint': model.hash,
    'schedule': dataclasses.asdict(schedule),
    'steps': steps,
    'options': dataclasses.asdict(options),
    'dtype': dtype,
    'window': window,
    # The others know nothing of the sampling to come.
    'sampling': [guidance, source_prompt] if options.method in ('direct', 'null_text') else None,
  }
  digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
  digest.update(np.ascontiguousarray(latents))
  path = epath.Path(cache).expanduser() / f'{digest.hexdigest()}.npz'
  if path.exists():
    with path.open('rb') as file, np.load(file) as arrays:
      return Inversion(**arrays), True

  params, apply = model.params['unet'], unet_apply(model.config, dtype, window)
  found = {}
  walk = inversion.obelm_invert if options.method == 'obelm' else inversion.ddim_invert
  if options.method == 'fixed_point':
    walk = functools.partial(walk, inner_steps=options.repetitions)
  found['trajectory'] = walk(
    *(denoiser(model.config, dtype, window), params, latents, text[options.prompt], schedule, steps),
    **dict(guidance=options.guidance, null_text=text[''], progress=progress('invert')),
  )
  if options.method == 'null_text':
    found['null_texts'] = inversion.optimise_null_text(
      *(denoiser(model.config, dtype, window, remat=True), params, found['trajectory']),
      *(text[source_prompt], text[''], schedule),
      **dict(guidance=guidance, inner_steps=options.repetitions, epsilon=options.epsilon),
      progress=progress('null text'),
    ).texts
  if options.method == 'direct':
    texts = jnp.stack([text[''], text[source_prompt]])
    source, blocks = int(source_prompt != ''), model.config.unet.blocks
    layout = lay_out('appearance', [], steps, source=source, wanted=['reconstruction'], blocks=blocks)
    sampled = editing.edit(
      *(apply, params, found['trajectory'][-1], texts, layout, schedule, guidance), progress=progress('drift')
    )
    (found['free'],) = sampled.values()
  found = jax.tree.map(np.asarray, found)
  with video.atomic_file(path) as name, open(name, 'wb') as file:
    np.savez(file, **found)
  return Inversion(**found), False


def with_overrides(schedule: NoiseSchedule, overrides):
  """The schedule with the fields of a dict that are not None.

  Raises:
    ValueError: the result is no schedule.
  """
  return dataclasses.replace(schedule, **{k: v for k, v in overrides.items() if v is not None})


@functools.cache
def parameter_count(config):
  """Number of parameters of all parts."""
  return sum(leaf.size for part in PARTS for leaf in jax.tree.leaves(abstract_params(config, part)))


def memory_needed(config, rows, frames, height, width, dtype):
  """Estimates the bytes that sampling needs: weights of all parts and the activations of one pass.

  Args:
    config: `ModelConfig`.
    rows: rows of the largest pass.
    frames, height, width: the clip, in pixels.
    dtype: compute dtype.
  """
  item = jnp.dtype(dtype).itemsize
  side = config.vae.factor
  unit = frames * (height // side) * (width // side) * config.unet.channels[0] * item
  return parameter_count(config) * item + rows * ROW_UNITS * unit + 2 * attention.LOGITS_BYTES


def memory_available():
  """Bytes that the first local device offers, or None where it does not say."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  meminfo = epath.Path('/proc/meminfo')
  if jax.default_backend() == 'cpu' and meminfo.exists():
    lines = dict(line.split(':') for line in meminfo.read_text().splitlines())
    return int(lines['MemAvailable'].split()[0]) * 1024
  return None
