"""Whether a request fits the memory of the device."""

from uniedit_jax.runtime import memory


def fits(request):
  """Whether sampling fits the device, as far as that is known."""
  available = memory.available()
  return available is None or needed(request, _rows(request)) <= available


def _rows(request):
  """The rows of the largest pass."""
  return max(max(phase['passes']) for phase in request.layout.plan.phases)


def needed(request, rows):
  """Estimates the bytes that sampling `rows` rows at once needs."""
  frames = request.window[0] if request.window else request.clip['frames']
  size = frames, request.clip['height'], request.clip['width']
  return memory.needed(request.model_config, rows, *size, request.dtype, request.parameters)


def check(config, request, faults):
  """Compares what sampling needs with what the device has.

  Args:
    config: ConfigDict of an edit.
    request: `Request`.
    faults: `Faults`; one that is added names the setting that fits.

  Returns:
    list of warnings.
  """
  if fits(request):
    return []
  available, rows = memory.available(), _rows(request)
  gib = lambda number: f'{number / 2**30:.1f} GiB'
  message = f'{rows} rows a pass need about {gib(needed(request, rows))} and the device has {gib(available)}'
  fitting = [r for r in range(1, rows) if needed(request, r) <= available]
  if config.rows_per_pass is None and fitting and not request.baseline:  # these are not split
    faults.append(f'rows_per_pass is not set: {message}; accepted: rows_per_pass={fitting[-1]}')
    return []
  return [f'{message}; fewer frames, a smaller clip or dtype=bfloat16 would need less']
