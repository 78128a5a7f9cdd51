"""From the config of a chain of two edits to a checked dataclass."""

from typing import NamedTuple

from experiments.requests.edit import check_request, request_of
from uniedit_jax.pipeline.checked_edit import CheckedEdit
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.runtime import fields
from uniedit_jax.runtime.faults import Faults


class ChainRequest(NamedTuple):
  """Two edits, the second of what the first makes: it has no source yet."""

  first: CheckedEdit
  second: EditRequest


def read_chain(config):
  """Checks both edits before the first begins: `ChainRequest`; raises FaultsError of all faults."""
  faults = Faults()
  motion = faults.attempt(request_of, config.motion, field='motion')
  faults.stop()
  second = faults.attempt(_second_request, config.appearance, motion, field='appearance')
  faults.stop()
  first = faults.attempt(check_request, motion, field='motion')
  faults.unless(
    not (second.video or second.image or second.generated),
    'appearance.video, image or generated is set; accepted: none, as it edits the first edit',
  )
  faults.unless(
    motion.outputs.frames,
    'motion.outputs.frames is False; accepted: True, as they are edited next',
  )
  if motion.video:  # of the same size; a photo or a generated clip is checked in its turn
    clip = {f'clip.{name}': getattr(motion.clip, name) for name in vars(motion.clip)}
    stand_in = second.replace({'video': motion.video} | clip)
    faults.attempt(check_request, stand_in, field='appearance')
  faults.stop()
  return ChainRequest(first, second)


def _second_request(config, first):
  """The `EditRequest` of the second edit, whose source is what the first's target prompt says.

  Where the first has the null prompt, the second inverts with it too; only measures and the search
  for masks then read what its source shows.
  """
  tree = config.to_dict()
  if tree['source_prompt'] is None:
    tree['source_prompt'] = first.target_prompt if first.source_prompt else ''
  second = fields.of_tree(EditRequest, tree)
  if second.source_prompt:
    return second
  given = {'metrics': second.metrics.source_prompt, 'mask': second.mask.source_prompt}
  shown = {part: prompt or first.target_prompt for part, prompt in given.items()}
  return second.replace({f'{part}.source_prompt': prompt for part, prompt in shown.items()})


def check_second(chain, frames):
  """The `CheckedEdit` of the second edit, of the folder of frames that the first has made."""
  size = zip(('frames', 'height', 'width'), chain.first.clip.size, strict=True)
  changes = {f'clip.{name}': value for name, value in size}
  return check_request(chain.second.replace({'video': frames} | changes))


def resolve_chain(chain):
  """The config as a dict for config.json."""
  return {'motion': chain.first.as_tree(), 'appearance': chain.second.as_tree()}
