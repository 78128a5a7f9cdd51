"""The model card of a published checkpoint: README.md, with the head that the hub reads."""

import json

from uniedit_jax.models.clip_image import PART
from uniedit_jax.runtime.hub import SCHEME

# Numbers of shipped models, in markdown; where they come from is in docs/sprites.md.
MEASURED = {
  'sprites': """\
On 100 edits whose exact targets are rendered (`experiments.evaluate` with
`configs/sprites_benchmark.py`, 2026-11-23, float32): an edit is a success if the attribute that
the prompt changes is right and the six others stay (95 % Wilson interval).

| | attribute changed | success | background, PSNR |
|---|---|---|---|
| motion edits | 100 % | 95 % (76 to 99) | 34.2 dB |
| style edits | 100 % | 95 % (76 to 99) | 33.5 dB |
| all 100 edits | 99 % | 94 % (88 to 97) | 32.1 dB |

Text to video, all seven attributes right: 90 % of 60 trained combinations, 97 % of 60 held-out
ones. The VAE reconstructs frames at 33.4 dB.""",
}
ABOUT = {
  'sprites': "A small text-to-video model of LaVie's family for work on editing methods. It was "
  'trained on rendered 32 x 32 clips of simple objects, so the right answer of an edit is known.',
  PART: 'A CLIP model, text and image tower, for measures of clips against prompts.',
  '': 'A text-to-video model (UNet, VAE and text tower), as parameters for UniEdit in JAX.',
}
LIMITS = {
  'sprites': 'It knows the 38 words of its captions and nothing of real videos; a prompt with '
  'other words is refused. Clips have 16 frames of 32 x 32 pixels.',
  PART: 'Frames are cropped to their middle square. Limits of the original model hold.',
  '': 'Limits and terms of the original weights hold. Converted parameters are compared with the '
  'PyTorch originals in the tests of the package on small random models; of these weights nothing '
  'was measured unless it says so above.',
}
LOAD = """\
```python
import uniedit_jax as ue

model = ue.load('{repo}')
```

Commands take it as `--config.checkpoint={repo}`."""
LOAD_CLIP = 'Commands take it as `--config.metrics.clip={repo}`.'


def write_card(config, manifest, sizes, terms, known='', repo='', measured=''):
  """The text of README.md.

  Args:
    config: `ModelConfig` or `ClipConfig`.
    manifest: dict {part: entry of `checkpoint.save_params`}.
    sizes: dict {part: bytes on disk}.
    terms: licence, as the hub names it.
    known: name of the shipped model that it is, of which numbers are known, or ''.
    repo: hub id that it will have; '' is a placeholder.
    measured: markdown with numbers; '' is what is known, if anything is.

  Returns:
    str.
  """
  is_clip = set(manifest) == {PART}
  kind = PART if is_clip else known
  repo = repo or f'<owner>/{config.name}'
  parts = [f'# {config.name}', ABOUT[kind], _sizes(config, manifest, sizes, is_clip)]
  parts += ['## Load', 'With [uniedit_jax](https://github.com/uniedit-jax/uniedit_jax):']
  parts += [(LOAD_CLIP if is_clip else LOAD).format(repo=repo)]
  if measured := measured.strip() or MEASURED.get(kind, ''):
    parts += ['## Measured', measured]
  parts += ['## Limits', LIMITS[kind]]
  return f'{_head(manifest, terms, is_clip)}\n' + '\n\n'.join(parts) + '\n'


def _head(manifest, terms, is_clip):
  """The head in YAML, of which JSON's strings and lists are a part."""
  sources = [entry.get('source', '') for entry in manifest.values()]
  originals = [
    '/'.join(source.removeprefix(SCHEME).split('/')[:2])
    for source in sources
    if source.startswith(SCHEME)
  ]
  tags = ['jax', 'flax', 'uniedit', *([] if is_clip else ['text-to-video', 'video-editing'])]
  fields = {
    'license': terms,
    'library_name': 'uniedit_jax',
    'pipeline_tag': 'feature-extraction' if is_clip else 'text-to-video',
    'tags': tags,
    'base_model': list(dict.fromkeys(originals)),
  }
  lines = [f'{name}: {json.dumps(value)}' for name, value in fields.items() if value]
  return '\n'.join(['---', *lines, '---', ''])


def _sizes(config, manifest, sizes, is_clip):
  """Markdown: the size of the clips, and a table of the parts."""
  lines = []
  if not is_clip:
    size = f'{config.frames} frames of {config.height} x {config.width} pixels'
    lines += [f'Clips have {size} at {config.fps} frames a second.', '']
  lines += [
    '| part | parameters | on disk | sha256 of the parameters | from |',
    '|---|---|---|---|---|',
  ]
  for part, entry in manifest.items():
    cells = part, f'{entry["parameters"]:,}', f'{sizes[part] / 1e6:,.1f} MB', entry['sha256'][:16]
    source = entry.get('source', '').replace('|', '\\|').replace('`', '')
    lines.append(f'| {" | ".join(cells)} | {source} |')
  return '\n'.join(lines)
