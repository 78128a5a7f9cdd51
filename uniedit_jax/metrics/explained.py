"""What every measure says: its group, which direction is better, and its definition.

docs/metrics.md has the same definitions, and says when each number misleads; a test compares them.
"""

import re
from typing import NamedTuple

SHOWS, KEEPS, STEADY, TRUST, OTHER = (
  'Does it show the target?',
  'Is the rest kept?',
  'Is it steady?',
  'Can the inversion be trusted?',
  'Other measures',
)
GROUPS = SHOWS, KEEPS, STEADY, TRUST, OTHER
MORE, LESS, NEITHER = 1, -1, 0  # which value is the better one
ARROWS = {MORE: '↑', LESS: '↓', NEITHER: ''}


class Explained(NamedTuple):
  """A measure: one of `GROUPS`, `MORE`, `LESS` or `NEITHER` as the better value, a sentence."""

  group: str
  better: int
  definition: str


_RECONSTRUCTION = (
  'the source against its VAE round trip, against the reconstruction, and, with direct inversion, '
  'against the freely sampled reconstruction (inversion.md)'
)
# By the beginnings of their names: the name of the CLIP model ends that of a CLIP score.
EXPLAINED = {
  'attributes_right': Explained(
    SHOWS,
    MORE,
    'share of the attributes named in the target prompt that the reader finds in the edit',
  ),
  'clip_text_alignment_framemean': Explained(
    SHOWS,
    MORE,
    "mean over frames of s·cos(frame, target prompt), s = 100, the model's logit scale "
    '(LOVEU-TGVE, V2VBench; EditBoard reports cos alone)',
  ),
  'clip_frame_accuracy': Explained(
    SHOWS,
    MORE,
    'share of frames that are nearer to the target prompt than to the source prompt '
    "(FateZero's Fram-Acc, there with ViT-B/32)",
  ),
  'clip_directional_similarity_framemean': Explained(
    SHOWS,
    MORE,
    'mean over frames of cos(edit - source, target prompt - source prompt) (Gal et al. 2021)',
  ),
  'kept_background_psnr_db': Explained(
    KEEPS, MORE, 'PSNR against the source, outside of what looks like the object in either clip'
  ),
  'source_background_psnr_db': Explained(
    KEEPS, MORE, 'PSNR over the pixels outside the mask mask.source, as in PIE-Bench'
  ),
  'source_background_ssim': Explained(
    KEEPS,
    MORE,
    'SSIM over windows that lie entirely outside the mask, so that no foreground pixel enters',
  ),
  'source_psnr_db': Explained(
    KEEPS, MORE, '-10 log10 of the mean squared error against the source, over the whole clip'
  ),
  'source_ssim': Explained(
    KEEPS,
    MORE,
    'structural similarity (Wang et al. 2004): Gaussian window of 11 x 11, sigma 1.5, K = 0.01 and '
    '0.03, on RGB, where the window fits',
  ),
  'clip_source_similarity_framemean': Explained(
    KEEPS, MORE, 'mean over frames of cos(frame of the edit, frame of the source)'
  ),
  'source_warp_error': Explained(
    KEEPS,
    LESS,
    'warp_error along the flow of the source: whether the edit moves as the source does (as in '
    'RAVE and TokenFlow)',
  ),
  'source_motion_direction': Explained(
    KEEPS,
    NEITHER,
    'sum of u·v / sum of |u| |v| over the flows u of the edit and v of the source at every pixel: '
    '1 the same direction, -1 opposite',
  ),
  'flicker': Explained(
    STEADY,
    LESS,
    'mean of |x[t] - (x[t-1] + x[t+1]) / 2|; 0 for pixels that change linearly in time',
  ),
  'warp_error': Explained(
    STEADY,
    LESS,
    "mean of |x[t] - warp(x[t+1])| along the clip's own flow, over trusted pixels (Lai et al. "
    '2018, who square it)',
  ),
  'warp_share': Explained(STEADY, MORE, 'share of trusted pixels'),
  'clip_frame_consistency_allpairs': Explained(
    STEADY,
    MORE,
    'mean cos of all pairs of different frames (LOVEU-TGVE, Tune-A-Video; there with ViT-L/14)',
  ),
  'clip_frame_consistency_consecutive': Explained(
    STEADY, MORE, "mean cos of consecutive frames (FateZero's Tem-Con, with ViT-B/32)"
  ),
  'frame_difference': Explained(
    STEADY, NEITHER, "mean of |x[t+1] - x[t]|; VBench's temporal flickering is 1 minus this"
  ),
  'motion_magnitude': Explained(
    STEADY,
    NEITHER,
    "mean length of the flow between frames, in percent of the frame's diagonal",
  ),
  'vae_round_trip_psnr_db': Explained(TRUST, MORE, _RECONSTRUCTION),
  'reconstruction_psnr_db': Explained(TRUST, MORE, _RECONSTRUCTION),
  'free_running_reconstruction_psnr_db': Explained(TRUST, MORE, _RECONSTRUCTION),
  'reconstruction_is_stored_trajectory': Explained(
    TRUST, NEITHER, 'whether the reconstruction is exact by construction'
  ),
}
_RIGHT = 'whether the reader finds this attribute in the edit as the target prompt has it'
_UNKNOWN = Explained(OTHER, NEITHER, '')


def explain(measure):
  """The `Explained` of a measure without the name of its clip; one of `OTHER` if it is unknown."""
  known = [name for name in EXPLAINED if measure.startswith(name)]
  if not known and re.fullmatch(r'[a-z]+_right', measure):
    return Explained(SHOWS, MORE, _RIGHT)
  return EXPLAINED[max(known, key=len)] if known else _UNKNOWN


def explain_name(name):
  """The `Explained` of a name in metrics.json, which begins with that of its clip."""
  return explain(split_name(name)[1])


def split_name(name):
  """Splits a name in metrics.json into (name of the clip or '', measure)."""
  found = re.fullmatch(r'((?:edit|plain|source)(?:_\d+)?)_(.+)', name)
  return found.groups() if found else ('', name)


def by_group(measures):
  """Sorts the measures of metrics.json.

  Returns:
    {group: {measure: {name of the clip, '' where there is none: value}}}, groups and measures in
    the order of this file, unknown ones last.
  """
  order, found = list(EXPLAINED), {}
  for name, value in measures.items():
    clip, measure = split_name(name)
    found.setdefault(measure, {})[clip] = value
  place = lambda name: next((i for i, known in enumerate(order) if name.startswith(known)), 0)
  groups = {group: {} for group in GROUPS}
  for measure in sorted(found, key=place):
    groups[explain(measure).group][measure] = found[measure]
  return {group: rows for group, rows in groups.items() if rows}
