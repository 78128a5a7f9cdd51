"""Nested frozen dataclasses as trees of dotted fields: checked, and changed by name."""

import ast
import contextlib
import dataclasses
import difflib
import functools
import math
import operator
import types
import typing

from uniedit_jax.runtime.faults import Faults, shown

LARGEST = 2**53  # of the whole numbers that a float holds exactly


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
  faults, known = Faults(), hints(type(instance))
  for name, value in changes.items():
    if name not in known:
      faults.append(f'{name!r} is no field of {type(instance).__name__}{nearest(name, known)}')
      continue
    value = _converted(value, known[name])
    if not _fits(value, known[name]):
      faults.append(f'{name} is {shown(value)}; accepted: {_words(known[name])}')
    if not faults:
      instance = _set(instance, name.split('.'), value)
  faults.stop()
  return instance


def nearest(name, known):
  """The end of a message about an unknown name: the nearest known one, or ''."""
  near = difflib.get_close_matches(name, known, n=1)
  return f'; did you mean {near[0]!r}?' if near else ''


def of_tree(cls, tree):
  """A dataclass from a nested dict; fields that are missing have their defaults.

  Raises:
    FaultsError: as `replace`.
  """
  known = hints(cls)
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


def of_text(cls, name, text):
  """The value of a dotted field that a text says, such as a cell or a flag.

  A text that is no value of the field's type is returned as it is, for `replace` to refuse.
  """
  hint = hints(cls).get(name, typing.Any)
  if _fits(text, hint):
    return text
  # Spreadsheets write TRUE and FALSE.
  literal = text.strip().capitalize() if text.strip().lower() in ('true', 'false') else text.strip()
  with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
    value = _converted(ast.literal_eval(literal), hint)
    if _fits(value, hint):
      return value
  return text


def type_faults(instance):
  """The fields whose values have another type than they should, as a list of sentences."""
  values = {name: operator.attrgetter(name)(instance) for name in hints(type(instance))}
  return [
    f'{name} is {shown(values[name])}; accepted: {_words(hint)}'
    for name, hint in hints(type(instance)).items()
    if not _fits(values[name], hint)
  ]


def bound_faults(values, bounds):
  """The values that are out of their bounds, dict {name: sentence}.

  Args:
    values: dict {name: value}; None is left alone, as it stands for a default.
    bounds: dict {name: (lowest, highest) number, or a tuple of the texts that are accepted}.
  """
  faults = {}
  for name, accepted in bounds.items():
    value = values.get(name)
    if isinstance(accepted[0], str):
      sound, words = value in accepted, ', '.join(map(repr, accepted))
    else:
      low, high = accepted
      # NaN is in no range.
      sound, words = type(value) in (int, float) and low <= value <= high, f'{low} to {high}'
    if value is not None and not sound:
      faults[name] = f'{name} is {shown(value)}; accepted: {words}'
  return faults


def bounded(instance, bounds, faults):
  """The instance with the defaults of fields that are out of their bounds, which are faults.

  What is checked next may then count on the bounds.
  """
  values = {name: operator.attrgetter(name)(instance) for name in bounds}
  found, defaults = bound_faults(values, bounds), type(instance)()
  faults += found.values()
  for name in found:
    instance = _set(instance, name.split('.'), operator.attrgetter(name)(defaults))
  return instance


@functools.cache
def hints(cls, prefix=''):
  """{dotted field: type} of a dataclass."""
  found = {}
  for name, hint in typing.get_type_hints(cls).items():
    if dataclasses.is_dataclass(hint):
      found |= hints(hint, f'{prefix}{name}.')
    else:
      found[prefix + name] = hint
  return found


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
    return _tuples(value)
  if type(value) is int and abs(value) <= LARGEST and float in options and int not in options:
    return float(value)
  return value


def _tuples(value):
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _fits(value, hint):
  """Whether a value has a type, all the way down; numbers are finite, and text can be written."""
  if typing.get_origin(hint) is tuple:
    parts = typing.get_args(hint)
    if type(value) is tuple and parts[1:] == (...,):
      parts = parts[:1] * len(value)
    return type(value) is tuple and len(value) == len(parts) and all(map(_fits_in, value, parts))
  options = _options(hint)
  if len(options) > 1:
    return any(_fits(value, option) for option in options)
  if isinstance(value, str):
    # A zero byte or half a surrogate pair ends in an error where it is written or named.
    return hint in (str, typing.Any) and '\0' not in value and not _surrogates(value)
  return hint is typing.Any or (type(value) is hint and (hint is not float or math.isfinite(value)))


def _fits_in(value, hint):
  """`_fits` of a part of a tuple, where a whole number may stay one."""
  is_whole = type(value) is int and abs(value) <= LARGEST
  return _fits(value, hint) or (hint is float and is_whole)


def _surrogates(text):
  return any('\ud800' <= character <= '\udfff' for character in text)


def _words(hint):
  return ' or '.join(_word(option) for option in _options(hint))


def _word(hint):
  if hint is type(None):
    return 'None'
  if typing.get_origin(hint) is tuple:
    parts = ['...' if part is ... else _words(part) for part in typing.get_args(hint)]
    return f'({", ".join(parts)})'
  return {float: 'a finite number', typing.Any: 'text without zero bytes'}.get(
    hint, getattr(hint, '__name__', str(hint))
  )
