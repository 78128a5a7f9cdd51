"""Writes a checkpoint from the state dicts of its parts, and the table that commands print."""

import time

from absl import app, flags, logging
from tqdm import tqdm

from convert import rules, weight_files
from uniedit_jax.models.config import PARTS, abstract_params
from uniedit_jax.runtime import checkpoint, hub
from uniedit_jax.runtime.faults import told_in_one_line


def write(out, config, tokenizer, paths, states):
  """Converts part by part, so that one is in memory at a time.

  Args:
    out: `epath.Path` of the new checkpoint.
    config: `ModelConfig`.
    tokenizer: {name: text}.
    paths: {part: `epath.Path` of its weights}.
    states: {part: function that returns its state dict under the names that `rules` knows}; parts
      that are not in it are read from their file as they are.

  Returns:
    [(part, entry of the manifest, seconds)].

  Raises:
    ValueError: a state dict does not fit the config; nothing is left at `out`.
  """
  rows, started = [], time.monotonic()
  with checkpoint.creating(out, config, tokenizer) as staging:
    for part in tqdm(PARTS, unit='part'):
      try:
        state = states[part]() if part in states else weight_files.read_tensors(paths[part])
        params = rules.convert(state, abstract_params(config, part))
      except ValueError as error:
        raise ValueError(f'{paths[part]}: {error}') from error
      # The file is closed when nothing refers to it.
      state = None
      entry = checkpoint.save_params(staging, part, params, source=hub.origin(paths[part]))
      del params
      rows.append((part, entry, time.monotonic() - started))
      started = time.monotonic()
  return rows


def run(argv, name, convert, *settings):
  """The main function of a converter: converts what the flags name and prints a table.

  Args:
    argv: arguments that are no flags.
    name: of the command.
    convert: takes the values of the flags `settings` and of --out, and returns as `write`.
  """
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  logging.set_verbosity(logging.WARNING)
  given = flags.FLAGS
  with told_in_one_line(name):
    rows = convert(**{key: given[key].value for key in (*settings, 'out')})
  print(f'{"part":6}{"tensors":>9}{"parameters":>14}{"seconds":>9}  sha256')
  for part, entry, seconds in rows:
    numbers = f'{entry["tensors"]:9}{entry["parameters"]:14,}{seconds:9.1f}'
    print(f'{part:6}{numbers}  {entry["sha256"]}')
  print(f'wrote {given.out}')


def define(**inputs):
  """Defines the flags that name inputs, {flag: help}, and --out; all are required."""
  for name, description in (inputs | {'out': 'Folder to write; must not exist yet.'}).items():
    flags.DEFINE_string(name, None, description, required=True)
