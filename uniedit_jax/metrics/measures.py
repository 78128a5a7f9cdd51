"""The measures of an edit in metrics.json, and when they advise against trusting it."""

from uniedit_jax.metrics import motion, pixel

# A reconstruction may be this far below the VAE's round trip; docs/inversion.md explains why.
TRUSTED_DB = 10.0
# The clip of each kind of branch, in the order in which they are shown after the source.
CLIP_NAMES = {
  'reconstruction': 'reconstruction',
  'motion': 'motion_reference',
  'main': 'edit',
  'plain': 'plain',
}


def name_of(branch):
  """The name of a branch's clip; further edits of a source are numbered from 2."""
  return CLIP_NAMES[branch.kind] + (f'_{branch.setting + 1}' if branch.setting else '')


def edits_of(clips):
  """The names of the clips that are edits."""
  return [name for name in clips if name.startswith('edit')]


def plain_of(edit):
  """The name of the clip that is made as an edit is, but with nothing injected."""
  return edit.replace('edit', 'plain', 1)


def measured_of(clips):
  """The names of the clips that are measured as edits: those, and the plain ones."""
  edits = edits_of(clips)
  return edits + [plain_of(edit) for edit in edits if plain_of(edit) in clips]


def measure_clips(clips, floor=None, free=None, stored=False, mask=None):
  """Computes the pixel and motion measures of metrics.json.

  Args:
    clips: dict of uint8[F, H, W, 3]: 'edit...', one or more, and optionally 'plain...' of each,
      'source' and 'reconstruction'.
    floor: uint8[F, H, W, 3], the VAE's round trip of the source, or None for a generated source.
    free: uint8[F, H, W, 3], the freely sampled reconstruction (direct inversion), or None.
    stored: whether the reconstruction is the stored trajectory, exact by construction.
    mask: bool[F, H, W], the source's foreground, or None.

  Returns:
    dict of numbers, explained in docs/metrics.md; None where a clip is missing or nothing can be
    measured.
  """
  source, reconstruction = clips.get('source'), clips.get('reconstruction')
  psnr = lambda a, b, **kw: None if a is None or b is None else pixel.psnr(a, b, **kw)
  edits, measures = measured_of(clips), {}
  shown = [*edits, *(['source'] if source is not None else [])]
  moves = {name: motion.motion_of(clips[name]) for name in shown if len(clips[name]) > 1}
  # Steadiness and motion of every clip.
  for name in shown:
    measures[f'{name}_frame_difference'] = pixel.frame_difference(clips[name])
    measures[f'{name}_flicker'] = pixel.flicker(clips[name])
  for name, moved in moves.items():
    measures[f'{name}_warp_error'] = motion.warp_error(moved)
    measures[f'{name}_warp_share'] = float(moved.trusted.mean())
    measures[f'{name}_motion_magnitude'] = motion.magnitude(moved)
  # Edits against the source.
  for name in edits if source is not None else ():
    measures[f'{name}_source_psnr_db'] = psnr(source, clips[name])
    measures[f'{name}_source_ssim'] = pixel.ssim(source, clips[name])
    if mask is not None and not mask.all():
      measures[f'{name}_source_background_psnr_db'] = psnr(source, clips[name], mask=~mask)
      measures[f'{name}_source_background_ssim'] = pixel.ssim(source, clips[name], mask=~mask)
    if moves:
      measures[f'{name}_source_warp_error'] = motion.warp_error(moves[name], along=moves['source'])
      measures[f'{name}_source_motion_direction'] = motion.direction(moves[name], moves['source'])
  # The reconstruction against the source, with the VAE as the upper limit.
  if floor is not None:
    measures['vae_round_trip_psnr_db'] = psnr(source, floor)
    measures['reconstruction_psnr_db'] = psnr(source, reconstruction)
    if stored:
      measures['reconstruction_is_stored_trajectory'] = 1
      measures['free_running_reconstruction_psnr_db'] = psnr(source, free)
  return {name: None if value is None else round(value, 6) for name, value in measures.items()}


def trusted_psnr(measures):
  """(PSNR of the freely sampled reconstruction, that of the VAE alone), or None: not measured."""
  floor = measures.get('vae_round_trip_psnr_db')
  names = ('free_running_reconstruction_psnr_db', 'reconstruction_psnr_db')
  found = next(filter(None, map(measures.get, names)), None)
  return None if found is None or floor is None else (found, floor)


def distrust(measures, method):
  """Warns, by `measure_clips`, of an edit whose inversion lost the source, and says what to change.

  None if the edit can be trusted or there is no reconstruction.
  """
  pair = trusted_psnr(measures)
  if pair is None or pair[0] >= pair[1] - TRUSTED_DB:
    return None
  found, floor = pair
  knob = 'inversion.method=fixed_point or obelm, or a lower guidance where there is a source_prompt'
  if method not in ('ddim', 'direct'):
    knob = 'more steps, or inversion.prompt and inversion.guidance as the reconstruction has them'
  return (
    f'the reconstruction by {method} inversion has {found:.1f} dB and the VAE alone {floor:.1f} '
    f'dB: edits may lose what they should keep; try {knob}'
  )
