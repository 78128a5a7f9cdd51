"""Edits one clip and leaves everything about it in a folder.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=... --config.video=clip.mp4 \
    --config.target_prompt="..." --workdir=out

A rerun on a finished folder does nothing. `--config.<field>=...` sets any field of the config.
"""

import functools
import sys

import jax.numpy as jnp
from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from experiments import progress
from experiments.request import read_edit, resolve
from uniedit_jax import checkpoint, editing, injection, outputs, pipeline, record, report, sharding, video

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for all that the run leaves behind.', required=True)


def run(config, request, workdir):
  """Runs an edit.

  Args:
    config: ConfigDict of configs/motion.py or configs/appearance.py.
    request: `read_edit(config)`.
    workdir: path.

  Returns:
    dict of clips, uint8[F, H, W, 3], by name.
  """
  log = record.Record(request.warnings, progress.announce)
  bar = functools.partial(progress.steps, record=log)
  cache = epath.Path(config.cache)
  sharding.set_up_programs(cache / 'programs', request.dtype)
  layout, options, dtype = request.layout, request.inversion, request.dtype

  with log.phase('load'):
    model = checkpoint.load(config.checkpoint, dtype)
  with log.phase('encode'):
    texts = pipeline.encode_prompts(model, request.prompts, dtype)
    clips, floor, fps = {}, None, model.config.fps
    if not config.generated:
      clips['source'], fps = video.read_clip(config.video, **request.clip)
      latents = pipeline.encode_clip(model, clips['source'], dtype)
      floor = pipeline.decode_clip(model, latents, dtype)

  with log.phase('invert'):
    if config.generated:
      noise = pipeline.start_noise(config.seed, pipeline.latent_shape(model.config, **request.clip))
      source = pipeline.Inversion(noise[None])
    else:
      text = dict(zip(request.prompts, texts, strict=True))
      source, log.facts['inversion_cached'] = pipeline.invert(
        *(model, latents, text, config.source_prompt, request.schedule, config.steps, options),
        *(config.guidance, dtype, cache / 'inversions', bar),
      )
      if source.null_texts is not None:
        texts = jnp.concatenate([texts, source.null_texts])

  with log.phase('edit'):
    token_masks = None
    if request.mask_source is not None:
      grids = model.config.unet.grids(*source.trajectory.shape[2:4])
      masks = request.mask_source, request.mask_target
      token_masks = injection.token_masks(*masks, grids, guided=request.injections.guided.on)
    sampled = editing.edit(
      *(pipeline.unet_apply(model.config, dtype), model.params['unet'], source.trajectory[-1], texts, layout),
      *(request.schedule, config.guidance),
      masks=token_masks,
      trajectory=source.trajectory if options.method == 'direct' else None,
      progress=bar('edit'),
    )

  with log.phase('decode'):
    decode = functools.partial(pipeline.decode_clip, model, dtype=dtype)
    clips |= {outputs.NAMES[branch.kind]: decode(latents) for branch, latents in sampled.items()}
    free = None if source.free is None else decode(source.free)

  with log.phase('write'):
    outputs.write_clips(workdir, clips, fps, gif=config.outputs.gif, frames=config.outputs.frames)
    outputs.write_masks(workdir, clips, fps, source=request.mask_source, target=request.mask_target)
    measures = outputs.measure(clips, floor, free, options.method == 'direct', request.mask_source)
    record.write_json(workdir / 'metrics.json', measures)
  log.facts |= {
    **{'seed': config.seed, 'preset': config.preset, 'dtype': dtype, 'checkpoint_hash': model.hash},
    **{'phases': layout.plan.phases, 'rows': sum(layout.plan.rows)},
  }
  record.write_json(workdir / 'run.json', log.as_dict())
  report.write_report(workdir)
  return clips


def main(_):
  """Checks the config, runs unless the folder is finished, and marks it DONE."""
  logging.set_verbosity(logging.WARNING)
  config, workdir = _CONFIG.value, epath.Path(_WORKDIR.value).expanduser()
  try:
    request = read_edit(config)
    unfinished = record.begin(workdir, resolve(config, request))
  except ValueError as error:
    sys.exit(f'{error}')
  if unfinished:
    run(config, request, workdir)
    record.mark_done(workdir)
  print((workdir / 'metrics.json').read_text() + f'{workdir}/edit.mp4\n{workdir}/report.html')


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  app.run(main)
