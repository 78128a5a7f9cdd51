"""Who may import whom. The table is the architecture: a new edge is a decision, made here."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
OURS = ('uniedit_jax', 'convert', 'configs', 'experiments', 'tests')
P = 'uniedit_jax'

# Room -> what of ours it may import besides itself; the longest name holds.
ALLOWED = {
  f'{P}.method': (),
  f'{P}.models': (f'{P}.method.overrides', f'{P}.method.diffusion'),
  f'{P}.runtime': (f'{P}.models',),
  f'{P}.media': (f'{P}.runtime.files', f'{P}.runtime.faults', f'{P}.method.token_masks'),
  f'{P}.metrics': (f'{P}.models', f'{P}.runtime'),
  f'{P}.pipeline': tuple(
    f'{P}.{room}' for room in ('method', 'models', 'runtime', 'media', 'metrics')
  ),
  f'{P}.reports': tuple(f'{P}.{room}' for room in ('media', 'metrics', 'runtime')),
  f'{P}.baselines': tuple(f'{P}.{room}' for room in ('method', 'models', 'pipeline', 'metrics')),
  f'{P}.sprites': tuple(
    f'{P}.{room}'
    for room in ('method', 'models', 'runtime', 'media', 'metrics', 'pipeline', 'reports')
  ),
  'convert': (f'{P}.models', f'{P}.runtime', f'{P}.method.diffusion'),
  'configs': (),
  'experiments': (P, 'configs'),
}
MODULES = {
  '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
  for package in OURS
  for path in sorted((ROOT / package).rglob('*.py'))
  if package != 'tests'
}


def within(name, package):
  return name == package or name.startswith(f'{package}.')


def imports(path):
  """(name, whether it is imported at the top of the module) of all imports; `from a import b` gives
  a.b.
  """
  tree = ast.parse(path.read_text(), str(path))
  inner = {
    id(node)
    for function in ast.walk(tree)
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    for node in ast.walk(function)
  }
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((alias.name, id(node) not in inner) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path} has a relative import'
      yield from ((f'{node.module}.{alias.name}', id(node) not in inner) for alias in node.names)


def room_of(module):
  """The entry of a module in the table; None for the package itself and `api`, which may import
  every room.
  """
  if module in (P, f'{P}.api'):
    return None
  return max((name for name in ALLOWED if within(module, name)), key=len)


@pytest.mark.parametrize('module', MODULES)
def test_imports_of_ours(module):
  room = room_of(module)
  for name, _ in imports(MODULES[module]) if room else ():
    # `from uniedit_jax.media import video` and `from uniedit_jax.media.video import Clip` both mean
    # the module video.
    if name.split('.')[0] in OURS:
      assert any(within(name, package) for package in (*ALLOWED[room], room)), (
        f'{module} imports {name}'
      )


def test_every_permission_is_used():
  used = {
    (room, package)
    for module, path in MODULES.items()
    if (room := room_of(module))
    for name, _ in imports(path)
    for package in ALLOWED[room]
    if within(name, package)
  }
  assert {(room, package) for room, packages in ALLOWED.items() for package in packages} == used


def test_the_root_of_the_package_has_no_other_files():
  assert {path.name for path in (ROOT / P).glob('*.py')} <= {'__init__.py', 'api.py'}


def test_commands_do_not_import_the_insides_of_other_commands():
  folders = {path.parent.name for path in (ROOT / 'experiments').glob('*/__main__.py')}
  for module, path in MODULES.items():
    for name, _ in imports(path) if within(module, 'experiments') else ():
      inside = name.split('.')[1:2]
      assert not (
        name.startswith('experiments.') and folders & set(inside) - set(module.split('.')[1:2])
      ), f'{module} imports {name}'


@pytest.mark.parametrize('module', MODULES)
def test_torch_only_in_functions_of_convert(module):
  if (
    within(module, 'experiments.benchmark') or module == 'experiments.requests.benchmark'
  ):  # what is compared with ours, and its timing
    return
  for name, top in imports(MODULES[module]):
    if name.split('.')[0] in ('torch', 'diffusers', 'torchvision'):
      assert within(module, 'convert') and not top, f'{module} imports {name}'


@pytest.mark.parametrize('module', [m for m in MODULES if within(m, 'configs')])
def test_configs_import_nothing_that_computes(module):
  for name, _ in imports(MODULES[module]):
    assert name.split('.')[0] in ('ml_collections', 'configs', 'json', 'pathlib'), (
      f'{module} imports {name}'
    )


def test_the_walk_sees_the_package():
  assert {'uniedit_jax.models.unet', 'convert.rules', 'configs.motion'} <= set(MODULES)
  assert ('uniedit_jax.method.overrides.TokenMasks', True) in imports(
    MODULES['uniedit_jax.method.token_masks']
  )
