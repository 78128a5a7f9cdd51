"""The inversion of clips by a loaded model, many side by side, and the cache of inversions."""

import dataclasses
import functools
import hashlib
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from etils import epath

from uniedit_jax.method import inversion
from uniedit_jax.method.plan import BranchInputs, plan_edit
from uniedit_jax.method.sampling import (
  Conditioning,
  Network,
  Sampler,
  mesh_of,
  of_edits,
  sample_edits,
)
from uniedit_jax.pipeline.model import batch_denoiser, denoiser, unet_apply
from uniedit_jax.runtime import files, sharding


class Inversion(NamedTuple):
  """What sampling needs to know of a source clip.

  Attributes:
    trajectory: f32[S + 1, F, H, W, C], z_0, ..., z_T.
    null_texts: f32[S, T, E], optimised unconditional texts (null_text), or None.
    free: f32[F, H, W, C], the reconstruction sampled freely from z_T (direct; elsewhere the
      reconstruction row is that), or None.
  """

  trajectory: np.ndarray
  null_texts: np.ndarray | None = None
  free: np.ndarray | None = None

  def all_texts(self, texts):
    """The encoded prompts f[P, T, E], followed by the optimised texts if there are any."""
    return texts if self.null_texts is None else jnp.concatenate([texts, self.null_texts])


@dataclasses.dataclass(frozen=True)
class InversionOptions:
  """How a clip is inverted.

  Attributes:
    method: one of `inversion.METHODS`; None: direct for motion edits of a clip, else ddim.
    prompt: while inverting; None: the source prompt.
    guidance: scale of guidance while inverting.
    inner_steps: fixed_point: repetitions; null_text: most updates a step; None: the method's own.
    epsilon: null_text: loss below which the first step stops.
  """

  method: str | None = None
  prompt: str | None = None
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
    """Of so many steps, those after which the reconstruction is the stored trajectory."""
    return {'direct': steps, 'obelm': 1}.get(self.method, 0)

  def uncond(self, texts, steps):
    """The text of every uncond half, for `plan.BranchInputs`; optimised ones follow the prompts."""
    return texts + np.arange(steps) if self.method == 'null_text' else None

  def faults(self):
    """What is wrong with the options, as a list of sentences."""
    faults = []
    if self.method not in inversion.METHODS:
      faults.append(f'inversion.method is {self.method!r}; accepted: {inversion.METHODS}')
    if self.method == 'null_text' and self.guidance != 1.0:
      faults.append(
        f'inversion.guidance is {self.guidance}; accepted: 1.0 with method null_text, which '
        'repairs an unguided inversion'
      )
    repeats = self.method in inversion.INNER_STEPS
    if self.inner_steps is not None and (not repeats or self.inner_steps < 1):
      faults.append(
        f'inversion.inner_steps is {self.inner_steps} with method {self.method!r}; accepted: at '
        f'least 1, with {" or ".join(inversion.INNER_STEPS)}'
      )
    return faults


class ClipToInvert(NamedTuple):
  """A clip, and how it is inverted.

  Attributes:
    latents: f32[F, H, W, C], the encoded clip.
    texts: dict {prompt: f[T, E]} with '', `options.prompt` and `source_prompt`.
    source_prompt: what the reconstruction is conditioned on.
    options: `InversionOptions` with method and prompt.
    sampler: `Sampler` of the sampling to come: null_text optimises for its guidance, direct
      measures its drift.
  """

  latents: np.ndarray
  texts: dict[str, np.ndarray]
  source_prompt: str
  options: InversionOptions
  sampler: Sampler


def invert_clips(model, clips, dtype, cache, progress, *, mesh=None, window=None):
  """Inverts clips side by side; those in the cache are read from it.

  Args:
    model: `checkpoint.Model`, the UNet's parameters on all devices of the mesh.
    clips: list of `ClipToInvert` of one schedule, number of steps and kind of options; a clip with
      null_text is alone. Source prompts are either all null or all not.
    dtype: compute dtype.
    cache: path of the folder of inversions.
    progress: label -> wrapper of an iterable.
    mesh: a mesh with the axis 'data', which divides the number of clips; None: the model's device.
    window: as in `model.unet_apply`.

  Returns:
    list of (`Inversion`, whether it came from the cache).
  """
  paths = [_cache_path(model, clip, dtype, cache, window) for clip in clips]
  found = [_read_inversion(path, clip) for path, clip in zip(paths, clips, strict=True)]
  if all(found):
    return [(inversion, True) for inversion in found]

  params, options, sampler = model.params['unet'], clips[0].options, clips[0].sampler
  mesh = mesh or mesh_of(params)
  null = np.stack([clip.texts[''] for clip in clips])
  # The very same object where the prompt is null: guidance then needs no second half.
  is_null = not any(clip.options.prompt for clip in clips)
  text = null if is_null else np.stack([clip.texts[clip.options.prompt] for clip in clips])
  trajectories = _walk(options)(
    batch_denoiser(model.config, dtype, mesh, window),
    sharding.replicate(params, mesh),
    jax.device_put(np.stack([clip.latents for clip in clips]), of_edits(mesh)),
    text,
    dataclasses.replace(sampler, guidance=options.guidance),
    null_text=null,
    progress=progress('invert'),
  )
  trajectories = np.moveaxis(np.asarray(trajectories), 1, 0)
  made = [{'trajectory': trajectory} for trajectory in trajectories]
  if options.method == 'null_text':
    (clip,) = clips
    made[0]['null_texts'] = inversion.optimise_null_text(
      denoiser(model.config, dtype, window, remat=True),
      params,
      jnp.asarray(trajectories[0]),
      clip.texts[clip.source_prompt],
      clip.texts[''],
      sampler,
      inner_steps=options.repetitions,
      epsilon=options.epsilon,
      progress=progress('null text'),
    ).texts
  if options.method == 'direct':
    plan = _free_plan(model, clips[0].source_prompt, sampler.steps)
    sampled = sample_edits(
      Network(unet_apply(model.config, dtype, window), params),
      trajectories[:, -1],
      [plan] * len(clips),
      [clip.sampler for clip in clips],
      [Conditioning(np.stack([c.texts[''], c.texts[c.source_prompt]])) for c in clips],
      mesh=mesh,
      progress=progress('free reconstruction'),
    )
    for one, edited in zip(made, sampled, strict=True):
      # What has failed is not kept, and fails again in the edit, which says so.
      free = [np.full_like(trajectories[0][0], np.nan)]
      (one['free'],) = free if isinstance(edited, Exception) else edited.values()
  # Those that were there before stay what they are: another batch may round differently. A padded
  # tail repeats a clip.
  kept = {}
  for path, one, earlier in zip(paths, made, found, strict=True):
    if path not in kept:
      kept[path] = earlier or _keep_inversion(path, one)
  return [(kept[path], bool(earlier)) for path, earlier in zip(paths, found, strict=True)]


def _walk(options):
  """The function of `inversion` that walks as `options` say."""
  walk = inversion.obelm_invert if options.method == 'obelm' else inversion.ddim_invert
  if options.method == 'fixed_point':
    return functools.partial(walk, inner_steps=options.repetitions)
  return walk


def _free_plan(model, source_prompt, steps):
  """The `EditPlan` of the reconstruction alone, of the texts '' and `source_prompt`."""
  inputs = BranchInputs(source=int(source_prompt != ''))
  blocks = model.config.unet.blocks
  return plan_edit('appearance', [], steps, inputs, wanted=['reconstruction'], blocks=blocks)


def _cache_path(model, clip, dtype, cache, window):
  """Where the inversion with these arguments of `invert_clips` is kept."""
  depends = clip.options.method in ('direct', 'null_text')
  facts = {
    'checkpoint': model.hash,
    'schedule': dataclasses.asdict(clip.sampler.schedule),
    'steps': clip.sampler.steps,
    'options': dataclasses.asdict(clip.options),
    'dtype': dtype,
    'window': window,
    # The others know nothing of the sampling to come.
    'sampling': [clip.sampler.guidance, clip.source_prompt] if depends else None,
  }
  digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
  digest.update(np.ascontiguousarray(clip.latents))
  return epath.Path(cache).expanduser() / f'{digest.hexdigest()}.npz'


def _read_inversion(path, clip):
  """The `Inversion` that the cache has of a `ClipToInvert`, or None; removes a damaged one."""
  if not path.exists():
    return None
  try:
    with path.open('rb') as file, np.load(file) as arrays:
      inversion = Inversion(**arrays)
    wanted = clip.sampler.steps + 1, *clip.latents.shape
    method = clip.options.method
    has = inversion.null_texts is not None, inversion.free is not None
    if inversion.trajectory.shape != wanted or has != (method == 'null_text', method == 'direct'):
      raise ValueError(f'it has {inversion.trajectory.shape} latents; accepted: {wanted}')
    if where := _not_finite(inversion):
      raise ValueError(where)
    return inversion
  except Exception as error:  # whatever numpy makes of damaged files
    logging.warning('removing %s, a damaged inversion, which is made again (%s)', path, error)
    path.unlink(missing_ok=True)
    return None


def _not_finite(inversion):
  """Where an `Inversion` is not finite, in words, or ''."""
  finite = [np.isfinite(latents).all() for latents in inversion.trajectory]
  if not all(finite):
    return f'the inversion is NaN or infinite after step {finite.index(False)} of {len(finite) - 1}'
  others = [name for name in ('null_texts', 'free') if getattr(inversion, name) is not None]
  bad = [name for name in others if not np.isfinite(getattr(inversion, name)).all()]
  return f'{bad[0]} of the inversion is NaN or infinite' if bad else ''


def _keep_inversion(path, found):
  """Keeps an `Inversion` in the cache, if it is finite."""
  found = jax.tree.map(np.asarray, found)
  if where := _not_finite(Inversion(**found)):
    logging.warning('%s; it is not kept', where)
    return Inversion(**found)
  files.sweep(path.parent)
  with files.atomic_file(path) as name, open(name, 'wb') as file:
    np.savez(file, **found)
  return Inversion(**found)
