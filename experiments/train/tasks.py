"""What `experiments.train` trains: from a config to a loss, its batches, its validation and the
checkpoint it makes.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.media import grids, video
from uniedit_jax.models import vae as vae_lib
from uniedit_jax.models.config import network
from uniedit_jax.models.tokenizers import WordTokenizer, word_positions
from uniedit_jax.pipeline.found_masks import default_blocks
from uniedit_jax.pipeline.model import module, resolve_dtype
from uniedit_jax.runtime import checkpoint
from uniedit_jax.sprites import data, losses, reader, sampling
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.scenes import vocabulary

PARTS = {'vae': ('vae',), 'model': ('unet', 'text')}
LOOKS = 12  # clips in a validation picture
ONE_WAY_BIAS = -4.0  # of temporal attention, at the start, against the frames on one side
SAMPLING = {'steps': 20, 'guidance': 3.0}


class Request(NamedTuple):
  """A training config, checked.

  Attributes:
    dtype: compute dtype.
    stages: list of dicts with 'steps', 'images', 'clips', 'first_rate' and 'last_rate'.
  """

  dtype: str
  stages: list[dict[str, Any]]


class Task(NamedTuple):
  """A part of the model in training.

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


def read_training(config):
  """Checks the config of a training run.

  Raises:
    ValueError: lists all faults.
  """
  faults = []
  if config.part not in PARTS:
    faults.append(f"part is {config.part!r}; accepted: 'vae', 'model'")
  stages = [config[name].to_dict() for name in sorted(config) if name.startswith('stage')]
  devices = jax.device_count()
  for i, stage in enumerate(stages, 1):
    for name in ('images', 'clips'):
      if stage[name] < 0 or stage[name] % devices:
        faults.append(
          f'stage{i}.{name} is {stage[name]}; accepted: multiples of the {devices} devices'
        )
    if stage['steps'] < 1 or not stage['images'] + stage['clips']:
      faults.append(f'stage{i} is {stage}; accepted: at least one step, and images or clips')
  if config.data.clips < 1 or config.data.validation < LOOKS:
    faults.append(
      f'data is {config.data.to_dict()}; accepted: clips and at least {LOOKS} for validation'
    )
  if config.part == 'model' and not config.localization >= 0:
    faults.append(f'localization is {config.localization}; accepted: 0 or more')
  for name in ('init', *(['vae'] if config.part == 'model' else [])):
    if config[name] and not (checkpoint.locate(config[name]) / 'config.json').exists():
      faults.append(
        f'{name} is {config[name]!r}, which is no checkpoint; accepted: {", ".join(checkpoint.SHIPPED)}, a folder'
      )
  try:
    dtype = resolve_dtype(config.dtype)
  except ValueError as error:
    faults.append(str(error))
  if faults:
    raise ValueError('training cannot start:\n' + '\n'.join(f'  - {fault}' for fault in faults))
  return Request(dtype, stages)


def resolve_training(config, request):
  """The config as a dict for config.json, without what does not change the result."""
  aside = ('cache', 'max_minutes', 'save_minutes', 'look_every')
  resolved = {name: value for name, value in config.to_dict().items() if name not in aside}
  return {**resolved, 'dtype': request.dtype}


def make_task(config, request, progress):
  """The task of a config.

  Args:
    config: ConfigDict.
    request: `read_training(config)`.
    progress: label -> wrapper of an iterable.

  Returns:
    `Task`.
  """
  return {'vae': _vae_task, 'model': _model_task}[config.part](config, request, progress)


def _draw(config, progress):
  """Clips, masks and scenes to train on, and to validate with; the latter's seed lies outside those
  of other runs.
  """
  size = CONFIG.height
  train = data.draw_clips(config.seed, config.data.clips, size, progress=progress('render'))
  return train, data.draw_clips(2**32 + config.seed, config.data.validation, size)


def _vae_task(config, request, progress):
  (clips, *_), (validation, *_) = _draw(config, progress)
  frames, held_back = (
    clips.reshape(-1, *clips.shape[2:]),
    validation[:, ::4].reshape(-1, *clips.shape[2:]),
  )
  vae_config = dataclasses.replace(CONFIG.vae, scale=1.0)
  vae = vae_lib.VAE(vae_config, dtype=jnp.dtype(request.dtype))
  if config.init:
    params = checkpoint.load(config.init, parts=('vae',)).params['vae']
  else:
    params = jax.jit(vae.init)(jax.random.key(config.seed), jnp.zeros((1, *frames.shape[1:])))[
      'params'
    ]
  reconstruct = jax.jit(lambda params, frames: vae.apply({'params': params}, frames))

  def validate(params):
    wanted = video.to_model(held_back)
    made = np.clip(reconstruct(params, wanted), -1, 1)
    psnr = 10 * np.log10(4 / np.mean((made - wanted) ** 2))
    pairs = np.concatenate([held_back[:LOOKS], video.from_model(made[:LOOKS])])
    return {'validation_psnr': float(psnr)}, grids.contact_sheet(_enlarge(pairs), LOOKS)

  def export(params, step, folder):
    encode = functools.partial(vae_lib.encode_frames, vae, params)
    deviation = np.std([encode(video.to_model(clip)) for clip in validation])
    scaled = dataclasses.replace(
      CONFIG, vae=dataclasses.replace(CONFIG.vae, scale=float(1 / deviation))
    )
    with checkpoint.creating(folder, scaled, {}) as staging:
      checkpoint.save_params(
        staging, 'vae', params, f'experiments.train, {step} steps', compact=True
      )

  return Task(
    *(params, losses.vae_loss(vae, config.kl_weight)),
    lambda step: data.frame_batch(
      frames, config.seed, step, stage_at(request.stages, step)['images']
    ),
    *(validate, export),
  )


def _model_task(config, request, progress):
  source = checkpoint.load(config.vae, parts=('vae',))
  model_config = dataclasses.replace(CONFIG, vae=source.config.vae)
  tokenizer = WordTokenizer(vocabulary(), CONFIG.text)
  train, validation = _draw(config, progress)
  vae = module(model_config, 'vae', 'float32')
  encode = functools.partial(data.encode_clips, vae, source.params['vae'])
  bank = _bank(encode, tokenizer, *train, progress('encode'))
  validation_scenes, validation = validation[-1], _bank(encode, tokenizer, *validation)
  null = tokenizer.encode([''])[0]

  unet, tower = (network(model_config, part, jnp.dtype(request.dtype)) for part in ('unet', 'text'))
  if config.init:
    params = checkpoint.load(config.init, parts=('unet', 'text')).params
  else:
    params = initial(unet, tower, config.seed, bank.latents[0, :1], bank.tokens[0])
  blocks = default_blocks(unet.config.grids(*bank.latents.shape[2:4]))
  loss = losses.denoising_loss(unet, tower, model_config.schedule, blocks, config.localization)
  count = len(validation_scenes)
  fixed = data.text_batch(validation, null, 0, 0, count, count // 4, 0.0)
  encode_text = jax.jit(lambda params, tokens: tower.apply({'params': params}, tokens))
  decode = functools.partial(vae_lib.decode_frames, vae, source.params['vae'])
  validation_loss = jax.jit(lambda params: loss(params, fixed, jax.random.key(0))[1])

  def validate(params):
    measures = {
      f'validation_{name}': float(value) for name, value in validation_loss(params).items()
    }
    text = encode_text(params['text'], np.concatenate([null[None], validation.tokens[:LOOKS]]))
    noise = jax.random.normal(jax.random.key(0), validation.latents[:LOOKS].shape)
    made = sampling.sample_prompts(
      unet.apply, params['unet'], noise, text[1:], text[0], model_config.schedule, **SAMPLING
    )
    made = np.stack([video.from_model(decode(clip)) for clip in made])
    right = [
      reader.read(clip).matches(scene)
      for clip, scene in zip(made, validation_scenes[:LOOKS], strict=True)
    ]
    measures |= {f'{name}_right': float(np.mean([r[name] for r in right])) for name in right[0]}
    return measures, grids.contact_sheet(_enlarge(made[:, ::2].reshape(-1, *made.shape[2:])), 16)

  def export(params, step, folder):
    with checkpoint.creating(
      folder, model_config, {checkpoint.WORDS_FILE: '\n'.join(vocabulary()) + '\n'}
    ) as staging:
      for part, tree in {**params, **source.params}.items():
        checkpoint.save_params(
          staging, part, tree, f'experiments.train, {step} steps', compact=True
        )

  def batch(step):
    stage = stage_at(request.stages, step)
    sizes = stage['images'], stage['clips']
    return data.text_batch(bank, null, config.seed, step, *sizes, config.prompt_dropout)

  return Task(params, loss, batch, validate, export)


def _bank(encode, tokenizer, clips, masks, scenes, progress=iter):
  """The `data.Bank` of rendered clips."""
  latents = encode(clips, progress)
  tokens = tokenizer.encode([scene.caption for scene in scenes])
  words = np.zeros(tokens.shape, bool)
  for row, scene in zip(words, scenes, strict=True):
    row[word_positions(tokenizer, scene.caption, scene.object_words)] = True
  return data.Bank(latents, tokens, words, data.cover(masks, *latents.shape[2:4]))


def initial(unet, tower, seed, latents, tokens):
  """Random parameters with which the UNet predicts no noise, and temporal attention adds nothing to
  the image model.

  Temporal attention starts by looking back in one block and ahead in the next. All that it knows
  are distances, so a frame can find its place in a clip only by how many frames there are on either
  side of it.
  """
  unet_key, text_key = jax.random.split(jax.random.key(seed))
  text = jax.jit(tower.init)(text_key, tokens)['params']
  embedded = jnp.zeros((len(tokens), unet.config.text_width))
  params = jax.jit(unet.init)(unet_key, jnp.asarray(latents, jnp.float32), 0, embedded)['params']
  blocks = itertools.count()  # the names of the levels sort in execution order

  def start(path, leaf):
    names = [entry.key for entry in path]
    if 'conv_out' in names or {'attn_temp', 'to_out_0'} <= set(names):
      return jnp.zeros_like(leaf)
    if 'relative_attention_bias' in names:
      # buckets of frames in the past and their own; those of the future follow
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
