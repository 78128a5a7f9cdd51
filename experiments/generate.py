"""Generates one clip from a prompt: plain text-to-video sampling.

  python -m experiments.generate --config=configs/generate.py --config.checkpoint=... --workdir=out \
    --config.prompt="a teddy bear is walking"

A rerun on a finished folder does nothing.
"""

from experiments import progress, stages
from experiments.launch import launch
from experiments.requests.edit import read_generation
from uniedit_jax.method import sampling
from uniedit_jax.method.plan import plan_edit
from uniedit_jax.pipeline.model import (
  decode_clip,
  encode_prompts,
  latent_shape,
  start_noise,
  unet_apply,
)
from uniedit_jax.reports.clips import write_clips
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json


def run(config, request, workdir):
  """Generates a clip.

  Args:
    config: ConfigDict of configs/generate.py.
    request: `read_generation(config)`.
    workdir: path.

  Returns:
    uint8[F, H, W, 3].
  """
  log = RunLog(request.warnings, progress.announce)
  model = stages.load(config, request.dtype, log)
  with log.phase('encode'):
    texts = encode_prompts(model, request.prompts, request.dtype)
  with log.phase('generate'):
    # An edit of a generated clip samples this very branch as its reconstruction.
    blocks = model.config.unet.blocks
    layout = plan_edit(
      'appearance', [], config.steps, source=1, wanted=['reconstruction'], blocks=blocks
    )
    noise = start_noise(config.seed, latent_shape(model.config, **request.clip))
    sampled = sampling.edit(
      *(
        unet_apply(model.config, request.dtype, request.window),
        model.params['unet'],
        noise,
        texts,
        layout,
      ),
      *(request.schedule, config.guidance),
      progress=progress.steps('generate', log),
    )
  with log.phase('decode'):
    (latents,) = sampled.values()
    clip = decode_clip(model, latents, request.dtype)
  with log.phase('write'):
    write_clips(workdir, {'generated': clip}, model.config.fps)
  log.facts |= {'seed': config.seed, 'dtype': request.dtype, 'checkpoint_hash': model.hash}
  write_json(workdir / 'run.json', log.as_dict())
  return clip


if __name__ == '__main__':
  launch(read_generation, run, ['generated.mp4'])
