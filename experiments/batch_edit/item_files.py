"""The stages of edits side by side, and what is read and written around them."""

import functools

import jax
import numpy as np
from etils import epath

from experiments import edit, progress, stages
from experiments.requests.edit import read_source
from experiments.requests.masks import read_files
from uniedit_jax.media import video
from uniedit_jax.method import sampling
from uniedit_jax.method.token_masks import token_masks
from uniedit_jax.metrics.measures import name_of
from uniedit_jax.pipeline.invert import invert_clips
from uniedit_jax.pipeline.model import decode_batch, encode_batch, encode_prompts, unet_apply
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.workdir import mark_done, write_json


def read(items):
  """Reads clips and masks: {id: (request, frames u8[F, H, W, 3], fps), or the error that kept it
  from being read}.
  """
  found = {}
  for item in items:
    try:
      faults = Faults()
      masks = read_files(item.config, item.request.clip, faults)
      faults.stop()
      clip = (None, None) if item.config.generated else read_source(item.config, item.request)
      found[item.id] = item.request._replace(masks=masks), *clip
    except Exception as error:  # whatever is wrong with one clip, the others are made
      found[item.id] = error
  return found


def make(items, clips, model, mesh, log):
  """Makes edits of one bucket side by side.

  Args:
    items: list of `batch_request.Item`, at most as many as the mesh takes at once.
    clips: {id: (request, frames, fps)}.
    model: `checkpoint.Model`, its parameters on all devices of the mesh.
    mesh: `sharding.data_mesh()`.
    log: `run_log.RunLog`.

  Returns:
    {id: (`stages.Source`, clips, masks), or an error: its edit is not finite}.
  """
  first = items[0]
  # the tail repeats an edit, whose results are dropped
  padded = [*items, *[first] * (-len(items) % mesh.size)]
  requests, config, dtype = (
    [clips[item.id][0] for item in padded],
    first.config,
    first.request.dtype,
  )
  bar = functools.partial(progress.steps, record=log)
  decode = lambda latents: np.asarray(decode_batch(model, np.stack(latents), dtype, mesh))
  with log.phase('encode'):
    texts = {
      item.id: np.asarray(encode_prompts(model, item.request.prompts, dtype)) for item in items
    }
    frames = np.stack([clips[item.id][1] for item in padded])
    latents = np.asarray(encode_batch(model, frames, dtype, mesh))
    floors = decode(latents)
  with log.phase('invert'):
    to_invert = [
      {
        **{'latents': one, 'text': dict(zip(request.prompts, texts[item.id], strict=True))},
        **{
          'source_prompt': item.config.source_prompt,
          'options': request.inversion,
          'guidance': item.config.guidance,
        },
      }
      for item, request, one in zip(padded, requests, latents, strict=True)
    ]
    inverted = invert_clips(
      *(
        model,
        to_invert,
        first.request.schedule,
        config.steps,
        dtype,
        epath.Path(config.cache) / 'inversions',
        bar,
      ),
      *(mesh, first.request.window),
    )
    inverted = [one for one, _ in inverted]
  with log.phase('edit'):
    trajectories = np.stack([one.trajectory for one in inverted])
    most = max(len(text) for text in texts.values())
    fill = lambda text: np.concatenate([text, np.repeat(text[:1], most - len(text), axis=0)])
    grids = model.config.unet.grids(*trajectories.shape[3:5])
    guided = first.request.settings[0].guided.on
    masks = [token_masks(request.masks, grids, guided) for request in requests]
    sampled = sampling.edit_batch(
      *(
        unet_apply(model.config, dtype, first.request.window),
        model.params['unet'],
        trajectories[:, -1],
      ),
      np.stack([fill(texts[item.id]) for item in padded]),
      *(
        [request.layout for request in requests],
        first.request.schedule,
        [item.config.guidance for item in padded],
      ),
      **dict(
        mesh=mesh,
        trajectories=trajectories,
        sampler=first.request.inversion.sampler,
        progress=bar('edit'),
      ),
      masks=jax.tree.map(lambda *leaves: np.stack(leaves), *masks) if masks[0] else None,
    )
    sampled = jax.device_get(sampled)
  with log.phase('decode'):
    by_name = {name_of(branch): decode([one[branch] for one in sampled]) for branch in sampled[0]}
    free = None if inverted[0].free is None else decode([one.free for one in inverted])
  made = {}
  for i, item in enumerate(items):
    if not all(np.isfinite(latents).all() for latents in sampled[i].values()):
      made[item.id] = FloatingPointError('the edit has values that are not finite numbers')
      continue
    picture = lambda decoded, i=i: video.from_model(decoded[i])
    source = {'source': frames[i]}
    late = [
      decoded if decoded is None else functools.partial(picture, decoded)
      for decoded in (floors, free)
    ]
    ready = *late, clips[item.id][2], texts[item.id], inverted[i]
    shown = source | {name: picture(decoded) for name, decoded in by_name.items()}
    made[item.id] = stages.Source(source, *ready), shown, requests[i].masks
  return made


def leave(item, request, made, model, folder, facts):
  """Writes what a single edit leaves, with the `facts` of the edits made at once; DONE comes last."""
  _, warnings = edit.leave_clips(item.config, request, folder, *made)
  facts = facts | {
    'fps': made[0].fps,
    'warnings': [*request.warnings, *facts['warnings'], *warnings],
  }
  edit.leave_record(item.config, request, folder, model, facts)
  (folder / 'error.json').unlink(missing_ok=True)
  mark_done(folder)


def leave_error(folder, error):
  """Writes why an edit was not made."""
  write_json(folder / 'error.json', {'error': str(error), 'kind': type(error).__name__})
