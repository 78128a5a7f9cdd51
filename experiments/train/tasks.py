"""The training tasks of `experiments.train`: loss, batches, validation and export of a config."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.requests.train import LOOKS
from uniedit_jax.media import grids, video
from uniedit_jax.method.sampling import Network, Sampler
from uniedit_jax.models import vae as vae_lib
from uniedit_jax.models.config import network
from uniedit_jax.models.tokenizers import WordTokenizer, word_positions
from uniedit_jax.pipeline.found_masks import default_blocks
from uniedit_jax.pipeline.model import module
from uniedit_jax.runtime import checkpoint
from uniedit_jax.sprites import data, losses, reader, sampling
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.scenes import vocabulary

ONE_WAY_BIAS = -4.0  # initial bias of temporal attention against the frames on one side
SAMPLING = Sampler(CONFIG.schedule, steps=20, guidance=3.0)


class TrainingTask(NamedTuple):
  """Everything that training a part of the model needs.

  Attributes:
    params: the parameters to start from.
    loss: for `training.update`.
    batch: step -> batch of numpy arrays.
    validate: averaged params -> (measures {name: float}, picture u8[H, W, 3]).
    export: (averaged params, step, folder) writes the checkpoint.
  """

  params: Any
  loss: Callable
  batch: Callable
  validate: Callable
  export: Callable


def make_task(request, progress):
  """The task of a request.

  Args:
    request: `TrainingRequest`.
    progress: label -> wrapper of an iterable.

  Returns:
    `TrainingTask`.
  """
  return {'vae': _vae_task, 'model': _model_task}[request.part](request, progress)


def _draw(request, progress):
  """Clips, masks and scenes for training and for validation."""
  size = CONFIG.height
  train = data.draw_clips(request.seed, request.clips, size, progress=progress('render'))
  # No run trains with this seed.
  return train, data.draw_clips(2**32 + request.seed, request.validation, size)


def _vae_task(request, progress):
  # Data: all training frames, every fourth frame of validation.
  (clips, *_), (validation, *_) = _draw(request, progress)
  frames = clips.reshape(-1, *clips.shape[2:])
  held_back = validation[:, ::4].reshape(-1, *clips.shape[2:])

  # Model.
  vae_config = dataclasses.replace(CONFIG.vae, scale=1.0)
  vae = vae_lib.VAE(vae_config, dtype=jnp.dtype(request.dtype))
  if request.init:
    params = checkpoint.load(request.init, parts=('vae',), cache=request.cache).params['vae']
  else:
    frame = jnp.zeros((1, *frames.shape[1:]))
    params = jax.jit(vae.init)(jax.random.key(request.seed), frame)['params']
  reconstruct = jax.jit(lambda params, frames: vae.apply({'params': params}, frames))

  def batch(step):
    size = stage_at(request.stages, step)['images']
    return data.frame_batch(frames, request.seed, step, size)

  def validate(params):
    target = video.to_model(held_back)
    decoded = np.clip(reconstruct(params, target), -1, 1)
    psnr = 10 * np.log10(4 / np.mean((decoded - target) ** 2))
    pairs = np.concatenate([held_back[:LOOKS], video.from_model(decoded[:LOOKS])])
    return {'validation_psnr': float(psnr)}, grids.contact_sheet(_enlarge(pairs), LOOKS)

  def export(params, step, folder):
    encode = functools.partial(vae_lib.encode_frames, vae, params)
    # The scale gives latents a standard deviation of 1.
    deviation = np.std([encode(video.to_model(clip)) for clip in validation])
    scaled = dataclasses.replace(CONFIG.vae, scale=float(1 / deviation))
    _save(folder, dataclasses.replace(CONFIG, vae=scaled), {}, {'vae': params}, step)

  return TrainingTask(params, losses.vae_loss(vae, request.kl_weight), batch, validate, export)


def _model_task(request, progress):
  # Data: the latents of the trained VAE.
  source = checkpoint.load(request.vae, parts=('vae',), cache=request.cache)
  model_config = dataclasses.replace(CONFIG, vae=source.config.vae)
  tokenizer = WordTokenizer(vocabulary(), CONFIG.text)
  train, validation = _draw(request, progress)
  vae = module(model_config, 'vae', 'float32')
  encode = functools.partial(data.encode_clips, vae, source.params['vae'])
  bank = _bank(encode, tokenizer, *train, progress('encode'))
  validation_scenes, validation = validation[-1], _bank(encode, tokenizer, *validation)
  null = tokenizer.encode([''])[0]

  # Model and loss.
  unet, tower = (network(model_config, part, jnp.dtype(request.dtype)) for part in ('unet', 'text'))
  if request.init:
    parts = 'unet', 'text'
    params = checkpoint.load(request.init, parts=parts, cache=request.cache).params
  else:
    params = initial(unet, tower, request.seed, bank.latents[0, :1], bank.tokens[0])
  blocks = default_blocks(unet.config.grids(*bank.latents.shape[2:4]))
  loss = losses.denoising_loss(unet, tower, model_config.schedule, blocks, request.localization)

  def batch(step):
    stage = stage_at(request.stages, step)
    images, clips, dropout = stage['images'], stage['clips'], request.prompt_dropout
    return data.text_batch(bank, null, request.seed, step, images, clips, dropout)

  # Validation: the loss of fixed batches, and what the reader sees in sampled clips.
  count = len(validation_scenes)
  fixed = data.text_batch(validation, null, 0, 0, count, count // 4, 0.0)
  encode_text = jax.jit(lambda params, tokens: tower.apply({'params': params}, tokens))
  decode = functools.partial(vae_lib.decode_frames, vae, source.params['vae'])
  validation_loss = jax.jit(lambda params: loss(params, fixed, jax.random.key(0))[1])

  def validate(params):
    parts = validation_loss(params)
    measures = {f'validation_{name}': float(value) for name, value in parts.items()}
    text = encode_text(params['text'], np.concatenate([null[None], validation.tokens[:LOOKS]]))
    noise = jax.random.normal(jax.random.key(0), validation.latents[:LOOKS].shape)
    latents = sampling.sample_prompts(
      Network(unet.apply, params['unet']), noise, text[1:], text[0], SAMPLING
    )
    clips = np.stack([video.from_model(decode(clip)) for clip in latents])
    pairs = zip(clips, validation_scenes[:LOOKS], strict=True)
    right = [reader.read(clip).matches(scene) for clip, scene in pairs]
    measures |= {f'{name}_right': float(np.mean([r[name] for r in right])) for name in right[0]}
    return measures, grids.contact_sheet(_enlarge(clips[:, ::2].reshape(-1, *clips.shape[2:])), 16)

  def export(params, step, folder):
    words = {checkpoint.WORDS_FILE: '\n'.join(vocabulary()) + '\n'}
    _save(folder, model_config, words, {**params, **source.params}, step)

  return TrainingTask(params, loss, batch, validate, export)


def _save(folder, model_config, tokenizer, params, step):
  """Writes a checkpoint of {part: parameters} after `step` steps."""
  with checkpoint.creating(folder, model_config, tokenizer) as staging:
    for part, tree in params.items():
      source = f'experiments.train, {step} steps'
      checkpoint.save_params(staging, part, tree, source, compact=True)


def _bank(encode, tokenizer, clips, masks, scenes, progress=iter):
  """The `data.Bank` of rendered clips."""
  latents = encode(clips, progress)
  tokens = tokenizer.encode([scene.caption for scene in scenes])
  words = np.zeros(tokens.shape, bool)
  for row, scene in zip(words, scenes, strict=True):
    row[word_positions(tokenizer, scene.caption, scene.object_words)] = True
  return data.Bank(latents, tokens, words, data.cover(masks, *latents.shape[2:4]))


def initial(unet, tower, seed, latents, tokens):
  """Random parameters with which the UNet predicts zero and temporal attention adds nothing.

  Temporal attention starts by attending to past frames in one block and to future ones in the next.
  It encodes distances only, so a frame can find its position in a clip only by the number of frames
  on either side of it.
  """
  unet_key, text_key = jax.random.split(jax.random.key(seed))
  text = jax.jit(tower.init)(text_key, tokens)['params']
  embedded = jnp.zeros((len(tokens), unet.config.text_width))
  params = jax.jit(unet.init)(unet_key, jnp.asarray(latents, jnp.float32), 0, embedded)['params']
  # The names of the levels sort in execution order.
  blocks = itertools.count()

  def start(path, leaf):
    names = [entry.key for entry in path]
    if 'conv_out' in names or {'attn_temp', 'to_out_0'} <= set(names):
      return jnp.zeros_like(leaf)
    if 'relative_attention_bias' in names:
      # Buckets of past frames and of the frame itself come first, those of future frames follow.
      half = len(leaf) // 2
      away = slice(1, half) if next(blocks) % 2 else slice(half, None)
      return jnp.zeros_like(leaf).at[away].set(ONE_WAY_BIAS)
    return leaf

  return {'unet': jax.tree_util.tree_map_with_path(start, params), 'text': text}


def stage_at(stages, step):
  """The stage that a step belongs to."""
  ends = np.cumsum([stage['steps'] for stage in stages])
  return stages[int(np.searchsorted(ends, step, side='right'))]


def _enlarge(frames, factor=2):
  return frames.repeat(factor, axis=1).repeat(factor, axis=2)
