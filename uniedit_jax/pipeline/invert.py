"""The inversion of a clip by a loaded model, alone or many side by side, and the cache of
inversions.
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

from uniedit_jax.method import inversion, sampling
from uniedit_jax.method.plan import plan_edit
from uniedit_jax.pipeline.model import batch_denoiser, denoiser, unet_apply
from uniedit_jax.runtime import files


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
    """Of so many steps, those after which the reconstruction is the inversion's trajectory
    (`plan.plan_edit`).
    """
    return {'direct': steps, 'obelm': 1}.get(self.method, 0)

  def uncond(self, texts, steps):
    """The text of every uncond half, for `plan.plan_edit`: optimised ones follow the `texts`
    prompts.
    """
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
    if self.inner_steps is not None and (
      self.method not in inversion.INNER_STEPS or self.inner_steps < 1
    ):
      faults.append(
        f'inversion.inner_steps is {self.inner_steps} with method {self.method!r}; accepted: at least 1, with '
        f'{" or ".join(inversion.INNER_STEPS)}'
      )
    return faults


def invert_clip(
  model,
  latents,
  text,
  source_prompt,
  schedule,
  steps,
  options,
  guidance,
  dtype,
  cache,
  progress,
  window=None,
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
    guidance: guidance of the sampling to come: null_text optimises for it, direct measures its
      drift.
    dtype: compute dtype.
    cache: path of the folder of inversions.
    progress: label -> wrapper of an iterable.
    window: as in `unet_apply`.

  Returns:
    (`Inversion`, whether it came from the cache).
  """
  path = _cache_path(
    model, latents, source_prompt, schedule, steps, options, guidance, dtype, cache, window
  )
  if path.exists():
    return _read_inversion(path), True

  params, apply = model.params['unet'], unet_apply(model.config, dtype, window)
  found = {}
  found['trajectory'] = _walk(options)(
    *(
      denoiser(model.config, dtype, window),
      params,
      latents,
      text[options.prompt],
      schedule,
      steps,
    ),
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
    layout = _free_layout(model, source_prompt, steps)
    sampled = sampling.edit(
      *(apply, params, found['trajectory'][-1], texts, layout, schedule, guidance),
      progress=progress('drift'),
    )
    (found['free'],) = sampled.values()
  return _keep_inversion(path, found), False


def _walk(options):
  """The function of `inversion` that walks as `options` say."""
  walk = inversion.obelm_invert if options.method == 'obelm' else inversion.ddim_invert
  return (
    functools.partial(walk, inner_steps=options.repetitions)
    if options.method == 'fixed_point'
    else walk
  )


def _free_layout(model, source_prompt, steps):
  """The `EditPlan` of the reconstruction alone, of the texts '' and `source_prompt`."""
  source, blocks = int(source_prompt != ''), model.config.unet.blocks
  return plan_edit('appearance', [], steps, source=source, wanted=['reconstruction'], blocks=blocks)


def _cache_path(
  model, latents, source_prompt, schedule, steps, options, guidance, dtype, cache, window
):
  """Where the inversion with these arguments of `invert` is kept."""
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
  return epath.Path(cache).expanduser() / f'{digest.hexdigest()}.npz'


def _read_inversion(path):
  with path.open('rb') as file, np.load(file) as arrays:
    return Inversion(**arrays)


def _keep_inversion(path, found):
  found = jax.tree.map(np.asarray, found)
  with files.atomic_file(path) as name, open(name, 'wb') as file:
    np.savez(file, **found)
  return Inversion(**found)


def invert_clips(model, clips, schedule, steps, dtype, cache, progress, mesh, window=None):
  """Inverts clips side by side, each as `invert` would; those in the cache are read from it.

  Args:
    clips: list of dicts of the arguments of `invert` that may differ from clip to clip: 'latents',
      'text', 'source_prompt', 'options' (alike but for the prompt; not null_text), 'guidance'.
      Source prompts are either all null or all not.
    mesh: a mesh with the axis 'data', which divides the number of clips; the UNet's parameters are
      on all its devices.
    model, schedule, steps, dtype, cache, progress, window: as in `invert`.

  Returns:
    list of (`Inversion`, whether it came from the cache).
  """
  places = dict(schedule=schedule, steps=steps, dtype=dtype, cache=cache, window=window)
  fields = ('latents', 'source_prompt', 'options', 'guidance')
  paths = [_cache_path(model, **places, **{name: clip[name] for name in fields}) for clip in clips]
  cached = [path.exists() for path in paths]
  if all(cached):
    return [(_read_inversion(path), True) for path in paths]

  params, options = model.params['unet'], clips[0]['options']
  stack = lambda prompt: np.stack([clip['text'][prompt(clip)] for clip in clips])
  denoise = batch_denoiser(model.config, dtype, mesh, window)
  trajectories = _walk(options)(
    *(
      denoise,
      params,
      np.stack([clip['latents'] for clip in clips]),
      stack(lambda clip: clip['options'].prompt),
    ),
    *(schedule, steps),
    **dict(guidance=options.guidance, null_text=stack(lambda _: ''), progress=progress('invert')),
  )
  found = [{'trajectory': trajectory} for trajectory in np.moveaxis(np.asarray(trajectories), 1, 0)]
  if options.method == 'direct':
    layout = _free_layout(model, clips[0]['source_prompt'], steps)
    texts = np.stack([stack(lambda _: ''), stack(lambda clip: clip['source_prompt'])], axis=1)
    starts = np.stack([one['trajectory'][-1] for one in found])
    sampled = sampling.edit_batch(
      *(unet_apply(model.config, dtype, window), params, starts, texts),
      *([layout] * len(clips), schedule, [clip['guidance'] for clip in clips]),
      **dict(mesh=mesh, progress=progress('drift')),
    )
    found = [
      one | {'free': free}
      for one, edited in zip(found, sampled, strict=True)
      for free in edited.values()
    ]
  # Those that were there before stay what they are: another batch may round differently. A padded
  # tail repeats a clip.
  inverted = {
    path: _read_inversion(path) if is_cached else _keep_inversion(path, one)
    for path, (one, is_cached) in dict(
      zip(paths, zip(found, cached, strict=True), strict=True)
    ).items()
  }
  return [(inverted[path], is_cached) for path, is_cached in zip(paths, cached, strict=True)]
