"""What happens when something on the page is touched: from its values to what is shown."""

import time

import gradio as gr

from experiments.app import form, previews, show
from experiments.app.session import Failed, Made, Progress
from uniedit_jax.runtime.faults import FaultsError

BEAT = 0.15  # seconds between two looks of a progress bar


class Handlers:
  """The handlers of a page.

  Attributes:
    inputs: dict {name in `form.FIELDS`: component}.
    slots: dict {place of `form.PLACES`: component of its faults}.
    outputs: dict of the components 'status', 'results', 'gallery', 'painter'.
  """

  def __init__(self, start, session, inputs, slots, outputs):
    self._start, self._session = start, session
    self.inputs, self.slots, self.outputs = inputs, slots, outputs

  @property
  def components(self):
    """All that a run may change."""
    return [*self.outputs.values(), *self.slots.values()]

  def open(self):
    """What a page shows that has just been opened: also the edits from before it was reloaded."""
    results, painter = gr.skip(), gr.skip()
    if self._session.edits:
      last = self._session.edits[-1]
      results, painter = show.results([last]), show.painter_of(last)
    else:
      results, painter, _ = self.look(*form.first_values(self._start).values())
    return results, show.gallery(self._session.edits), painter

  def look(self, *values):
    """Shows a source as the model sees it; its faults are shown next to it."""
    values, clear = dict(zip(form.FIELDS, values, strict=True)), gr.HTML('', visible=False)
    try:
      found = previews.preview(
        self._start, values, self._session.readers, self._session.folder / 'sources'
      )
    except FaultsError as error:
      return gr.skip(), gr.skip(), self._faults(error.faults)
    if found is None:
      return '<p class="uniedit-soft">The clip is generated with the edit.</p>', gr.skip(), clear
    shown = show.source(found.path, found.size[1:], found.fps, found.note)
    return shown, show.painter({'source': found.sheet}, {}, found.size), clear

  def preset(self, *chosen):
    """The ranges that a preset sets, of task, preset, steps and masks."""
    return self._ranges(form.preset_values, *chosen)

  def masks(self, *chosen):
    """The ranges that a preset sets to other values as soon as there are masks, or none."""
    return self._ranges(form.mask_values, *chosen)

  def brushed(self, *chosen):
    """The choice of masks after a first stroke, and what follows from it."""
    *others, masks = chosen
    ranges = [gr.skip()] * (len(form.RANGES) + 1)
    return ['brushed', *(self.masks(*others, 'brushed') if masks == 'none' else ranges)]

  def _ranges(self, values_of, task, preset, steps, masks):
    try:
      values = values_of(self._start, task, preset, steps, masks != 'none')
    except ValueError as error:
      raise gr.Error(str(error)) from error
    return [values.get(name, gr.skip()) for name in (*form.RANGES, 'tensors')]

  def stretch(self, steps, before, *ranges):
    """The step ranges for another number of steps."""
    names = [name for name in form.RANGES if name.endswith('.steps')]
    values = form.scaled(dict(zip(names, ranges, strict=True)), before, steps)
    return [*(gr.HTML(values[name], max=int(steps)) for name in names), int(steps)]

  def cancel(self):
    """Stops the run at its next step."""
    return gr.skip() if self._session.cancel() else show.status('nothing runs', 'failed')

  def edit_again(self, live, *values):
    """`edit`, where the page is to follow its sliders."""
    if live:
      yield from self.edit(live, *values)
    else:
      yield {self.outputs['status']: gr.skip()}

  def edit(self, _, *values):
    """Makes the edits that the page asks for, and shows each as it is finished."""
    status, slots = self.outputs['status'], self.slots
    yield {status: show.progress('checking', None)}
    values = dict(zip(form.FIELDS, values, strict=True))
    try:
      folder = self._session.folder / 'masks'
      edits = form.read_edits(self._start, values, self._session.readers, folder)
    except FaultsError as error:
      count = len(error.faults)
      found = {
        slots[place]: self._faults(some) for place, some in form.by_place(error.faults).items()
      }
      text = f'{count} fault{"" if count == 1 else "s"}, shown where the value was given'
      yield {status: show.status(text, 'failed')} | found
      return
    yield {slot: gr.HTML('', visible=False) for slot in slots.values()}
    yield from self._run(edits)

  def _run(self, edits):
    status, made, failed, shown = self.outputs['status'], [], '', 0.0
    for event in self._session.run(edits):
      if isinstance(event, Progress) and (event.share is None or time.monotonic() - shown > BEAT):
        shown = time.monotonic()
        yield {status: show.progress(*event)}
      elif isinstance(event, Failed):
        failed = event.text
      elif isinstance(event, Made):
        made.append(event)
        yield {
          self.outputs['results']: show.results(made),
          self.outputs['gallery']: show.gallery(self._session.edits),
          self.outputs['painter']: show.painter_of(event),
        }
    text = failed or made[-1].cost.text
    yield {status: show.status(text, 'failed' if failed else 'done')}

  def _faults(self, found):
    """The update of a slot."""
    shown = show.faults(found, self._session.folder / 'uploads')
    return gr.HTML(shown, visible=bool(shown))
