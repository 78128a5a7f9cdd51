"""The masks of an edit, checked: read from files, or what has to be known to find them."""

from uniedit_jax.media import masks
from uniedit_jax.method.injection import Injections
from uniedit_jax.models.tokenizers import word_positions
from uniedit_jax.pipeline import found_masks
from uniedit_jax.runtime.faults import Faults

AUTO = 'auto'
SIDES = ('source', 'target')


def read_files(config, clip, faults):
  """The masks that are files: dict {side: bool[F, H, W] or None}."""
  paths = {side: config.mask[side] for side in SIDES if config.mask[side] not in ('', AUTO)}
  return {
    side: faults.attempt(masks.read_masks, path, field=f'mask.{side}', **clip)
    for side, path in paths.items()
  }


def check_sides(config, faults):
  """Which sides need masks: both in motion editing, the source's in appearance editing."""
  given, motion = [side for side in SIDES if config.mask[side]], config.task == 'motion'
  if given == ['target'] or (motion and len(given) == 1):
    missing = next(side for side in SIDES if side not in given)
    faults.append(f"mask.{missing} is '' but mask.{given[0]} is given; accepted: both or neither")
  if config.mask.target == AUTO and not motion:
    faults.append(
      f"mask.target is 'auto' with task {config.task!r}, which samples no target first; accepted: '', a file"
    )


def source_prompt(config):
  """What the source is said to show when its mask is looked for."""
  return config.mask.source_prompt or config.source_prompt


def read_search(config, request, lay_out):
  """What `found_masks.find_masks` needs, or None where no mask is to be found.

  Args:
    config: ConfigDict of an edit.
    request: `Request` with all but layout and search.
    lay_out: (settings, kinds of wanted branches) -> `EditPlan` without masks.

  Raises:
    ValueError: all faults.
  """
  sides = [side for side in SIDES if config.mask[side] == AUTO]
  if not sides:
    return None
  options = found_masks.MapOptions(
    **{name: config.mask[name] for name in ('blocks', 'threshold', 'smoothing')}
  )
  factor = request.model_config.vae.factor
  grids = request.model_config.unet.grids(
    request.clip['height'] // factor, request.clip['width'] // factor
  )
  faults = Faults(options.faults(grids))
  prompts, words = {'source': source_prompt(config), 'target': config.target_prompt}, {}
  for side in sides:
    other = prompts['target' if side == 'source' else 'source']
    chosen = list(config.mask[f'{side}_words']) or found_masks.differing_words(prompts[side], other)
    field = f'mask.{side}_words'
    if not prompts[side]:
      faults.append(
        "mask.source_prompt is '' with mask.source='auto'; accepted: what the source shows"
      )
    elif not chosen:
      faults.append(
        f'{field} is () and the prompt {prompts[side]!r} has no word that {other!r} lacks; accepted: words of it'
      )
    else:
      positions = faults.attempt(
        word_positions, request.tokenizer, prompts[side], chosen, field=field
      )
      words[side] = request.prompts.index(prompts[side]), positions
  if faults:
    raise ValueError('; '.join(faults))
  first = [Injections(structure=request.settings[0].structure)]
  stored = request.inversion.stored(config.steps) == config.steps
  layout = found_masks.layout_to_search(sides, stored, lambda kinds: lay_out(first, kinds))
  return found_masks.Search(layout, words, options)
