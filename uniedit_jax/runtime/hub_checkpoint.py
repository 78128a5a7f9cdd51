"""Converted checkpoints on the hub: first the small files, which say what the rest must be.

A request is checked with the config, the manifest and the tokenizer alone; the parameters follow
when a model is loaded, and are compared with the manifest as those of a local folder.
"""

from uniedit_jax.runtime import files, hub

SMALL = 'config.json', 'manifest.json'
TOKENIZER = 'tokenizer'


def folder_of(where, parts=()):
  """The local folder of a checkpoint on the hub, with its small files and those of some parts.

  Args:
    where: `hub.HubId` of a folder that a converter or `experiments.publish` made.
    parts: names.

  Raises:
    ValueError: it is no such folder, or cannot be fetched, in one line.
  """
  names = hub.names(where, ('', TOKENIZER))
  if missing := [name for name in SMALL if name not in names]:
    raise ValueError(
      f'{where} on the hub is no converted checkpoint: it lacks {", ".join(missing)} and has '
      f'{hub.some(names)}; accepted: one made by a converter such as `python -m convert.lavie` '
      '(docs/weights.md)'
    )
  small = [*SMALL, *(name for name in names if name.startswith(f'{TOKENIZER}/'))]
  folder = hub.fetch(where, small)
  if not parts:
    return folder
  return hub.fetch(
    where, [*small, *(name for part in _files(where, parts).values() for name in part)]
  )


def lacking(where, parts):
  """The faults of parts whose files the hub does not have."""
  there = set(hub.names(where, None))
  faults = []
  for part, names in _files(where, parts).items():
    missing = [name for name in names if name not in there] if names else [part]
    if missing:
      faults.append(f'{where} lacks {hub.some(missing)}; accepted: all files of its manifest.json')
  return faults


def _files(where, parts):
  """{part: names of its files}, by the manifest; where it lists none, of those that are there."""
  manifest = files.read_json(folder_of(where) / 'manifest.json')
  found = {}
  for part in parts:
    entry = manifest.get(part)
    listed = entry.get('files') if isinstance(entry, dict) else None
    is_of = lambda name, part=part: name == f'{part}.safetensors' or name.startswith(f'{part}/')
    found[part] = list(listed or filter(is_of, hub.names(where, None)))
  return found
