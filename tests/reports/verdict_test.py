"""What a run came to, in sentences, and what they advise."""

import json

import pytest

from uniedit_jax.reports import verdict

TRUSTED = {'vae_round_trip_psnr_db': 33.0, 'reconstruction_psnr_db': 30.0}
LOST = TRUSTED | {'free_running_reconstruction_psnr_db': 20.0}
KEPT = {'edit_kept_background_psnr_db': 28.0}


def said(measures):
  return dict((sentence, good) for good, sentence in verdict.verdict(measures))


@pytest.mark.parametrize(
  'measures, good, words',
  [
    (TRUSTED, True, 'can be trusted: 30.0 dB'),
    (LOST, False, 'cannot be trusted: 20.0 dB is more than 10 dB below the 33.0 dB'),
    ({'edit_flicker': 0.1}, None, 'Nothing was inverted'),
    (KEPT, True, 'The background is kept: 28.0 dB'),
    ({'edit_source_background_psnr_db': 20.0}, False, 'The background has changed: 20.0 dB'),
    ({'edit_flicker': 0.1}, None, 'was not measured; mask.source'),
    ({'edit_colour_right': 1, 'edit_motion_right': 0}, False, 'colour is right; motion is wrong.'),
    ({'edit_size_right': 1, 'edit_colour_right': 1}, True, 'size and colour are right.'),
  ],
)
def test_sentences(measures, good, words):
  (found,) = [sentence for sentence in said(measures) if words in sentence]
  assert said(measures)[found] is good


@pytest.mark.parametrize('edit, good', [(31.0, True), (26.0, False)])
def test_clip_compares_the_edit_with_the_source(edit, good):
  name = 'clip_text_alignment_framemean_vitl14'
  found = said({f'edit_{name}': edit, f'source_{name}': 27.0})
  assert good in [value for words, value in found.items() if 'By CLIP' in words]


def test_every_edit_is_judged_by_its_own_measures():
  measures = KEPT | {'edit_2_kept_background_psnr_db': 20.0}
  sentences = list(said(measures))
  assert any(words.startswith('Edit: The background is kept: 28.0') for words in sentences)
  assert any(words.startswith('Edit 2: The background has changed: 20.0') for words in sentences)


def test_advice_follows_from_what_is_wrong():
  advice = lambda measures: ' '.join(verdict.next_steps(measures, {'task': 'motion'}))
  assert 'inversion.method' in advice(LOST) and 'inversion.method' not in advice(TRUSTED)
  assert 'content.blocks' in advice({'edit_kept_background_psnr_db': 20.0})
  assert 'motion_reference.mp4' in advice({'edit_motion_right': 0})
  assert 'shorter structure.steps' in advice({'edit_colour_right': 0})
  assert 'more change' in advice(TRUSTED | {'edit_source_psnr_db': 32.0})
  assert 'more change' not in advice(LOST | {'edit_source_psnr_db': 32.0})
  assert 'docs/guide.md' in advice({})


def test_measures_are_a_line_a_group():
  lines = verdict.lines_of({'edit_flicker': 0.5, 'source_flicker': 0.25, 'edit_source_ssim': 0.75})
  assert lines == ['Is the rest kept? source_ssim 0.75', 'Is it steady? flicker 0.5 (source 0.25)']


def test_the_end_of_a_folder_without_measures_is_told(tmp_path):
  assert any('Try next' in line for line in verdict.read_end(tmp_path))
  (tmp_path / 'metrics.json').write_text(json.dumps(LOST))
  assert any(line.startswith('✗ The reconstruction') for line in verdict.read_end(tmp_path))
