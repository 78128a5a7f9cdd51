"""The reader, on exact and degraded clips, edits, clips without an object, and astray objects."""

import dataclasses
import itertools

import numpy as np
import pytest

from uniedit_jax.sprites import reader
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, Scene, draw_edits, random_scene

OBJECT = ('size', 'colour', 'shape', 'motion', 'place')


@pytest.fixture(scope='module')
def clips():
  """[(scene, `Rendering`)] of 48 scenes, every other one held out."""
  rng = np.random.default_rng(0)
  scenes = [random_scene(rng, held_out) for _ in range(24) for held_out in (False, True)]
  return [(scene, render(scene)) for scene in scenes]


def quantised(frames):
  return np.clip(np.round(frames), 0, 255).astype(np.uint8)


def blurred(frames, sigma=0.7, noise=8):
  """Frames after a Gaussian blur of `sigma` pixels, with noise of standard deviation `noise`."""
  weights = np.exp(-((np.arange(5) - 2) ** 2) / (2 * sigma**2))
  for axis in (1, 2):
    padding = [(2, 2) if i == axis else (0, 0) for i in range(4)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(frames, padding, 'edge'), 5, axis)
    frames = windows @ (weights / weights.sum())
  return quantised(frames + np.random.default_rng(0).normal(0, noise, frames.shape))


def to_blocks(frames):
  f, h, w, _ = frames.shape
  return frames.reshape(f, h // 4, 4, w // 4, 4, 3).swapaxes(2, 3).reshape(-1, 48)


def compressed(frames, blocks, kept=8):
  """Frames whose 4x4 blocks lie in the first `kept` components of `blocks`, as a VAE's would."""
  mean = blocks.mean(0)
  components = np.linalg.eigh(np.cov(blocks.T))[1][:, -kept:]
  projected = (to_blocks(frames) - mean) @ components @ components.T + mean
  f, h, w, _ = frames.shape
  projected = projected.reshape(f, h // 4, w // 4, 4, 4, 3).swapaxes(2, 3)
  return quantised(projected.reshape(frames.shape))


def share_right(clips, degrade=lambda frames: frames):
  """The share of clips with every attribute read correctly."""
  readings = [(scene, reader.read(degrade(frames))) for scene, (frames, *_) in clips]
  return np.mean([all(reading.matches(scene).values()) for scene, reading in readings])


def moved(scene, x=0.0, y=0.0):
  return dataclasses.replace(scene, shift=(scene.shift[0] + x, scene.shift[1] + y))


def astray(scene, rng, reach):
  """A clip whose object is moved at random in every frame, by at most `reach`."""
  draw = lambda i: render(moved(scene, *rng.uniform(-reach, reach, 2))).frames[i]
  return np.stack([draw(i) for i in range(16)])


def test_exact_clips(clips):
  for scene, (frames, masks, _) in clips:
    reading = reader.read(frames)
    assert reading.values == {name: getattr(scene, name) for name in ATTRIBUTES}, scene
    assert reading.visible and reading.steadiness > 0.9
    assert all(0 < margin <= 1 for margin in reading.margins.values())
    assert (reading.mask & masks).sum() / (reading.mask | masks).sum() > 0.6, scene


def test_blur_and_noise(clips):
  assert share_right(clips[:24], blurred) >= 0.95


def test_compression(clips):
  blocks = np.concatenate([to_blocks(rendering.frames[:4]) for _, rendering in clips])
  assert share_right(clips[:24], lambda frames: compressed(frames, blocks)) >= 0.95


@pytest.mark.parametrize('gain', [0.9, 1.1])
def test_brightness(clips, gain):
  assert share_right(clips[:12], lambda frames: quantised(gain * frames)) >= 0.95


def test_trembling(clips):
  rng = np.random.default_rng(0)
  trembling = [(scene, (astray(scene, rng, 1),)) for scene, _ in clips[:12]]
  assert share_right(trembling) >= 0.9


@pytest.mark.parametrize('x, y', [(3, 0), (-3, 0), (0, 3), (0, -3)])
def test_positions_beyond_the_nominal_range(clips, x, y):
  places = ATTRIBUTES['place']
  for scene, _ in clips[:6]:
    expected = places[np.clip(places.index(scene.place) + y // 3, 0, 2)]
    reading = reader.read(render(moved(scene, x, y)).frames)
    assert all(reading.matches(dataclasses.replace(scene, place=expected)).values()), scene


def test_edits_are_distinguished_from_their_sources():
  for edit in draw_edits(0, 4):
    scenes = edit.target, edit.source
    target, source = (reader.read(render(s).frames).matches(edit.target) for s in scenes)
    assert all(target.values()), edit
    assert [name for name, right in source.items() if not right] == [edit.attribute], edit


@pytest.mark.parametrize(
  'degrade', [lambda frames: frames, lambda frames: blurred(frames, noise=12)]
)
def test_clips_without_an_object(rng, degrade):
  for style, background in itertools.product(ATTRIBUTES['style'], ATTRIBUTES['background']):
    scene = dataclasses.replace(random_scene(rng), style=style, background=background)
    reading = reader.read(degrade(render(scene, frames=4).background))
    assert not reading.visible
    values = {'style': style, 'background': background} | dict.fromkeys(OBJECT)
    assert reading.values == values
    assert not any(reading.matches(scene)[name] for name in OBJECT)
    assert not any(reading.margins[name] for name in OBJECT)


@pytest.mark.parametrize(
  'frames', [np.zeros((4, 32, 32, 3)), np.random.default_rng(0).uniform(0, 256, (4, 32, 32, 3))]
)
def test_clips_that_show_nothing_of_the_world(frames):
  assert not reader.read(frames.astype(np.uint8)).visible


def test_an_object_without_a_path_has_neither_motion_nor_place(clips):
  rng = np.random.default_rng(0)
  for (scene, _), motion in zip(clips[:10], itertools.cycle(('spinning', 'growing')), strict=False):
    scene = dataclasses.replace(scene, motion=motion)
    reading = reader.read(astray(scene, rng, 8))
    assert reading.visible and reading.steadiness < 0.6
    assert (reading.values['motion'], reading.values['place']) == (None, None)
    wrong = [name for name, right in reading.matches(scene).items() if not right]
    assert wrong == ['motion', 'place'], scene


@pytest.mark.parametrize('size, frames', [(64, 16), (32, 8), (32, 4)])
def test_sizes_and_numbers_of_frames(clips, size, frames):
  for scene, _ in clips[:6]:
    drawn = render(scene, size, frames)
    reading = reader.read(drawn.frames)
    assert all(reading.matches(scene).values()), scene
    assert reading.mask.shape == drawn.masks.shape


@pytest.mark.parametrize(
  'frames, shown',
  [
    (render(Scene(), frames=3).frames, 'uint8[3, 32, 32, 3]'),
    (render(Scene(), size=48, frames=4).frames, 'uint8[4, 48, 48, 3]'),
    (render(Scene(), frames=4).frames[:, :, :16], 'uint8[4, 32, 16, 3]'),
    (render(Scene(), frames=4).frames / 255, 'float64[4, 32, 32, 3]'),
  ],
)
def test_faults(frames, shown):
  with pytest.raises(ValueError) as error:
    reader.read(frames)
  assert str(error.value).startswith(f'frames are {shown}; accepted: uint8[F, H, H, 3]')
