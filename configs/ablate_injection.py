"""Sweeps that show what each injection does to a motion edit. All settings share one
reconstruction.

  python -m experiments.sweep --config=configs/ablate_injection.py --sweep=components \
    --workdir=out/components

`--sweep` takes the name of a function below without its `sweep_`; each yields settings, which are
fields of the config and their values (None: the preset's). The shipped model needs half a minute
for each on 2 cores. With LaVie:

  python -m experiments.sweep --config=configs/ablate_injection.py:lavie \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.target_prompt="a cat is waving its paw" --sweep=t1 \
    --workdir=out/t1
"""

from configs import common, motion, sprites_motion

OFF = (0, 0)


def get_config(form='full'):
  """The edit whose fields are swept: of the shipped clip ('full', 'quick'), or of a video ('lavie',
  'lavie,quick').
  """
  is_lavie, size = common.lavie_form(form)
  config = (motion if is_lavie else sprites_motion).get_config(size)
  config.outputs.motion_reference = False
  return config


def sweep_components(config):
  """The paper's component table: nothing, each injection alone, and what is left without one of
  them.
  """
  parts = 'structure', 'content', 'motion'
  for on in ((), ('structure',), ('content',), ('content', 'motion'), parts):
    yield {f'{name}.steps': None if name in on else OFF for name in parts}


def sweep_structure_end(config):
  """Where structure control ends, for several target motions of the shipped clip: intervals are
  over these.
  """
  prompts = [
    config.target_prompt.replace('jumping', motion) for motion in ('jumping', 'spinning', 'growing')
  ]
  for end in _shares(config.steps):
    for prompt in dict.fromkeys(prompts):
      yield {'structure.steps': (0, end), 'target_prompt': prompt}


def sweep_t1(config):
  """Where structure control ends, the paper's t1, for one target prompt."""
  for end in _shares(config.steps):
    yield {'structure.steps': (0, end)}


def sweep_content_start(config):
  """Where content preservation begins; the release's is step 4 of 50."""
  for start in _shares(config.steps):
    yield {'content.steps': (start, config.steps)}


def sweep_content_blocks(config):
  """The first block of content preservation, the paper's L."""
  for first in (0, 4, 7, 10, 13):
    yield {'content.blocks': (first, 16)}


def sweep_t0_L(config):  # noqa: N802 (the paper's names)
  """Where content preservation ends (t0) and its first block (L), in all combinations."""
  for end in _shares(config.steps)[1:]:
    for first in (4, 7, 10, 13):
      yield {'content.steps': (0, end), 'content.blocks': (first, 16)}


def sweep_frame_reference(config):
  """Keys and values of the source frame by frame, against those of its first frame for all, over
  where this begins.
  """
  for first in (7, 10, 13):
    for reference in ('own', 'first'):
      yield {
        'content.tensors': ('k', 'v'),
        'content.blocks': (first, 16),
        'content.reference': reference,
      }


def sweep_guidance(config):
  """The scale of classifier-free guidance; each value inverts the clip anew where the inversion
  knows of it.
  """
  for scale in (1.0, 3.0, 5.0, 7.5):
    yield {'guidance': scale}


def _shares(steps):
  """None, a quarter, half, three quarters and all of the steps."""
  return [round(steps * quarters / 4) for quarters in range(5)]
