"""Edits one clip and leaves everything about it in a folder.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=... --config.video=clip.mp4 \
    --config.target_prompt="..." --workdir=out

A rerun on a finished folder does nothing. `--config.<field>=...` sets any field of the config.
"""

import functools

from etils import epath

from experiments import progress
from experiments.launch import launch
from experiments.request import read_edit, read_source
from uniedit_jax import attention_masks, checkpoint, editing, injection, outputs, pipeline, record, report, sharding
from uniedit_jax.sprites import world


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
      clips['source'], fps = read_source(config, request)
      if warning := world.stranger(model.config, clips['source']):
        log.warn(warning)
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
        *(config.guidance, dtype, cache / 'inversions', bar, request.window),
      )
      texts = source.all_texts(texts)

  apply = functools.partial(pipeline.unet_apply, model.config, dtype)
  unet = apply(request.window), model.params['unet'], source.trajectory[-1], texts
  sampling = {'trajectory': source.trajectory, 'sampler': options.sampler}
  masks, grids = dict(request.masks), model.config.unet.grids(*source.trajectory.shape[2:4])
  if request.search:
    with log.phase('masks'):
      size = request.clip['height'], request.clip['width']
      masks |= attention_masks.find_masks(
        *(*unet, request.search, grids, size, request.schedule, config.guidance),
        **dict(read=apply(), window=request.window, progress=bar, **sampling),
      )

  with log.phase('edit'):
    token_masks = None
    if masks:
      token_masks = injection.token_masks(
        masks['source'], masks.get('target'), grids, guided=request.injections.guided.on
      )
    sampled = editing.edit(
      *(*unet, layout, request.schedule, config.guidance), **sampling, masks=token_masks, progress=bar('edit')
    )

  with log.phase('decode'):
    decode = functools.partial(pipeline.decode_clip, model, dtype=dtype)
    clips |= {outputs.name_of(branch): decode(latents) for branch, latents in sampled.items()}
    free = None if source.free is None else decode(source.free)

  with log.phase('write'):
    outputs.write_clips(workdir, clips, fps, gif=config.outputs.gif, frames=config.outputs.frames)
    outputs.write_masks(workdir, clips, fps, masks)
    measures = outputs.measure(clips, floor, free, options.method == 'direct', masks.get('source'))
    record.write_json(workdir / 'metrics.json', measures)
    if warning := outputs.distrust(measures, options.method):
      log.warn(warning)
    progress.announce(', '.join(f'{name} {value:.4g}' for name, value in measures.items() if value is not None))
  log.facts |= {
    **{'seed': config.seed, 'preset': config.preset, 'dtype': dtype, 'checkpoint_hash': model.hash},
    **{'phases': layout.plan.phases, 'rows': sum(layout.plan.rows)},
  }
  record.write_json(workdir / 'run.json', log.as_dict())
  report.write_report(workdir)
  return clips


if __name__ == '__main__':
  launch(read_edit, run, ['edit.mp4', 'report.html'])
