"""The stages of an edit: from a checked config to a source clip that is ready, and from there to
clips.
"""

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from experiments import progress
from experiments.requests import metrics
from experiments.requests.edit import read_source
from uniedit_jax.method.rows import COND
from uniedit_jax.method.sampling import edit
from uniedit_jax.method.token_masks import token_masks
from uniedit_jax.metrics import clip_model, clip_scores
from uniedit_jax.metrics.measures import edits_of, measure_clips, name_of
from uniedit_jax.models.tokenizers import split_words, word_positions
from uniedit_jax.pipeline import ahead_of_time, found_masks, inspection
from uniedit_jax.pipeline.invert import Inversion, invert_clip
from uniedit_jax.pipeline.model import (
  decode_clip,
  encode_clip,
  encode_prompts,
  latent_shape,
  start_noise,
  unet_apply,
)
from uniedit_jax.reports import sweep
from uniedit_jax.reports.inspection import Sheets
from uniedit_jax.runtime import checkpoint, sharding
from uniedit_jax.sprites import world


class Source(NamedTuple):
  """A clip, ready to be edited.

  Attributes:
    clips: {'source': u8[F, H, W, 3]}, empty where the clip is generated.
    floor: () -> u8[F, H, W, 3], the VAE's round trip of it, or None. Only the measures need it: it
      is decoded when it is first asked for.
    free: () -> u8[F, H, W, 3], the freely sampled reconstruction where the inversion has one
      (direct), or None.
    fps: frame rate.
    texts: f32[P, T, E], the prompts of the request and optimised null texts.
    inversion: `invert.Inversion`, or None where a comparison method makes its own.
  """

  clips: dict[str, np.ndarray]
  floor: Callable[[], np.ndarray] | None
  free: Callable[[], np.ndarray] | None
  fps: float
  texts: jax.Array
  inversion: Inversion | None


def load(config, dtype, log):
  """Settles how programs are compiled, and loads the `checkpoint.Model` of a config.

  Args:
    config: ConfigDict with `cache` and `checkpoint`.
    dtype: compute dtype.
    log: `run_log.RunLog`.
  """
  sharding.set_up_programs(epath.Path(config.cache) / 'programs', dtype)
  with log.phase('load'):
    return checkpoint.load(config.checkpoint, dtype)


@contextlib.contextmanager
def compiling(request, model, log):
  """Context beside which the first program of sampling is compiled, or read from the cache, where
  it is known by then.

  Args:
    request, model, log: as in `prepare`.
  """
  # GPUs choose kernels by timing them, which must not happen beside other work.
  if request.search or jax.default_backend() == 'gpu':
    yield
    return
  layout, clip = request.layout, [request.clip[name] for name in ('frames', 'height', 'width')]
  optimised = len(layout.plan.steps) if request.inversion.method == 'null_text' else 0
  with log.phase('compile'):
    lowered = ahead_of_time.lower_first(
      *(model, layout, request.schedule, clip, len(request.prompts) + optimised, request.dtype),
      **dict(
        window=request.window, masks=_token_masks(request, model), sampler=request.inversion.sampler
      ),
    )
  # Where it fails, sampling compiles again and tells. A daemon, so that an interrupt does not wait
  # for it.
  thread = threading.Thread(target=lowered.compile, daemon=True)
  thread.start()
  yield
  with log.phase('compile'):
    thread.join()


def prepare(config, request, model, log):
  """Encodes prompts and clip, and inverts the clip or draws the noise of a generated one.

  Args:
    config: ConfigDict of an edit.
    request: `read_edit(config)`.
    model: `checkpoint.Model`.
    log: `run_log.RunLog`.

  Returns:
    `Source`.
  """
  dtype = request.dtype
  with log.phase('encode'):
    texts = encode_prompts(model, request.prompts, dtype)
    if not config.generated:
      frames, fps, latents, floor = encode_source(config, request, model, log)
  with log.phase('invert'):
    if config.generated:
      noise = start_noise(config.seed, latent_shape(model.config, **request.clip))
      return Source({}, None, None, model.config.fps, texts, Inversion(noise[None]))
    text = dict(zip(request.prompts, np.asarray(texts), strict=True))
    inverted, log.facts['inversion_cached'] = invert_clip(
      *(model, latents, text, config.source_prompt, request.schedule),
      *(
        config.steps,
        request.inversion,
        config.guidance,
        dtype,
        epath.Path(config.cache) / 'inversions',
      ),
      *(functools.partial(progress.steps, record=log), request.window),
    )
  free = None if inverted.free is None else _decoded(model, inverted.free, dtype)
  return Source({'source': frames}, floor, free, fps, inverted.all_texts(texts), inverted)


def encode_source(config, request, model, log):
  """Reads and encodes a clip that is not generated.

  Args:
    config, request, model, log: as in `prepare`.

  Returns:
    (frames u8[F, H, W, 3]; frame rate; latents f32[F, H/8, W/8, C]; () -> u8[F, H, W, 3], the VAE's
    round trip).
  """
  frames, fps = read_source(config, request)
  if warning := world.stranger(model.config, frames):
    log.warn(warning)
  latents = encode_clip(model, frames, request.dtype)
  return frames, fps, latents, _decoded(model, latents, request.dtype)


def _decoded(model, latents, dtype):
  """`model.decode_clip` of latents when it is first asked for."""
  return functools.cache(lambda: decode_clip(model, latents, dtype))


def measure(config, request, source, clips, masks, targets):
  """Measures clips as far as there is what it takes, and judges edits where the right answer is
  known.

  Args:
    config, request, source: as in `make_clips`.
    clips, masks: what `make_clips` returns.
    targets: the target prompt of each edit among the clips.

  Returns:
    dict of numbers for metrics.json.
  """
  stored = request.inversion.method == 'direct'
  floor, free = (decode and decode() for decode in (source.floor, source.free))
  measures = measure_clips(clips, floor, free, stored, masks.get('source'))
  wanted = dict(zip(edits_of(clips), targets, strict=True))
  if config.metrics.clip:
    model = clip_model.load(config.metrics.clip)
    measures |= clip_scores.measure(model, clips, metrics.source_prompt(config), wanted)
  for name, target in wanted.items():
    judged = world.judge(request.model_config, clips.get('source'), clips[name], target)
    measures |= {f'{name}_{measure}': value for measure, value in judged.items()}
  return measures


def make_clips(config, request, model, source, log, inspect_in=None):
  """Finds the masks that are to be found, and samples and decodes what the layout wants.

  Args:
    config, model, log: as in `prepare`.
    request: as in `prepare`, or several that `join` made one.
    source: `Source`.
    inspect_in: folder for the pictures of the request's inspection, if it has one.

  Returns:
    (clips: dict of u8[F, H, W, 3] by `measures.name_of`, the source included; masks: dict of
    bool[F, H, W] by side).
  """
  bar = functools.partial(progress.steps, record=log)
  trajectory = source.inversion.trajectory
  apply = functools.partial(unet_apply, model.config, request.dtype)
  unet = apply(request.window), model.params['unet'], trajectory[-1], source.texts
  sampling = {'trajectory': trajectory, 'sampler': request.inversion.sampler}
  masks, grids = dict(request.masks), _grids(request, model)
  if request.search:
    with log.phase('masks'):
      size = request.clip['height'], request.clip['width']
      masks |= found_masks.find_masks(
        *(*unet, request.search, grids, size, request.schedule, config.guidance),
        **dict(read=apply(), window=request.window, progress=bar, **sampling),
      )
  decode = functools.partial(decode_clip, model, dtype=request.dtype)
  with log.phase('edit'):
    token_masks, visit = _token_masks(request, model, masks), None
    if request.inspected:
      # before anything is sampled
      words = {branch: _words(request, branch) for branch in request.layout.branches}
      sheets = Sheets(inspect_in, name_of, decode, grids, words)
      visit = inspection.visitor(
        *(
          *unet[:2],
          source.texts,
          request.inspected,
          request.layout,
          request.schedule,
          config.guidance,
        ),
        *(token_masks, sheets.show),
      )
    sampled = edit(
      *(*unet, request.layout, request.schedule, config.guidance),
      **dict(masks=token_masks, progress=bar('edit'), visit=visit, **sampling),
    )
  with log.phase('decode'):
    for late in filter(None, [source.floor, source.free]):
      late()  # it counts as decoding
    return source.clips | {
      name_of(branch): decode(latents) for branch, latents in sampled.items()
    }, masks


def make_settings(one, model, source, log):
  """Makes the settings of a pass.

  Args:
    one: `sweep_request.Pass`.
    model, source, log: as in `make_clips`.

  Yields:
    (number of the setting; its clips 'source', 'reconstruction', 'motion_reference' and 'edit', as
    far as they are made; their measures).
  """
  clips, masks = make_clips(one.config, one.request, model, source, log)
  shared = {name: clip for name, clip in clips.items() if name in sweep.SHARED}
  for setting, name, target in zip(one.settings, edits_of(clips), one.request.targets, strict=True):
    number = name.removeprefix('edit')
    made = shared | {
      kind: clips[kind + number] for kind in ('motion_reference', 'edit') if kind + number in clips
    }
    yield setting, made, measure(one.config, one.request, source, made, masks, [target])


def _grids(request, model):
  """The token grid of every block for the clip of a request."""
  return model.config.unet.grids(*latent_shape(model.config, **request.clip)[1:3])


def _token_masks(request, model, masks=None):
  """`token_masks.token_masks` of a request; of `masks`, or of those that are files."""
  guided = any(injections.guided.on for injections in request.settings)
  return token_masks(request.masks if masks is None else masks, _grids(request, model), guided)


def _words(request, branch):
  """{word: its token positions} of the prompt of a branch."""
  layout = request.layout
  prompt = request.prompts[layout.texts[0, layout.branches.index(branch), COND]]
  find = functools.partial(word_positions, request.tokenizer, prompt)
  return {word: find([word]) for word in dict.fromkeys(split_words(prompt))}
