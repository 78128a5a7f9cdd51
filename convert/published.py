"""Reads the configs of published models, and says which of their files are missing."""

import os

from etils import epath

from uniedit_jax.models import clip_text
from uniedit_jax.models.config import of_fields
from uniedit_jax.runtime import files, hub
from uniedit_jax.runtime.faults import Faults

# What says which token pads, in a tokenizer's folder.
PADDING = 'tokenizer_config.json', 'special_tokens_map.json'
# Fields of `TextConfig` and their names in the configs of transformers.
TOWER_SIZES = {
  'width': 'hidden_size',
  'layers': 'num_hidden_layers',
  'heads': 'num_attention_heads',
  'mlp_width': 'intermediate_size',
}
TEXT_SIZES = {
  **TOWER_SIZES,
  'vocabulary': 'vocab_size',
  'positions': 'max_position_embeddings',
  'bos': '<|startoftext|>',
  'eos': '<|endoftext|>',
  'activation': 'hidden_act',
}


def places_of(out, **given):
  """The `hub.place` of each flag, and last the `epath.Path` of --out.

  Raises:
    FaultsError: some name no folder, file or hub id.
  """
  faults = Faults()
  for flag, name in (given | {'out': out}).items():
    where = None if flag == 'out' else faults.attempt(hub.hub_id, name, field=f'--{flag}')
    is_explicit = flag != 'out' and os.fspath(name).startswith(hub.SCHEME)
    wrong = '' if where or is_explicit else files.path_fault(name)
    faults.unless(not wrong, f'--{flag} is {wrong}')
    faults.unless(os.fspath(name).strip(), f"--{flag} is ''; accepted: a path")
  faults.stop()
  return [*map(hub.place, given.values()), epath.Path(out).expanduser()]


def fetch_small(where, needed, faults, flag, optional=()):
  """The local folder of the files of a place that are read before its weights.

  Args:
    where: of `hub.place`, a folder.
    needed, optional: names of files; needed ones that are missing are faults.
    faults: `Faults`, to which is added what is wrong.
    flag: which names the place.

  Returns:
    (`epath.Path` or None, names of those that are there); None where nothing can be read.
  """
  wanted = *needed, *optional
  folders = tuple(dict.fromkeys(name.rpartition('/')[0] for name in wanted))
  names = faults.attempt(hub.names, where, folders, field=flag)
  if names is None:
    return None, ()
  faults += [f'{flag}: {where} has no {name}' for name in needed if name not in names]
  found = [name for name in wanted if name in names]
  return faults.attempt(hub.fetch, where, found, field=flag), found


def accept(data, key, value):
  """Raises ValueError if a config has another value for a key; a missing key means this value."""
  if data.get(key, value) != value:
    raise ValueError(f'{key} is {data[key]!r}; accepted: {value!r}')


def text_config(data, vocabulary, pad=-1):
  """`TextConfig` of a text tower.

  Args:
    data: dict, its config.
    vocabulary: dict {token: id}; the ids of special tokens are wrong in many configs of 2022.
    pad: as in `TextConfig`; see `pad_id`.

  Raises:
    ValueError: a size is missing, or the tower is of another kind.
  """
  defaults = {'activation': 'quick_gelu', 'pad': pad}
  return read_sizes(clip_text.TextConfig, vocabulary | data, TEXT_SIZES, defaults)


def pad_id(tokenizer, vocabulary):
  """`TextConfig.pad` of a tokenizer's folder, as transformers reads it.

  Args:
    tokenizer: `epath.Path` of the folder; without settings, the end token pads.
    vocabulary: dict {token: id}.

  Raises:
    ValueError: the token is not in the vocabulary.
  """
  settings, tokens = (
    files.read_json(tokenizer / name) if (tokenizer / name).exists() else {} for name in PADDING
  )
  # Stable Diffusion 2's two files differ. Newer ones say everything in the first.
  token = (settings if 'added_tokens_decoder' in settings else settings | tokens).get('pad_token')
  token = token.get('content') if isinstance(token, dict) else token
  if token in (None, TEXT_SIZES['eos']):
    return -1
  if token not in vocabulary:
    raise ValueError(f'pad_token is {token!r}; accepted: a token of vocab.json')
  return vocabulary[token]


def read_sizes(cls, data, names, defaults=()):
  """A dataclass of sizes from a dict, for `names` {our field: theirs}; raises as `of_fields`.

  A field that has a default may be missing or null.
  """
  defaults = dict(defaults)
  found = {ours: data[theirs] for ours, theirs in names.items() if theirs in data}
  found = {ours: x for ours, x in found.items() if x is not None or ours not in defaults}
  return of_fields(cls, defaults | found, names)
