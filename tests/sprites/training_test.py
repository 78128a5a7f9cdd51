"""Training: the update, its losses, its data, and that a killed run resumes with equal losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.train import tasks
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models.attention import relative_buckets
from uniedit_jax.models.clip_text import TextConfig, TextEncoder
from uniedit_jax.models.unet import UNet, UNetConfig
from uniedit_jax.reports.tables import write_csv
from uniedit_jax.runtime import sharding
from uniedit_jax.sprites import data, losses, training, training_curves

TEXT = TextConfig(vocabulary=9, positions=4, width=8, layers=1, heads=1, mlp_width=8, bos=7, eos=8)
UNET = UNetConfig(
  channels=(32,), heads=1, groups=4, layers_per_block=1, latent_channels=2, text_width=8
)
SCHEDULE = NoiseSchedule('scaled_linear', 0.00085, 0.012)
NULL = np.array([7, 8, 8, 8], np.int32)
WEIGHT = 0.01


def no_map(noisy, taps):
  """Taps of a UNet with uniform attention."""
  return {name: jnp.ones((1, noisy.shape[0], noisy.shape[1] * noisy.shape[2], 4)) for name in taps}


@pytest.fixture(scope='module')
def bank():
  rng = np.random.default_rng(0)
  return data.Bank(
    latents=rng.standard_normal((6, 3, 4, 4, 2)).astype(np.float16),
    tokens=rng.integers(0, 7, (6, 4)).astype(np.int32),
    words=np.tile([False, True, True, False], (6, 1)),
    coverage=rng.random((6, 3, 4, 4)).astype(np.float16),
  )


@pytest.fixture(scope='module')
def model(bank):
  """(loss, initial parameters) of a model that compiles fast."""
  unet, tower = UNet(UNET), TextEncoder(TEXT)
  params = tasks.initial(unet, tower, 0, bank.latents[0, :1], bank.tokens[0])
  return losses.denoising_loss(unet, tower, SCHEDULE, (0,), WEIGHT), params


def batch(bank, step, images=4, clips=4):
  return data.text_batch(bank, NULL, 0, step, images, clips, 0.25)


def copied(tree):
  """A copy, as updates donate their state."""
  return jax.tree.map(jnp.array, tree)


def leaves(tree, *names):
  """(the leaves whose path contains one of the names, the others)."""
  flat = jax.tree_util.tree_leaves_with_path(tree)
  chosen = lambda path: any(name in jax.tree_util.keystr(path) for name in names)
  return [x for path, x in flat if chosen(path)], [x for path, x in flat if not chosen(path)]


def samples(latents, others, tokens=None):
  """`losses.Samples` without words."""
  tokens = np.zeros((len(latents), 4), np.int32) if tokens is None else tokens
  words, coverage = np.zeros(tokens.shape, bool), np.ones(latents.shape[:4], np.float32)
  return losses.Samples(latents, others, tokens, words, coverage)


def test_the_untrained_unet_predicts_no_noise(bank, model):
  loss, params = model
  value, parts = jax.jit(loss)(params, batch(bank, 0), jax.random.key(0))
  # Noise of unit variance has weights between 1 and sqrt(8).
  assert 1 < parts['images'] < 15 and 1 < parts['clips'] < 15
  total = lambda name: parts[name] + WEIGHT * parts[f'{name}_localization']
  np.testing.assert_allclose(value, (total('images') + total('clips')) / 2, rtol=1e-6)


def test_temporal_attention_starts_by_looking_back_and_ahead_in_turn():
  unet = UNet(dataclasses.replace(UNET, channels=(32, 32)))
  latents = np.zeros((1, 4, 4, 2), np.float32)
  params = tasks.initial(unet, TextEncoder(TEXT), 0, latents, NULL)['unet']
  tables, _ = leaves(params, 'relative_attention_bias')
  assert len(tables) == unet.config.blocks == 4
  buckets = relative_buckets(16, unet.config.relative_buckets, unet.config.relative_max_distance)
  for block, table in enumerate(tables):
    bias = np.asarray(table)[buckets, 0]
    seen = np.tril(np.ones((16, 16), bool)) if block % 2 == 0 else np.triu(np.ones((16, 16), bool))
    assert (bias[seen] == 0).all() and (bias[~seen] < -2).all()


def test_single_frames_bypass_temporal_attention_and_clips_do_not(bank, model):
  loss, params = model
  # The zeros of the start would hide gradients.
  noisy = jax.tree.map(lambda x: x + 0.1, params)
  gradient = jax.jit(jax.grad(loss, has_aux=True))
  for images, clips in ((4, 0), (0, 4)):
    tree, _ = gradient(noisy, batch(bank, 0, images, clips), jax.random.key(0))
    temporal, spatial = leaves(tree['unet'], 'attn_temp', 'norm_temp')
    assert any(np.abs(x).max() > 0 for x in temporal) == bool(clips)
    assert all(np.abs(x).max() > 0 for x in spatial if x.ndim > 1)


def test_weights_of_the_loss():
  """A UNet that predicts zero, of latents that are zero, has the loss E[weight target^2]."""
  alphas = SCHEDULE.alphas_cumprod
  weights, timesteps = np.sqrt(np.maximum((1 - alphas) / alphas, 1)), np.arange(len(alphas))
  # The target of noise alone is noise / sqrt(1 - alpha).
  starts = np.mean((weights * (1 + 1 / (1 - alphas)) / 2)[timesteps >= 900])
  others = np.average(weights, weights=timesteps + 0.5)
  expected = losses.STARTS * starts + (1 - losses.STARTS) * others

  class Zero:
    def apply(self, params, latents, timestep, text, routes, masks, taps, temporal):
      return jnp.zeros_like(latents), no_map(latents, taps)

  class Text:
    def apply(self, params, tokens):
      return jnp.zeros((*tokens.shape, 8))

  loss = losses.denoising_loss(Zero(), Text(), SCHEDULE, (0,), 0.0)
  latents = np.zeros((512, 1, 4, 4, 2), np.float32)
  batch = {'images': samples(latents, latents)}
  value, _ = loss({'unet': {}, 'text': {}}, batch, jax.random.key(0))
  np.testing.assert_allclose(value, expected, rtol=0.02)


def test_the_loss_asks_for_what_leads_to_the_clip():
  """A UNet that knows the clip has no loss, though some inputs are noise or another clip's."""
  alphas, seen = jnp.asarray(SCHEDULE.alphas_cumprod), []
  clip = np.random.default_rng(0).standard_normal((1, 32, 32, 16)).astype(np.float32)
  # The prompt is the sign of the clip; the other clip is its negative.
  signs = np.tile([1, -1], 200)

  class Knowing:
    def apply(self, params, noisy, timestep, text, routes, masks, taps, temporal):
      alpha, latents = alphas[timestep], text[0, 0] * clip
      signal = jnp.vdot(noisy, latents) / jnp.vdot(clip, clip)
      jax.debug.callback(lambda *x: seen.append(x), timestep, signal)
      return (noisy - jnp.sqrt(alpha) * latents) / jnp.sqrt(1 - alpha), no_map(noisy, taps)

  class Text:
    def apply(self, params, tokens):
      return jnp.broadcast_to(tokens[..., None], (*tokens.shape, 8)).astype(jnp.float32)

  clips = signs[:, None, None, None, None] * clip
  batch = {'clips': samples(clips, -clips, np.tile(signs[:, None], 4))}
  loss = losses.denoising_loss(Knowing(), Text(), SCHEDULE, (0,), 0.0)
  value, _ = loss({'unet': {}, 'text': {}}, batch, jax.random.key(0))
  assert value < 1e-9
  jax.effects_barrier()
  timesteps, signal = np.array(seen).T
  timesteps = timesteps.astype(int)
  signal = signal / np.sqrt(SCHEDULE.alphas_cumprod[timesteps])
  late = timesteps >= 900
  assert (signal[~late] > 0.5).all()
  shares = [np.sum(late & (np.abs(signal - level) < 0.5)) / len(signs) for level in (-1, 0)]
  np.testing.assert_allclose(shares, losses.STARTS / 2, atol=0.01)


def test_localization_is_the_divergence_from_the_object_to_where_its_words_are_attended():
  coverage = np.zeros((2, 2, 2), np.float32)
  coverage[0, 0, 0] = coverage[1, 1, 1] = 1
  points = coverage.reshape(2, 4, 1)
  # Three words: everywhere, on the object, and off it; f[F, N, T].
  maps = np.concatenate([np.ones_like(points), 0.3 * points + 1e-9, 1 - points + 1e-9], axis=-1)
  only = lambda *chosen: np.isin(np.arange(3), chosen)
  value = lambda *chosen: float(losses.localization(maps, only(*chosen), coverage))
  # Attention to all 8 places, of which the object has two.
  np.testing.assert_allclose(value(0), np.log(4), rtol=1e-6)
  np.testing.assert_allclose(value(1), 0, atol=1e-6)
  assert value(2) > 10
  np.testing.assert_allclose(value(0, 1), np.log(4) / 2, rtol=1e-6)
  assert value() == 0


def test_cover_is_the_share_of_every_cell():
  masks = np.zeros((1, 4, 6), bool)
  masks[0, :2, :3] = masks[0, 0, 3] = True
  np.testing.assert_allclose(data.cover(masks, 2, 2), [[[1, 1 / 6], [0, 0]]], atol=1e-3)


def test_a_resumed_run_has_the_same_losses(bank, model, tmp_path):
  loss, params = model
  rate = training.learning_rate([(4, 1e-2, 1e-3), (4, 1e-3, 0.0)], warmup=2)
  optimizer, key = training.make_optimizer(rate), jax.random.key(1)

  def advance(state, steps):
    values = []
    for step in range(int(state.step), int(state.step) + steps):
      state, measures = training.update(loss, optimizer, state, batch(bank, step), key, 0.9)
      values.append(float(measures['loss']))
    return state, values

  whole, values = advance(training.start(copied(params), optimizer), 6)
  state, before = advance(training.start(copied(params), optimizer), 3)
  with training.state_store(tmp_path / 'states') as store:
    training.save(store, state)
  with training.state_store(tmp_path / 'states') as store:
    state = training.restore(store, training.start(copied(params), optimizer))
  assert int(state.step) == 3
  state, after = advance(state, 3)
  assert before + after == values
  jax.tree.map(np.testing.assert_array_equal, state, whole)
  assert len(set(values)) == 6


def test_a_store_without_states_leaves_the_start(model, tmp_path):
  optimizer = training.make_optimizer(1e-3)
  state = training.start(copied(model[1]), optimizer)
  with training.state_store(tmp_path / 'states') as store:
    assert training.restore(store, state) is state


def toy(step, value=1.0):
  """A state of one number."""
  optimizer = optax.sgd(1.0)
  return training.start({'x': jnp.full(1, value)}, optimizer)._replace(step=jnp.int32(step))


def test_what_is_not_finite_is_not_saved(tmp_path):
  with training.state_store(tmp_path / 'states') as store:
    training.save(store, toy(20))
    with pytest.raises(
      FloatingPointError, match=r'state of step 40 .* is that of step 20; accepted'
    ):
      training.save(store, toy(40, np.nan))
    with pytest.raises(FloatingPointError, match='the loss of step 60 is NaN'):
      training.check_finite(store, 60, loss=jnp.float32(np.inf))
    training.check_finite(store, 60, loss=jnp.float32(1))
    assert store.all_steps() == [20]


def test_a_damaged_state_gives_way_to_the_one_before(tmp_path, caplog):
  folder = tmp_path / 'states'
  with training.state_store(folder) as store:
    for step in (20, 40):
      training.save(store, toy(step, float(step)))
  sizes = {path: path.stat().st_size for path in (folder / '40').rglob('*') if path.is_file()}
  for path in sizes:
    if '/d/' in str(path):
      path.write_bytes(path.read_bytes()[:3])
  (folder / '60.orbax-checkpoint-tmp').mkdir()  # of a killed process
  with training.state_store(folder) as store:
    state = training.restore(store, toy(0))
    assert int(state.step) == 20 and float(state.params['x'][0]) == 20
    assert 'step 40' in caplog.text and 'going on from step 20' in caplog.text
    training.save(store, toy(40))
    assert int(training.restore(store, toy(0)).step) == 40
    assert store.all_steps() == [20, 40] and not (folder / '60.orbax-checkpoint-tmp').exists()


def test_states_of_another_model_are_refused_and_kept(tmp_path):
  with training.state_store(tmp_path / 'states') as store:
    training.save(store, toy(20))
    other = training.start({'y': jnp.ones((2, 2))}, optax.adam(1.0))
    with pytest.raises(ValueError, match=r'no state in .*states can be read \(step 20'):
      training.restore(store, other)
    assert store.all_steps() == [20]


def test_sharded_equals_unsharded(bank, model):
  loss, params = model
  optimizer = training.make_optimizer(1e-3)
  results = []
  for devices in (jax.devices()[:1], jax.devices()[:4]):
    mesh = sharding.data_mesh(devices)
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    state = jax.device_put(training.start(copied(params), optimizer), everywhere)
    shards = data.shard(batch(bank, 0), mesh)
    state, measures = training.update(loss, optimizer, state, shards, jax.random.key(1), 0.9)
    results.append((float(measures['loss']), jax.tree.map(np.asarray, state.params)))
  (one, params_one), (many, params_many) = results
  np.testing.assert_allclose(one, many, rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), params_one, params_many)


def test_the_average_follows_the_parameters():
  optimizer = optax.sgd(1.0)
  loss = lambda params, batch, key: (jnp.sum(params['x']), {})
  state = training.start({'x': jnp.zeros(1)}, optimizer)
  expected = value = 0.0
  for step in range(30):
    state, _ = training.update(loss, optimizer, state, {}, jax.random.key(0), 0.6)
    value -= 1
    expected += (1 - min(0.6, (step + 1) / (step + 10))) * (value - expected)
  np.testing.assert_allclose(state.ema['x'], expected, rtol=1e-6)


def test_learning_rate_warms_up_and_falls_within_each_stage():
  rate = training.learning_rate([(10, 1.0, 0.5), (10, 0.2, 0.0)], warmup=2)
  rates = [rate(step) for step in (0, 1, 5, 10, 15, 20)]
  np.testing.assert_allclose(rates, [0.5, 0.95, 0.75, 0.2, 0.1, 0], atol=1e-6)


def test_batches_depend_on_seed_and_step_alone(bank):
  one, again, other = batch(bank, 3), batch(bank, 3), batch(bank, 4)
  jax.tree.map(np.testing.assert_array_equal, one, again)
  assert not np.array_equal(one['clips'][0], other['clips'][0])
  assert one['images'][0].shape == (4, 1, 4, 4, 2) and one['clips'][0].shape == (4, 3, 4, 4, 2)
  assert list(batch(bank, 0, clips=0)) == ['images']


def test_prompts_stay_with_their_clips_and_a_part_is_dropped(bank):
  drawn = data.text_batch(bank, NULL, 0, 0, 0, 200, 0.25)['clips']
  np.testing.assert_array_equal(drawn.others[1:], drawn.latents[:-1])
  dropped, latents = 0, bank.latents.astype(np.float32)
  for clip, _, prompt, words, coverage in zip(*drawn, strict=True):
    (i,) = np.flatnonzero((latents == clip).all((1, 2, 3, 4)))
    np.testing.assert_array_equal(coverage, bank.coverage[i].astype(np.float32))
    if np.array_equal(prompt, NULL):
      dropped += 1
      assert not words.any()
    else:
      np.testing.assert_array_equal(prompt, bank.tokens[i])
      np.testing.assert_array_equal(words, bank.words[i])
  assert 30 < dropped < 70


def test_curves_are_cut_where_a_run_goes_on(tmp_path):
  rows = [{'step': step, 'loss': loss} for step, loss in ((20, 1.5), (40, 1.25), (60, 1.0))]
  rows[1]['psnr'] = 20.0
  write_csv(tmp_path / 'losses.csv', rows)
  assert training_curves.read(tmp_path / 'losses.csv', until=40) == rows[:2]
  assert training_curves.read(tmp_path / 'none.csv', until=40) == []
  training_curves.plot(tmp_path / 'losses.png', rows)
  assert (tmp_path / 'losses.png').read_bytes().startswith(b'\x89PNG')


def test_clips_are_drawn_from_trained_or_from_held_out_combinations():
  frames, masks, scenes = data.draw_clips(5, 4, 32)
  assert masks.shape == (4, 16, 32, 32) and masks.dtype == bool
  assert frames.shape == (4, 16, 32, 32, 3) and frames.dtype == np.uint8
  assert not any(scene.held_out for scene in scenes)
  assert all(scene.held_out for scene in data.draw_clips(5, 4, 32, held_out=True)[2])
  assert data.draw_clips(5, 4, 32)[2] == scenes and data.draw_clips(6, 4, 32)[2] != scenes


def test_stages_follow_each_other():
  stages = [{'steps': 2, 'name': 'a'}, {'steps': 3, 'name': 'b'}]
  assert [tasks.stage_at(stages, step)['name'] for step in range(5)] == ['a', 'a', 'b', 'b', 'b']
