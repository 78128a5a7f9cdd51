"""Faults of what a person or a file hands in, all reported at once."""


class FaultsError(ValueError):
  """The faults for which a run cannot start, or a file cannot be read.

  Attributes:
    faults: list of str, each "field is value; accepted: ...".
  """

  def __init__(self, faults, heading='the run cannot start'):
    super().__init__(f'{heading}:\n' + '\n'.join(f'  - {fault}' for fault in faults))
    self.faults = list(faults)


class Faults(list):
  """Collects faults; `stop` raises them."""

  def attempt(self, function, *args, field='', **kwargs):
    """Calls a function; if it raises, adds its faults behind `field` and returns None."""
    try:
      return function(*args, **kwargs)
    except (ValueError, OSError) as error:
      found = error.faults if isinstance(error, FaultsError) else [str(error)]
      self += [f'{field}: {fault}' if field else fault for fault in found]
      return None

  def unless(self, condition, fault):
    """Adds a fault if a condition does not hold."""
    if not condition:
      self.append(fault)

  def stop(self, *heading):
    """Raises `FaultsError`, under a heading, if there are faults."""
    if self:
      raise FaultsError(self, *heading)
