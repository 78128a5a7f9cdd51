"""Habits of the code that a formatter does not see."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ('uniedit_jax', 'convert', 'configs', 'experiments')
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob('*.py'))]
MOST_PARAMETERS = 9
MOST_LINES = 320


def packed(tree):
  """Lines of calls and displays that unpack a literal: f(*(a, b)), f(**dict(c=d)), [*(a, b)]."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List):
      yield node.lineno
    for value in [keyword.value for keyword in getattr(node, 'keywords', ()) if not keyword.arg]:
      is_dict = isinstance(value, ast.Call) and getattr(value.func, 'id', '') == 'dict'
      if is_dict or is_literal(value):
        yield value.lineno
    if isinstance(node, ast.Dict):
      inner = (v for k, v in zip(node.keys, node.values, strict=True) if k is None)
      yield from (value.lineno for value in inner if is_literal(value))


def is_literal(node):
  """Whether a node is a dict whose keys stand in the code."""
  keys = getattr(node, 'keys', ())
  return isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in keys)


def parameters(function):
  """Number of parameters, `self` left out."""
  given = function.args
  names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
  return len([name for name in names if name not in ('self', 'cls')])


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arguments_are_passed_by_name_not_packed(path):
  assert list(packed(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_have_few_parameters_and_files_few_lines(path):
  tree = ast.parse(path.read_text())
  functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
  assert [f.name for f in functions if parameters(f) > MOST_PARAMETERS] == []
  assert len(path.read_text().splitlines()) <= MOST_LINES


def test_packing_is_seen():
  for code in ('f(*(a, b))', 'f(**dict(c=d))', "f(**{'c': d})", '[*(a, b), c]', "{**{'a': 2}}"):
    assert list(packed(ast.parse(code))) == [1], code
  assert list(packed(ast.parse('f(*a, **b)\n[*a]\n{**a}\nf(**{a: b})'))) == []
