"""An edit from start to end: encode, invert, find masks, sample, decode, measure.

Every function takes a list of edits that share programs (`CheckedEdit.bucket`) and makes them side
by side, sharded over a mesh; a single edit is a list of one.
"""

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from uniedit_jax.method.rows import COND
from uniedit_jax.method.sampling import Conditioning, Network, sample_edits
from uniedit_jax.method.token_masks import token_masks
from uniedit_jax.metrics import clip_model, clip_scores
from uniedit_jax.metrics.measures import edits_of, measure_clips, name_of, plain_of
from uniedit_jax.models.tokenizers import split_words, word_positions
from uniedit_jax.pipeline import ahead_of_time, found_masks, inspection
from uniedit_jax.pipeline.invert import ClipToInvert, Inversion, invert_clips
from uniedit_jax.pipeline.model import (
  decode_clip,
  decode_clips,
  encode_clips,
  encode_prompts,
  start_noise,
  unet_apply,
)
from uniedit_jax.runtime import checkpoint, sharding


class PreparedClip(NamedTuple):
  """A clip, ready to be edited.

  Attributes:
    frames: u8[F, H, W, 3], the source, or None where it is generated.
    fps: frame rate.
    texts: f32[P, T, E], the prompts of the edit and optimised null texts.
    inversion: `Inversion`, or None where a comparison method makes its own.
    round_trip: () -> u8[F, H, W, 3], the VAE's round trip of the source, decoded when it is first
      asked for; None where the source is generated.
    free: () -> u8[F, H, W, 3], the freely sampled reconstruction where the inversion has one
      (direct), or None.
  """

  frames: np.ndarray | None
  fps: float
  texts: jax.Array
  inversion: Inversion | None = None
  round_trip: Callable[[], np.ndarray] | None = None
  free: Callable[[], np.ndarray] | None = None


class EditedClips(NamedTuple):
  """What an edit came to.

  Attributes:
    clips: dict of u8[F, H, W, 3] by `measures.name_of`, the source included.
    masks: dict of bool[F, H, W] by side.
  """

  clips: dict[str, np.ndarray]
  masks: dict[str, np.ndarray]


def load(folder, dtype, cache, log):
  """Loads the `checkpoint.Model` of a folder or name; `cache` keeps programs and digests."""
  sharding.set_up_programs(epath.Path(cache) / 'programs', dtype)
  with log.phase('load'):
    return checkpoint.load(folder, dtype, cache=cache)


@contextlib.contextmanager
def compiling(edit, model, log):
  """Compiles the first program of sampling in a thread, next to the block, where it is known."""
  # GPUs choose kernels by timing them, which must not happen next to other work.
  if edit.search or edit.method or jax.default_backend() == 'gpu':
    yield
    return
  optimised = edit.sampler.steps if edit.inversion.method == 'null_text' else 0
  with log.phase('compile'):
    masks = token_masks(edit.masks, edit.grids, edit.guided)
    lowered = ahead_of_time.lower_first(model, edit, len(edit.prompts) + optimised, masks)
  # Where it fails, sampling compiles again and reports it. No daemon: an interpreter that ends
  # while one compiles is aborted.
  thread = threading.Thread(target=lowered.compile)
  thread.start()
  yield
  with log.phase('compile'):
    thread.join()


def prepare(model, edits, sources, log, *, mesh=None):
  """Encodes prompts and clips, and inverts the clips or draws the noise of a generated one.

  Args:
    model: `checkpoint.Model`, on all devices of the mesh.
    edits: list of B `CheckedEdit`; a generated one is alone.
    sources: B `video.Clip`, or None where it is generated (`sources.read_source`).
    log: `RunLog`.
    mesh: a mesh with the axis 'data', which divides B; None: the model's device.

  Returns:
    list of `PreparedClip`.
  """
  first = edits[0]
  encode = functools.partial(encode_prompts, model, dtype=first.dtype)
  with log.phase('encode'):
    texts = [encode(edit.prompts) for edit in edits]
    if not first.request.generated:
      latents, round_trips = encode_sources(model, first.dtype, sources, mesh)
  with log.phase('invert'):
    if first.request.generated:
      noise = start_noise(first.request.seed, first.latent_shape)
      return [PreparedClip(None, first.model_config.fps, texts[0], Inversion(noise[None]))]
    clips = [
      ClipToInvert(
        one,
        dict(zip(edit.prompts, np.asarray(text), strict=True)),
        edit.request.source_prompt,
        edit.inversion,
        edit.sampler,
      )
      for edit, one, text in zip(edits, latents, texts, strict=True)
    ]
    cache = epath.Path(first.request.cache) / 'inversions'
    inverted = invert_clips(
      model, clips, first.dtype, cache, log.steps, mesh=mesh, window=first.window
    )
  log.facts['inversion_cached'] = all(cached for _, cached in inverted)
  frees = [inversion.free for inversion, _ in inverted]
  frees = [None] * len(edits) if frees[0] is None else _late(model, first.dtype, frees, mesh)
  return [
    PreparedClip(source.frames, source.fps, inversion.all_texts(text), inversion, trip, free)
    for source, text, (inversion, _), trip, free in zip(
      sources, texts, inverted, round_trips, frees, strict=True
    )
  ]


def encode_sources(model, dtype, sources, mesh=None):
  """Encodes B `video.Clip`: (latents f32[B, F, H, W, C]; B times () -> the VAE's round trip)."""
  latents = encode_clips(model, np.stack([source.frames for source in sources]), dtype, mesh)
  return latents, _late(model, dtype, latents, mesh)


def _late(model, dtype, latents, mesh):
  """B functions () -> u8[F, H, W, 3], of clips that are decoded when the first is asked for."""
  decoded = functools.cache(lambda: decode_clips(model, np.stack(latents), dtype, mesh))
  return [lambda i=i: decoded()[i] for i in range(len(latents))]


def make_clips(model, edits, prepared, log, *, mesh=None, sheets=None):
  """Finds the masks that are to be found, and samples and decodes the branches that plans want.

  Args:
    model, log, mesh: as in `prepare`.
    edits: list of B `CheckedEdit`; one with several settings, a search or an inspection is alone.
    prepared: B `PreparedClip`.
    sheets: (decode, grids, words of each branch) -> show, the pictures of the edit's inspection
      (`reports.inspection.Sheets`), or None.

  Returns:
    list of B `EditedClips`, or FloatingPointError where latents are not finite.
  """
  first = edits[0]
  networks = [
    Network(unet_apply(model.config, first.dtype, window), model.params['unet'])
    for window in (first.window, None)
  ]
  given = [Conditioning(clip.texts, trajectory=clip.inversion.trajectory) for clip in prepared]
  masks = [edit.masks for edit in edits]
  if first.search:
    with log.phase('masks'):
      masks = [first.masks | _find_masks(first, *networks, given[0], log)]
  with log.phase('edit'):
    given = [
      conditioning._replace(masks=token_masks(found, first.grids, first.guided))
      for conditioning, found in zip(given, masks, strict=True)
    ]
    visit = sheets and first.inspected and _inspect(model, first, networks[0], given[0], sheets)
    sampled = sample_edits(
      networks[0],
      [clip.inversion.trajectory[-1] for clip in prepared],
      [edit.plan for edit in edits],
      [edit.sampler for edit in edits],
      given,
      mesh=mesh,
      visit=visit,
      progress=log.steps('edit'),
    )
  with log.phase('decode'):
    return _decode(model, first.dtype, sampled, prepared, masks, mesh)


def _decode(model, dtype, sampled, prepared, masks, mesh):
  """The results of `make_clips`."""
  sound = next((one for one in sampled if not isinstance(one, Exception)), None)
  if sound is None:
    return sampled
  # One program decodes all: the place of a failed edit is filled.
  safe = [sound if isinstance(one, Exception) else one for one in sampled]
  by_name = {
    name_of(branch): decode_clips(model, np.stack([one[branch] for one in safe]), dtype, mesh)
    for branch in sound
  }
  results = []
  for i, (clip, found, one) in enumerate(zip(prepared, masks, sampled, strict=True)):
    if isinstance(one, Exception):
      results.append(one)
      continue
    for late in filter(None, [clip.round_trip, clip.free]):
      late()  # it counts as decoding
    source = {} if clip.frames is None else {'source': clip.frames}
    clips = source | {name: decoded[i] for name, decoded in by_name.items()}
    results.append(EditedClips(clips, found))
  return results


def make_one(model, edit, prepared, log, sheets=None):
  """`make_clips` of one edit: `EditedClips`.

  Raises:
    FloatingPointError: latents are not finite; names the step and the branches.
  """
  (made,) = make_clips(model, [edit], [prepared], log, sheets=sheets)
  if isinstance(made, Exception):
    raise made
  return made


def measure_edit(edit, clip, made, targets, judge=None):
  """Computes every measure whose inputs exist.

  Args:
    edit: `CheckedEdit`.
    clip: `PreparedClip`.
    made: `EditedClips`.
    targets: the target prompt of each edit among the clips.
    judge: (source or None, edit, target prompt) -> dict of measures, where the right answer is
      known; or None.

  Returns:
    dict of numbers for metrics.json.
  """
  stored = edit.inversion.method == 'direct'
  round_trip, free = (late and late() for late in (clip.round_trip, clip.free))
  measures = measure_clips(made.clips, round_trip, free, stored, made.masks.get('source'))
  wanted = dict(zip(edits_of(made.clips), targets, strict=True))
  plain = {plain_of(name): target for name, target in wanted.items()}
  wanted |= {name: target for name, target in plain.items() if name in made.clips}
  if edit.request.metrics.clip:
    model = clip_model.load(edit.request.metrics.clip)
    measures |= clip_scores.measure_clip_metrics(model, made.clips, edit.metrics_prompt, wanted)
  for name, target in wanted.items() if judge else ():
    judged = judge(made.clips.get('source'), made.clips[name], target)
    measures |= {f'{name}_{key}': value for key, value in judged.items()}
  return measures


def _find_masks(edit, network, plain, conditioning, log):
  """The masks bool[F, H, W] that the edit's search finds."""
  maps = found_masks.find_masks(
    network,
    plain,
    edit.search,
    edit.grids,
    edit.sampler,
    conditioning,
    window=edit.window,
    progress=log.steps,
  )
  options, size = edit.search.options, (edit.clip.height, edit.clip.width)
  return {side: found_masks.to_mask(found, *size, options) for side, found in maps.items()}


def _inspect(model, edit, network, conditioning, sheets):
  """The `visit` that draws the edit's inspection."""
  decode = functools.partial(decode_clip, model, dtype=edit.dtype)
  words = {branch: _words(edit, branch) for branch in edit.plan.branches}
  show = sheets(decode, edit.grids, words)
  return inspection.visitor(network, edit.inspected, edit.plan, edit.sampler, conditioning, show)


def _words(edit, branch):
  """{word: its token positions} of the prompt of a branch."""
  prompt = edit.prompts[edit.plan.texts[0, edit.plan.branches.index(branch), COND]]
  words = dict.fromkeys(split_words(prompt))
  return {word: word_positions(edit.tokenizer, prompt, [word]) for word in words}
