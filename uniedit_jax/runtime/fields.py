"""Nested frozen dataclasses as trees of dotted fields: checked, and changed by name."""

import dataclasses
import difflib
import operator
import types
import typing

from uniedit_jax.runtime.faults import Faults


def flatten(tree, prefix=''):
  """{dotted name: value} of a nested dict; an empty dict is a value."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict) and value:
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat


def replace(instance, changes):
  """A frozen dataclass, nested or not, with the changes {dotted field: value}.

  Raises:
    FaultsError: unknown fields, with the nearest known one, and values of another type.
  """
  faults, known = Faults(), _hints(type(instance))
  for name, value in changes.items():
    if name not in known:
      near = difflib.get_close_matches(name, known, n=1)
      also = f'; did you mean {near[0]!r}?' if near else ''
      faults.append(f'{name!r} is no field of {type(instance).__name__}{also}')
      continue
    value = _converted(value, known[name])
    faults.unless(
      _fits(value, known[name]), f'{name} is {value!r}; accepted: {_words(known[name])}'
    )
    if not faults:
      instance = _set(instance, name.split('.'), value)
  faults.stop()
  return instance


def of_tree(cls, tree):
  """A dataclass from a nested dict; fields that are missing have their defaults.

  Raises:
    FaultsError: as `replace`.
  """
  known = _hints(cls)
  changes = {}
  for name, value in flatten(tree).items():
    parts = name.split('.')
    # A dict that is a value, as the options of a comparison method are.
    owner = next((n for i in range(1, len(parts)) if (n := '.'.join(parts[:i])) in known), None)
    if owner is None:
      changes[name] = value
    else:
      changes[owner] = _value(tree, owner)
  return replace(cls(), changes)


def type_faults(instance):
  """The fields whose values have another type than they should, as a list of sentences."""
  faults, known = Faults(), _hints(type(instance))
  for name, hint in known.items():
    value = operator.attrgetter(name)(instance)
    faults.unless(_fits(value, hint), f'{name} is {value!r}; accepted: {_words(hint)}')
  return faults


def _hints(cls, prefix=''):
  """{dotted field: type} of a dataclass."""
  hints = {}
  for name, hint in typing.get_type_hints(cls).items():
    if dataclasses.is_dataclass(hint):
      hints |= _hints(hint, f'{prefix}{name}.')
    else:
      hints[prefix + name] = hint
  return hints


def _set(instance, parts, value):
  if len(parts) > 1:
    value = _set(getattr(instance, parts[0]), parts[1:], value)
  return dataclasses.replace(instance, **{parts[0]: value})


def _value(tree, name):
  for part in name.split('.'):
    tree = tree[part]
  return tree


def _options(hint):
  """The types that a hint names."""
  union = typing.get_origin(hint) in (types.UnionType, typing.Union)
  return typing.get_args(hint) if union else (hint,)


def _converted(value, hint):
  """JSON has no tuples, and a whole number may stand for a float."""
  options = _options(hint)
  if isinstance(value, list) and any((typing.get_origin(o) or o) is tuple for o in options):
    return tuple(tuple(part) if isinstance(part, list) else part for part in value)
  if type(value) is int and float in options and int not in options:
    return float(value)
  return value


def _fits(value, hint):
  return any(
    option is typing.Any or type(value) is (typing.get_origin(option) or option)
    for option in _options(hint)
  )


def _words(hint):
  names = [getattr(typing.get_origin(o) or o, '__name__', str(o)) for o in _options(hint)]
  return ' or '.join('None' if name == 'NoneType' else name for name in names)
