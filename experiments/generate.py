"""Generates one clip from a prompt: plain text-to-video sampling.

  python -m experiments.generate --config=configs/generate.py --config.checkpoint=... --workdir=out \
    --config.prompt="a teddy bear is walking"

A rerun on a finished folder does nothing.
"""

from experiments import progress, stages
from experiments.launch import launch
from experiments.request import read_generation
from uniedit_jax import editing, outputs, pipeline, record
from uniedit_jax.layout import lay_out


def run(config, request, workdir):
  """Generates a clip.

  Args:
    config: ConfigDict of configs/generate.py.
    request: `read_generation(config)`.
    workdir: path.

  Returns:
    uint8[F, H, W, 3].
  """
  log = record.Record(request.warnings, progress.announce)
  model = stages.load(config, request.dtype, log)
  with log.phase('encode'):
    texts = pipeline.encode_prompts(model, request.prompts, request.dtype)
  with log.phase('generate'):
    # An edit of a generated clip samples this very branch as its reconstruction.
    blocks = model.config.unet.blocks
    layout = lay_out('appearance', [], config.steps, source=1, wanted=['reconstruction'], blocks=blocks)
    noise = pipeline.start_noise(config.seed, pipeline.latent_shape(model.config, **request.clip))
    sampled = editing.edit(
      *(pipeline.unet_apply(model.config, request.dtype, request.window), model.params['unet'], noise, texts, layout),
      *(request.schedule, config.guidance),
      progress=progress.steps('generate', log),
    )
  with log.phase('decode'):
    (latents,) = sampled.values()
    clip = pipeline.decode_clip(model, latents, request.dtype)
  with log.phase('write'):
    outputs.write_clips(workdir, {'generated': clip}, model.config.fps)
  log.facts |= {'seed': config.seed, 'dtype': request.dtype, 'checkpoint_hash': model.hash}
  record.write_json(workdir / 'run.json', log.as_dict())
  return clip


if __name__ == '__main__':
  launch(read_generation, run, ['generated.mp4'])
