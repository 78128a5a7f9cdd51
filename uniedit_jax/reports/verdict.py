"""What an edit came to, in sentences and lines: on its page, and where its command ends."""

import json

from uniedit_jax.metrics.explained import by_group
from uniedit_jax.metrics.measures import TRUSTED_DB, trusted_psnr
from uniedit_jax.reports.tables import format_number

KEPT_DB = (
  25.0  # of a background that looks the same; docs/guide.md shows one of 23 dB that does not
)
BACKGROUND = 'kept_background_psnr_db', 'source_background_psnr_db'
SAME_DB = 1.0  # an edit as near to the source as that below the reconstruction has changed nothing
ALIGNMENT = 'clip_text_alignment_framemean'


def verdict(measures):
  """Says in sentences whether the reconstruction, and then every edit, came out right.

  Args:
    measures: dict, metrics.json.

  Returns:
    list of (whether it is good: True, False or None, sentence).
  """
  found = [_reconstruction(measures)] if measures else []
  names = _edits(measures)
  for name in names:
    own = {key.removeprefix(f'{name}_'): v for key, v in measures.items() if _is_of(key, name)}
    subject = f'{name.replace("_", " ").capitalize()}: ' if len(names) > 1 else ''
    source = measures.get(next((f'source_{key}' for key in own if key.startswith(ALIGNMENT)), ''))
    for said in (_background(own), _attributes(own), _alignment(own, source)):
      if said:
        found.append((said[0], f'{subject}{said[1]}'))
  return found


def next_steps(measures, config):
  """What to try next, as lines of settings; docs/guide.md has more."""
  pair, steps = trusted_psnr(measures), []
  is_lost = pair and pair[0] < pair[1] - TRUSTED_DB
  if is_lost:
    steps.append('inversion.method=fixed_point or obelm, or less guidance: a better reconstruction')
  for name in _edits(measures):
    own = {key.removeprefix(f'{name}_'): v for key, v in measures.items() if _is_of(key, name)}
    kept, wrong, same = _background(own), _wrong(own), own.get('source_psnr_db')
    if kept and kept[0] is False:
      steps.append(
        "content.steps from 0, content.blocks=(7,16), content.tensors=('k','v'), or masks: more of "
        'the background'
      )
    if 'motion' in wrong and config.get('task') == 'motion':
      steps.append(
        'motion_reference.mp4 shows the motion: a later start of content.steps; it does not: other '
        'words in target_prompt'
      )
    if set(wrong) - {'motion'}:
      steps.append('shorter structure.steps, or more guidance: more of what the prompt says')
    elif pair and not is_lost and same is not None and same > pair[0] - SAME_DB:
      steps.append('shorter structure.steps and content.steps, or more guidance: more change')
  more = 'docs/guide.md has a setting for each symptom; experiments.sweep shows many settings'
  return [*dict.fromkeys(steps), more]


def lines_of(measures):
  """The measures as lines of text, one a group; the value of the source in brackets."""
  lines = []
  for group, rows in by_group(measures).items():
    shown = []
    for measure, values in rows.items():
      edits = [format_number(value) for clip, value in values.items() if clip != 'source']
      source = values.get('source')
      against = f' (source {format_number(source)})' if source is not None else ''
      shown.append(f'{measure} {" / ".join(filter(None, edits)) or "-"}{against}')
    lines.append(f'{group} {", ".join(shown)}')
  return lines


def read_end(workdir):
  """The lines with which a command on the workdir of an edit ends: verdict, measures, what next."""
  measures, config = (_read(workdir / f'{name}.json') for name in ('metrics', 'config'))
  signs = {True: '✓', False: '✗', None: '·'}
  lines = [f'{signs[good]} {sentence}' for good, sentence in verdict(measures)]
  lines += ['', *lines_of(measures), '']
  return [*lines, 'Try next:', *(f'  {step}' for step in next_steps(measures, config)), '']


def _read(path):
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def _is_of(key, name):
  """Whether a measure is one of the clip of that name; edit_2_... is none of 'edit'."""
  return key.startswith(f'{name}_') and not key.removeprefix(f'{name}_')[:1].isdigit()


def _edits(measures):
  """The names of the edits that were measured, 'edit', 'edit_2', ..."""
  parts = [key.split('_') for key in measures if key.startswith('edit_')]
  return list(dict.fromkeys('_'.join(part[: 2 if part[1].isdigit() else 1]) for part in parts))


def _reconstruction(measures):
  pair = trusted_psnr(measures)
  if not pair:
    return None, 'Nothing was inverted, so there is no reconstruction to judge.'
  found, floor = pair
  if found < floor - TRUSTED_DB:
    return False, (
      f'The reconstruction cannot be trusted: {found:.1f} dB is more than {TRUSTED_DB:g} dB below '
      f'the {floor:.1f} dB of the VAE alone, so edits may lose what they should keep.'
    )
  return True, (
    f'The reconstruction can be trusted: {found:.1f} dB, at most {TRUSTED_DB:g} dB below the '
    f'{floor:.1f} dB of the VAE alone.'
  )


def _background(own):
  found = next((own[name] for name in BACKGROUND if own.get(name) is not None), None)
  if found is None:
    return None, 'Whether the background is kept was not measured; mask.source says where it is.'
  number = f'{format_number(found, ".1f")} dB against the source'
  if found >= KEPT_DB:
    return True, f'The background is kept: {number}.'
  return False, f'The background has changed: {number}, less than {KEPT_DB:g} dB.'


def _named(own):
  """{attribute: whether it is right}, where the right answer is known."""
  return {
    key.removesuffix('_right'): bool(value)
    for key, value in own.items()
    if key.endswith('_right') and key != 'attributes_right' and value is not None
  }


def _wrong(own):
  return [name for name, right in _named(own).items() if not right]


def _attributes(own):
  wrong, named = _wrong(own), _named(own)
  right = [name for name in named if name not in wrong]
  if not named:
    return None
  parts = [
    f'{_join(names)} {word}' for names, word in ((right, 'right'), (wrong, 'wrong')) if names
  ]
  return not wrong, f'Read from the pixels, against the target prompt: {"; ".join(parts)}.'


def _join(names):
  """'size, colour and shape are'."""
  *first, last = names
  joined = f'{", ".join(first)} and {last}' if first else last
  return f'{joined} {"are" if first else "is"}'


def _alignment(own, source):
  edit = next((v for key, v in own.items() if key.startswith(ALIGNMENT)), None)
  if edit is None or source is None:
    return None
  closer = edit > source
  word = 'nearer to' if closer else 'no nearer to'
  return closer, (
    f'By CLIP the edit is {word} the target prompt than the source: {edit:.1f} against '
    f'{source:.1f}.'
  )
