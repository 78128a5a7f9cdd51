"""Writes a converted checkpoint and its model card into a folder, ready to be uploaded.

  python -m experiments.publish --checkpoint=checkpoints/lavie --out=out/lavie-jax \
    --license=creativeml-openrail-m --repo=you/lavie-jax
  hf upload you/lavie-jax out/lavie-jax

The parameters are compared with the manifest before they are copied. The card, README.md, says what
the model is, how it is loaded, its sizes and limits, and what was measured: what is known of a
shipped model, or the markdown file of `--measured`. Nothing is sent anywhere.
"""

import json
import re

from absl import app, flags
from etils import epath
from tqdm import tqdm

from experiments.launch import in_one_line, start
from experiments.publish.card import write_card
from uniedit_jax.metrics import clip_model
from uniedit_jax.models.clip_image import PART, ClipConfig
from uniedit_jax.runtime import checkpoint, files, hub, weights
from uniedit_jax.runtime.faults import Faults

FLAGS = flags.FLAGS
SHIPPED_TERMS = 'apache-2.0'  # of models that come with the package, as of the package


def publish(source, out, terms='', repo='', measured=''):
  """Writes the folder; arguments as the flags.

  Raises:
    ValueError, OSError: something is wrong with the inputs, all of it listed; nothing is at `out`.
  """
  # Everything that can be wrong.
  faults = Faults()
  wrong = files.folder_fault(out)
  faults.unless(not wrong, f'out is {wrong}')
  if not wrong:
    faults.attempt(checkpoint.refuse_to_overwrite, out, field='out')
  sound = not repo or re.fullmatch(r'[\w.-]+/[\w.-]+', repo)
  faults.unless(sound, f'repo is {repo!r}; accepted: owner/name')
  text = faults.attempt(files.read_text, epath.Path(measured), field='measured') if measured else ''
  faults.unless(source, "checkpoint is ''; accepted: a converted folder, a shipped model, a hub id")
  config = faults.attempt(_check, source, field='checkpoint') if source else None
  known = _shipped_name(source) if config else ''
  terms = terms or (SHIPPED_TERMS if known else '')
  accepted = 'as the hub names them: apache-2.0, creativeml-openrail-m, other, ...'
  sound = re.fullmatch(r'[a-z0-9][a-z0-9.-]*', terms)
  faults.unless(sound, f'license is {terms!r}; accepted: the terms of the weights, {accepted}')
  faults.stop()

  manifest = checkpoint.read_manifest(source)
  # Reads every parameter.
  checkpoint.fingerprint(source)
  folder = checkpoint.locate(source, manifest)
  entries = {part: _published(folder, part, manifest[part]) for part in manifest}
  sizes = {part: sum(entry['files'].values()) for part, entry in entries.items()}
  names = files.files_below(folder / 'tokenizer')
  tokenizer = {path.name: files.read_text(path) for path in names}
  with checkpoint.creating(out, config, tokenizer) as staging:
    files.need_room(staging, sum(sizes.values()))
    for name in tqdm([name for entry in entries.values() for name in entry['files']], unit='file'):
      (staging / name).parent.mkdir(parents=True, exist_ok=True)
      (folder / name).copy(staging / name)
    (staging / 'manifest.json').write_text(json.dumps(entries, indent=2) + '\n')
    card = write_card(config, entries, sizes, terms, known, repo, text)
    (staging / 'README.md').write_text(card, encoding='utf-8')


def _check(source):
  """The config of a whole checkpoint of a model, or of a CLIP model."""
  if PART in checkpoint.read_manifest(source):
    clip_model.read_tokenizer(source)
    return checkpoint.read_config(source, ClipConfig)
  return checkpoint.check(source)


def _shipped_name(source):
  """The name of the shipped model that has these very parameters, or ''."""
  found = checkpoint.read_hash(source) if PART not in checkpoint.read_manifest(source) else ''
  return next((name for name in checkpoint.SHIPPED if checkpoint.read_hash(name) == found), '')


def _published(folder, part, entry):
  """An entry of the manifest with all files, and without the names of folders of this machine."""
  source = entry.get('source', '')
  if not source.startswith(hub.SCHEME):
    source = re.split(r'[/\\]', source)[-1]
  paths = weights.part_files(folder, part)
  listed = {path.relative_to(folder).as_posix(): path.stat().length for path in paths}
  return {**entry, 'files': listed, 'source': source}


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  with in_one_line():
    publish(FLAGS.checkpoint, FLAGS.out, FLAGS.license, FLAGS.repo, FLAGS.measured)
  print(
    f'wrote {FLAGS.out}; upload it with\n  hf upload {FLAGS.repo or "<owner>/<name>"} {FLAGS.out}'
  )


if __name__ == '__main__':
  flags.DEFINE_string(
    'checkpoint', None, 'Converted folder, shipped model or hub id.', required=True
  )
  flags.DEFINE_string('out', None, 'Folder to write; must not exist yet.', required=True)
  flags.DEFINE_string('license', '', 'Terms of the weights, as the hub names them: apache-2.0, ...')
  flags.DEFINE_string('repo', '', 'Hub id that it will have, for the lines of the card.')
  flags.DEFINE_string('measured', '', 'Markdown file with measured numbers, for the card.')
  start(main)
