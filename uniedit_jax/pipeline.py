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

from uniedit_jax import editing, inversion, video
from uniedit_jax.diffusion import NoiseSchedule
from uniedit_jax.model_config import network
from uniedit_jax.models import attention, vae

INVERSIONS = ('ddim', 'direct', 'null_text')
# Activations of one row at the widest point of the UNet, in units of f[F, H, W, channels[0]]: measured on XLA's own
# figure for five rows of LaVie at 16 x 320 x 512.
ROW_UNITS = 26


def resolve_dtype(name):
  """The compute dtype: 'auto' is bfloat16 where the hardware has it, float16 on older GPUs, float32 on CPU.

  Raises:
    ValueError: another name.
  """
  if name == 'auto':
    device = jax.local_devices()[0]
    old_gpu = device.platform == 'gpu' and float(getattr(device, 'compute_capability', 8)) < 8
    name = 'float32' if device.platform == 'cpu' else 'float16' if old_gpu else 'bfloat16'
  if name not in ('float32', 'bfloat16', 'float16'):
    raise ValueError(f"dtype is {name!r}; accepted: 'auto', 'float32', 'bfloat16', 'float16'")
  return name


@functools.cache
def module(config, part, dtype):
  """The network of a part, the same object in every call so that compiled programs are found again."""
  return network(config, part, jnp.dtype(dtype))


@functools.cache
def denoiser(config, dtype, remat=False):
  """The UNet without routes, as `inversion` wants it; `remat` saves memory under differentiation."""
  unet = module(config, 'unet', dtype).clone(remat=remat)
  return lambda params, latents, timestep, text: unet.apply({'params': params}, latents, timestep, text)[0]


def unet_apply(config, dtype):
  """The UNet's `apply`, as `editing` wants it."""
  return module(config, 'unet', dtype).apply


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
  encode = jax.jit(module(model.config, 'text', dtype).apply)
  tokens = model.tokenizer.encode(prompts)
  return encode({'params': model.params['text']}, tokens).astype(jnp.float32)


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


@dataclasses.dataclass(frozen=True)
class InversionOptions:
  """How a clip is inverted; the fields of `config.inversion`."""

  method: str = 'ddim'
  prompt: str = ''
  guidance: float = 1.0
  inner_steps: int = 10
  epsilon: float = 1e-5

  def faults(self):
    """What is wrong with the options, as a list of sentences."""
    faults = []
    if self.method not in INVERSIONS:
      faults.append(f'inversion.method is {self.method!r}; accepted: {INVERSIONS}')
    if self.method == 'null_text' and self.guidance != 1.0:
      faults.append(
        f'inversion.guidance is {self.guidance}; accepted: 1.0 with method null_text, which repairs an '
        'unguided inversion'
      )
    if self.inner_steps < 1:
      faults.append(f'inversion.inner_steps is {self.inner_steps}; accepted: at least 1')
    return faults


def invert(
  model, latents, text, null_text, source_text, schedule, steps, options, guidance, dtype, progress=lambda label: iter
):
  """Inverts a clip.

  Args:
    model: `checkpoint.Model`.
    latents: f32[F, H, W, C], the encoded clip.
    text: f[T, E], encoded `options.prompt`; `null_text`: the encoded null prompt (the same object if equal);
      source_text: f[T, E], what the reconstruction is conditioned on.
    schedule: `NoiseSchedule`.
    steps: number of steps S.
    options: `InversionOptions`.
    guidance: guidance of the sampling to come (null_text optimises for it; direct measures its drift).
    dtype: compute dtype.
    progress: label -> wrapper of an iterable.

  Returns:
    `Inversion`.
  """
  params = model.params['unet']
  denoise = denoiser(model.config, dtype)
  trajectory = inversion.ddim_invert(
    *(denoise, params, latents, text, schedule, steps),
    **dict(guidance=options.guidance, null_text=null_text, progress=progress('invert')),
  )
  null_texts = free = None
  if options.method == 'null_text':
    found = inversion.optimise_null_text(
      *(denoiser(model.config, dtype, remat=True), params, trajectory, source_text, null_text, schedule),
      **dict(guidance=guidance, inner_steps=options.inner_steps, epsilon=options.epsilon),
      progress=progress('null-text'),
    )
    null_texts = np.asarray(found.texts)
  if options.method == 'direct':
    same = source_text is null_text
    layout = editing.lay_out('appearance', [], steps, source=0 if same else 1, wanted=('reconstruction',))
    texts = jnp.stack([null_text, source_text])
    sampled = editing.edit(
      *(unet_apply(model.config, dtype), params, trajectory[-1], texts, layout, schedule, guidance),
      progress=progress('drift'),
    )
    free = np.asarray(next(iter(sampled.values())))
  return Inversion(np.asarray(trajectory), null_texts, free)


def inversion_key(model, latents, schedule, steps, options, guidance, source_prompt, dtype):
  """A hash of all that makes an inversion, the name under which it is cached."""
  facts = {
    'checkpoint': model.hash,
    'schedule': dataclasses.asdict(schedule),
    'steps': steps,
    'options': dataclasses.asdict(options),
    'dtype': dtype,
    # Plain DDIM inversion knows nothing of the sampling to come.
    'sampling': None if options.method == 'ddim' else [guidance, source_prompt],
  }
  digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
  digest.update(np.ascontiguousarray(latents))
  return digest.hexdigest()


def cached_inversion(folder, key, make):
  """Reads an inversion from the cache, or makes and stores it.

  Args:
    folder: path of the cache.
    key: from `inversion_key`.
    make: callable without arguments that returns an `Inversion`.

  Returns:
    (`Inversion`, whether it came from the cache).
  """
  path = epath.Path(folder).expanduser() / f'{key}.npz'
  if path.exists():
    with path.open('rb') as file, np.load(file) as arrays:
      return Inversion(**arrays), True
  made = make()
  with video.atomic_file(path) as name, open(name, 'wb') as file:
    np.savez(file, **{field: value for field, value in made._asdict().items() if value is not None})
  return made, False


def with_overrides(schedule: NoiseSchedule, overrides):
  """The schedule with the fields of a dict that are not None.

  Raises:
    ValueError: the result is no schedule.
  """
  return dataclasses.replace(schedule, **{k: v for k, v in overrides.items() if v is not None})


def memory_needed(config, rows, frames, height, width, dtype):
  """Estimates the bytes that sampling needs: weights of all parts and the activations of one pass.

  Args:
    config: `ModelConfig`.
    rows: rows of the largest pass.
    frames, height, width: the clip, in pixels.
    dtype: compute dtype.
  """
  from uniedit_jax.model_config import PARTS, abstract_params

  item = jnp.dtype(dtype).itemsize
  weights = sum(leaf.size for part in PARTS for leaf in jax.tree.leaves(abstract_params(config, part))) * item
  side = config.vae.factor
  unit = frames * (height // side) * (width // side) * config.unet.channels[0] * item
  return weights + rows * ROW_UNITS * unit + 2 * attention.LOGITS_BYTES


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
