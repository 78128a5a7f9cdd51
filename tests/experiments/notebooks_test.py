"""The notebooks: committed without outputs, linked from README, and they run from top to bottom."""

import json
import pathlib
import re

import pytest

from configs import ablate_injection

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / 'experiments/notebooks').glob('*.ipynb'))
PLAYERS = {'edit': 3, 'ablate_injection': 2, 'from_scratch': 2}  # cells that show clips


def cells_of(path, kind):
  cells = json.loads(path.read_text())['cells']
  return [cell | {'source': ''.join(cell['source'])} for cell in cells if cell['cell_type'] == kind]


def test_these_notebooks():
  assert {path.stem for path in NOTEBOOKS} == set(PLAYERS)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped_and_nothing_is_pinned(path):
  code = cells_of(path, 'code')
  assert all(not cell['outputs'] and cell['execution_count'] is None for cell in code)
  text = '\n'.join(cell['source'] for cell in code)
  assert '==' not in re.sub(r"checkpoint == 'sprites'|content_tensors == 'k and v'", '', text)
  assert 'get_config' in text or path.stem == 'from_scratch'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_badges_of_readme_lead_to_the_notebooks(path):
  (badge,) = re.findall(
    r'\(https://colab.research.google.com/github/\S+\)',
    ''.join(cells_of(path, 'markdown')[0]['source']),
  )
  assert (
    badge.endswith(f'/experiments/notebooks/{path.name})')
    and badge in (ROOT / 'README.md').read_text()
  )
  repository = re.match(
    r'\(https://colab.research.google.com/github/([\w-]+/[\w-]+)/blob/main/', badge
  )[1]
  assert f"'https://github.com/{repository}'" in cells_of(path, 'code')[0]['source']


def test_the_form_names_sweeps_that_are_there():
  text = ''.join(
    line
    for cell in cells_of(ROOT / 'experiments/notebooks/ablate_injection.ipynb', 'code')
    for line in cell['source']
  )
  names = re.search(r"name = 'components'  # @param \[(.*)\]", text)[1]
  assert all(hasattr(ablate_injection, f'sweep_{name}') for name in re.findall(r"'(\w+)'", names))


@pytest.mark.notebooks
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path):
  import nbclient
  import nbformat

  notebook = nbformat.read(path, as_version=4)
  # From its own folder, as a notebook server opens it.
  nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': str(path.parent)}}
  ).execute()
  outputs = [
    output.get('data', {}) for cell in notebook.cells for output in cell.get('outputs', ())
  ]
  assert sum('<iframe' in str(output.get('text/html')) for output in outputs) == PLAYERS[path.stem]
