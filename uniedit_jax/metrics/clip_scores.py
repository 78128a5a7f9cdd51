"""Measures on CLIP's features: unit vectors f32[F, D] of frames and f32[D] of prompts.

Names say how frames are averaged and which model saw them: clip_frame_consistency_allpairs_vitl14.
docs/metrics.md lists the sources.
"""

import re

import numpy as np

from uniedit_jax.metrics import clip_model

STILL = 1e-6  # shorter differences have no direction


def measure_clip_metrics(model, clips, source_prompt, targets):
  """All measures that the inputs allow.

  Args:
    model: `clip_model.ClipModel`.
    clips: dict of u8[F, H, W, 3]: edits by name, and 'source' where there is one.
    source_prompt: describes the source; '' if unknown.
    targets: {name of an edit: its target prompt}.

  Returns:
    dict of floats by name; those of the source and the prompt of 'edit_2' begin with 'source_2'.
  """
  prompts = list(dict.fromkeys([*targets.values(), *filter(None, [source_prompt])]))
  texts = dict(zip(prompts, clip_model.text_features(model, prompts), strict=True))
  names = [name for name in ('source', *targets) if name in clips]
  frames = {name: clip_model.image_features(model, clips[name]) for name in names}
  source, said = frames.get('source'), texts.get(source_prompt)
  scale, measures = float(np.exp(model.params['logit_scale'])), {}
  for name, found in frames.items():
    measures |= {f'{name}_{kind}': value for kind, value in frame_consistency(found).items()}
  for name, prompt in targets.items():
    # The source against the same prompt is the score of an edit that changes nothing.
    references = [] if source is None else [(re.sub('^(edit|plain)', 'source', name), source)]
    for row, found in [(name, frames[name]), *references]:
      alignment = scale * np.mean(found @ texts[prompt])
      measures[f'{row}_clip_text_alignment_framemean'] = float(alignment)
      if said is not None and source_prompt != prompt:
        measures[f'{row}_clip_frame_accuracy'] = frame_accuracy(found, texts[prompt], said)
    if source is not None:
      similarity = np.mean(np.sum(frames[name] * source, axis=-1))
      measures[f'{name}_clip_source_similarity_framemean'] = float(similarity)
      if said is not None and source_prompt != prompt:
        change = directional_similarity(source, frames[name], said, texts[prompt])
        measures[f'{name}_clip_directional_similarity_framemean'] = change
  return {f'{name}_{model.config.name}': round(value, 6) for name, value in measures.items()}


def frame_consistency(frames):
  """Mean cosine of all pairs of frames and of consecutive frames; {} for a single frame."""
  if len(frames) < 2:
    return {}
  cosines = frames @ frames.T
  pairs = cosines[~np.eye(len(frames), dtype=bool)]
  return {
    'clip_frame_consistency_allpairs': float(pairs.mean()),
    'clip_frame_consistency_consecutive': float(np.diagonal(cosines, offset=1).mean()),
  }


def frame_accuracy(frames, target, source):
  """Share of the frames f32[F, D] nearer to the prompt `target` than to `source`, f32[D] each."""
  return float(np.mean(frames @ target > frames @ source))


def directional_similarity(source, edit, source_prompt, target_prompt):
  """Mean cosine of a frame's change and the prompt's change (Gal et al. 2021, StyleGAN-NADA).

  Clips are f32[F, D], prompts f32[D]; the result is in [-1, 1]; an unchanged frame counts as 0.
  """
  changes, change = edit - source, target_prompt - source_prompt
  lengths = np.linalg.norm(changes, axis=-1) * np.linalg.norm(change)
  return float(np.mean(np.where(lengths > STILL, changes @ change / np.maximum(lengths, STILL), 0)))
