"""Who may import whom. The table is the architecture: a new edge is a decision, made here."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
OURS = ('uniedit_jax', 'convert', 'configs', 'experiments', 'tests')
P = 'uniedit_jax'
EVERYTHING = (P,)

# Module or package -> what of ours it may import; the longest name holds. A package may import itself.
ALLOWED = {
  P: (),
  f'{P}.overrides': (),
  f'{P}.diffusion': (),
  f'{P}.frames': (),
  f'{P}.files': (),
  f'{P}.masks': (f'{P}.files', f'{P}.frames'),
  f'{P}.video': (f'{P}.files', f'{P}.frames'),
  f'{P}.image_to_video': (f'{P}.files',),
  f'{P}.panels': (f'{P}.files', f'{P}.video'),
  f'{P}.outputs': tuple(f'{P}.{m}' for m in ('masks', 'metrics', 'panels', 'video')),
  f'{P}.record': (f'{P}.files',),
  f'{P}.tables': (f'{P}.files',),
  f'{P}.bootstrap': (),
  f'{P}.injection': (f'{P}.overrides', f'{P}.masks'),
  f'{P}.plan': (f'{P}.overrides', f'{P}.masks'),
  f'{P}.inversion': (f'{P}.diffusion',),
  f'{P}.layout': (f'{P}.injection', f'{P}.plan'),
  f'{P}.editing': (f'{P}.overrides', f'{P}.diffusion'),
  f'{P}.windows': (),
  f'{P}.attention_masks': tuple(f'{P}.{m}' for m in ('editing', 'layout', 'models', 'windows')),
  f'{P}.inspection': tuple(f'{P}.{m}' for m in ('diffusion', 'injection', 'layout', 'overrides')),
  f'{P}.inspection_sheets': (f'{P}.panels',),
  f'{P}.models': (f'{P}.overrides',),
  f'{P}.model_config': (f'{P}.diffusion', f'{P}.models'),
  f'{P}.metrics': tuple(f'{P}.{m}' for m in ('checkpoint', 'files', 'model_config', 'models', 'video')),
  f'{P}.player': (f'{P}.files', f'{P}.video'),
  f'{P}.comparison': (f'{P}.files',),
  f'{P}.comparison_report': tuple(
    f'{P}.{m}' for m in ('bootstrap', 'comparison', 'files', 'player', 'sprites', 'tables', 'video')
  ),
  f'{P}.study': tuple(f'{P}.{m}' for m in ('bootstrap', 'comparison', 'files', 'player', 'record', 'tables', 'video')),
  f'{P}.report': (f'{P}.player', f'{P}.tables'),
  f'{P}.sweep_report': tuple(f'{P}.{m}' for m in ('bootstrap', 'player', 'record', 'tables', 'video')),
  f'{P}.checkpoint': (f'{P}.files', f'{P}.models', f'{P}.model_config'),
  f'{P}.random_init': (f'{P}.checkpoint', f'{P}.model_config'),
  f'{P}.sharding': (f'{P}.models', f'{P}.model_config'),
  f'{P}.memory': (f'{P}.models', f'{P}.model_config'),
  f'{P}.cost': (),
  f'{P}.tpu': (),
  f'{P}.pipeline': EVERYTHING,
  f'{P}.ahead_of_time': EVERYTHING,
  f'{P}.clip_inversion': EVERYTHING,
  f'{P}.baselines': EVERYTHING,
  f'{P}.sprites': EVERYTHING,
  'convert': EVERYTHING,
  'configs': (),
  'experiments': ('uniedit_jax', 'configs'),
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
  """(name, whether it is imported at the top of the module) of all imports; `from a import b` gives a.b."""
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


def allowed(module):
  """The entry of a module in the table, and what the entry allows."""
  entry = max((name for name in ALLOWED if within(module, name)), key=len)
  return entry, ALLOWED[entry]


@pytest.mark.parametrize('module', MODULES)
def test_imports_of_ours(module):
  entry, packages = allowed(module)
  # A module of the package itself that has no entry must not slip through with that of the package.
  assert entry != P or module == P, f'{module} is missing from the table'
  for name, _ in imports(MODULES[module]):
    if name.split('.')[0] not in OURS:
      continue
    # `from uniedit_jax import video` and `from uniedit_jax.video import Clip` both mean the module video.
    assert any(within(name, package) for package in (*packages, entry)), f'{module} imports {name}'


@pytest.mark.parametrize('module', MODULES)
def test_torch_only_in_functions_of_convert(module):
  if module.startswith(('experiments.torch_peer', 'experiments.speed_')):  # what is timed beside ours, and its timing
    return
  for name, top in imports(MODULES[module]):
    if name.split('.')[0] in ('torch', 'diffusers', 'torchvision'):
      assert within(module, 'convert') and not top, f'{module} imports {name}'


@pytest.mark.parametrize('module', [m for m in MODULES if within(m, 'configs')])
def test_configs_import_nothing_that_computes(module):
  for name, _ in imports(MODULES[module]):
    assert name.split('.')[0] in ('ml_collections', 'configs', 'json', 'pathlib'), f'{module} imports {name}'


def test_the_walk_sees_the_package():
  assert {'uniedit_jax.models.unet', 'convert.rules', 'configs.motion'} <= set(MODULES)
  assert ('uniedit_jax.masks', True) in imports(MODULES['uniedit_jax.injection'])
