"""Measures how well attention maps show the true motion and layout of clips, block by block.

  python -m experiments.evidence --config=configs/sprites_evidence.py --workdir=out/sprites_evidence

The workdir gets results.csv (a row for each kind of attention, block and noise level), table.md
(the means), evidence.png, and index.html, which shows all of it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from experiments.launch import launch
from experiments.requests.evidence import read_evidence, resolve_evidence
from uniedit_jax.pipeline.edit import load
from uniedit_jax.pipeline.model import encode_clip, encode_prompts, unet_apply
from uniedit_jax.reports import tables
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import attention_evidence, attention_evidence_report
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scoring import SPLITS


def run(request, workdir):
  """Measures the attention maps of all clips at every noise level."""
  log = progress.shown_log()
  workdir, dtype = epath.Path(workdir), request.dtype
  model = load(request.checkpoint, dtype, request.cache, log)
  # The clips, their latents and texts, and the noise of each clip.
  with log.phase('encode'):
    scenes = attention_evidence.draw_scenes(SPLITS[request.split], request.per_motion)
    clips = [render(scene, model.config.height, model.config.frames) for scene in scenes]
    masks = np.stack([clip.masks for clip in clips])
    counted = log.steps('encode')(clips)
    latents = [encode_clip(model, clip.frames, dtype) for clip in counted]
    prompts = [scene.caption if request.source_prompt == 'caption' else '' for scene in scenes]
    texts = encode_prompts(model, prompts, dtype)
  shape = latents[0].shape
  draw = lambda i: np.random.default_rng([request.seed, i]).standard_normal(shape, np.float32)
  samples = list(zip(latents, map(draw, range(len(clips))), texts, strict=True))
  # The maps of all blocks at each noise level.
  grids, kinds = model.config.unet.grids(*shape[1:3]), attention_evidence.KINDS
  taps = tuple(f'{block}/{kind}_map' for block in range(len(grids)) for kind in kinds)
  apply, params, rows = unet_apply(model.config, dtype), model.params['unet'], []
  for timestep in request.timesteps:
    (signal, power), found = np.float32(model.config.schedule.train_levels[timestep]), []
    with log.phase(f'timestep {timestep}'):
      for clean, noise, text in log.steps('maps')(samples):
        noisy = np.sqrt(signal) * clean + np.sqrt(power) * noise
        maps = read_maps(apply, params, noisy, np.int32(timestep), text, taps)
        found.append(jax.tree.map(np.asarray, maps))
      maps = {name: np.stack([clip[name] for clip in found]) for name in taps}
      level = {'timestep': timestep, 'signal': round(float(signal), 4)}
      measured = attention_evidence.measure_blocks(maps, masks, grids, request.clear)
      rows += [level | row for row in measured]
      tables.write_csv(workdir / 'results.csv', rows)
  # The table, the picture, the page, and the run's facts.
  attention_evidence_report.write_table(workdir / 'table.md', rows)
  attention_evidence_report.plot(workdir / 'evidence.png', rows, grids)
  title = f'{workdir.name}: what attention maps show'
  attention_evidence_report.write_page(workdir / 'index.html', title, rows)
  log.facts |= {'clips': len(clips), 'dtype': dtype, 'checkpoint_hash': model.hash}
  write_json(workdir / 'run.json', log.as_dict())


@functools.partial(jax.jit, static_argnums=(0, 5))
def read_maps(apply, params, latents, timestep, text, taps):
  """Log-probabilities {tap: f32[G, N, N]} of the attention maps `taps`, the mean over heads.

  Latents are f32[F, H, W, C], the text f32[T, E]; `apply` and `params` are the UNet's.
  """
  tapped = apply({'params': params}, latents, timestep, text, None, None, taps)[1]
  smallest = jnp.finfo(jnp.float32).tiny
  return {
    name: jnp.log(jnp.maximum(probabilities.mean(1), smallest))
    for name, probabilities in tapped.items()
  }


if __name__ == '__main__':
  launch(read_evidence, run, ['index.html', 'table.md', 'evidence.png'], resolve_evidence)
