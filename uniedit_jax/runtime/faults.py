"""Faults of what a person or a file hands in, all reported at once."""


class FaultsError(ValueError):
  """The faults for which a run cannot start.

  Attributes:
    faults: list of str, each "field is value; accepted: ...".
  """

  def __init__(self, faults):
    super().__init__('the run cannot start:\n' + '\n'.join(f'  - {fault}' for fault in faults))
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

  def stop(self):
    """Raises `FaultsError` if there are faults."""
    if self:
      raise FaultsError(self)
