"""All that is wrong with a config, told at once."""


class Faults(list):
  """Collects faults; `attempt` turns a raised ValueError into one."""

  def attempt(self, function, *args, field='', **kwargs):
    try:
      return function(*args, **kwargs)
    except (ValueError, OSError) as error:
      self.append(f'{field}: {error}' if field else str(error))
      return None

  def unless(self, condition, fault):
    if not condition:
      self.append(fault)

  def stop(self):
    if self:
      raise ValueError('the run cannot start:\n' + '\n'.join(f'  - {fault}' for fault in self))
