"""The page: its components, and what happens when they are touched."""

import gradio as gr

from experiments.app import form, parts, show
from experiments.app.handlers import Handlers
from experiments.app.session import devices
from uniedit_jax.method.injection import INJECTION_NAMES
from uniedit_jax.pipeline.check import INJECTIONS

TITLES = {
  'structure': ('Structure control', 'keeps the layout: queries and keys of the reconstruction'),
  'content': ('Content preservation', 'keeps the look: values of the reconstruction'),
  'motion': ('Motion injection', 'the new motion: queries and keys of the motion reference'),
  'motion_query': ('Motion query', 'with masks: queries of the motion reference'),
  'background': ('Background enhance', 'with masks: values of the reconstruction outside'),
  'guided': ('Mask-guided attention', 'with masks: foreground and background apart'),
}
MOVES = ('pan', 'tilt', 'zoom', 'rotate', 'arc')
TITLE = 'UniEdit'


def build(start, session):
  """The page as `gr.Blocks`.

  Args:
    start: `form.Start`.
    session: `session.Session`.
  """
  values = form.first_values(start)
  inputs, slots, buttons, outputs = {}, {}, {}, {}
  with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
    gr.HTML(_head(start), apply_default_css=False)
    with gr.Row():
      with gr.Column(scale=4, min_width=300):
        _ask(start, values, inputs, slots)
        buttons['live'] = gr.Checkbox(True, label='edit again when a slider is let go')
        with gr.Row():
          buttons['edit'] = gr.Button('Edit', variant='primary', elem_id='edit', min_width=100)
          buttons['cancel'] = gr.Button('Cancel', elem_id='cancel', min_width=100)
        slots['general'] = _slot('general')
      with gr.Column(scale=9, min_width=300):
        outputs['status'] = gr.HTML(elem_id='status', apply_default_css=False)
        outputs['results'] = gr.HTML(elem_id='results', apply_default_css=False)
        with gr.Tabs():
          with gr.Tab('Injections', visible=start.request.method == INJECTIONS):
            _injections(start, values, inputs, slots)
          with gr.Tab('Masks', visible=start.request.method == INJECTIONS):
            _masks(values, inputs, slots)
            outputs['painter'] = parts.make_painter()
    gr.HTML('<h2>Edits of this session</h2>', apply_default_css=False)
    outputs['gallery'] = gr.HTML(elem_id='gallery', apply_default_css=False)
    inputs['brushed'] = gr.Textbox('', visible=False)
    scaled_for = gr.State(values['steps'])
    handlers = Handlers(start, session, inputs, slots, outputs)
    _wire(page, handlers, buttons, scaled_for)
  return page


def _head(start):
  """The title, and what runs here."""
  request = start.request
  _, height, width = request.clip.size
  model = f'{start.model_config.name}, {request.clip.frames} frames of {width} × {height}'
  method = '' if request.method == INJECTIONS else f', method {request.method}'
  return (
    f'<div class="uniedit-head"><h1>UniEdit: edit the motion or the look of a clip by a prompt</h1>'
    f'<p>{show.escape(model)}{show.escape(method)}, on {show.escape(devices())}</p></div>'
  )


def _slot(place):
  """Where the faults of a place are shown."""
  return gr.HTML('', visible=False, elem_id=f'faults-{place}', apply_default_css=False)


def _ask(start, values, inputs, slots):
  """The source, the prompts and the sampler."""
  inputs['file'] = gr.File(
    label='Drop a video or a still',
    height=150,
    elem_id='file',
  )
  with gr.Accordion('Frames, camera, or no source', open=False):
    with gr.Row():
      inputs['start'] = gr.Number(values['start'], label='first frame', precision=0, min_width=90)
      inputs['stride'] = gr.Number(values['stride'], label='every n-th', precision=0, min_width=90)
      inputs['fit'] = gr.Radio(
        ['stretch', 'crop'], value=values['fit'], label='to the size by', min_width=150
      )
    with gr.Row():
      inputs['move'] = gr.Dropdown(
        sorted({*MOVES, values['move']}), value=values['move'], label='camera move of a still'
      )
      inputs['amount'] = gr.Number(values['amount'], label='amount (empty: its default)')
    inputs['generated'] = gr.Checkbox(
      values['generated'], label='no source: generate the clip from its prompt and seed'
    )
  slots['source'] = _slot('source')
  inputs['source_prompt'] = gr.Textbox(
    values['source_prompt'], label='What it shows', elem_id='source-prompt',
    placeholder='may stay empty for real videos',
  )  # fmt: skip
  slots['source_prompt'] = _slot('source_prompt')
  inputs['targets'] = gr.Textbox(
    values['targets'], label='What it should show (a line each: several edits)', lines=2,
    elem_id='targets', placeholder='a cat is waving its paw',
  )  # fmt: skip
  slots['targets'] = _slot('targets')
  with gr.Row():
    inputs['task'] = gr.Radio(
      ['motion', 'appearance'], value=values['task'], label='Edit its', elem_id='task',
      min_width=150,
    )  # fmt: skip
    inputs['preset'] = gr.Radio(
      ['paper', 'release'], value=values['preset'], label='Preset of all ranges', elem_id='preset',
      min_width=150, visible=start.request.method == INJECTIONS,
    )  # fmt: skip
  slots['task'] = _slot('task')
  with gr.Row():
    inputs['steps'] = gr.Slider(
      1, max(100, values['steps']), values['steps'], step=1, label='steps',
      elem_id='steps', min_width=150, buttons=[],
    )  # fmt: skip
    inputs['guidance'] = gr.Slider(
      1, max(20, values['guidance']), values['guidance'], step=0.5, label='guidance',
      elem_id='guidance', min_width=150, buttons=[],
    )  # fmt: skip
  slots['steps'], slots['guidance'] = _slot('steps'), _slot('guidance')
  inputs['seeds'] = gr.Textbox(
    values['seeds'], label='Seeds (0, 1 or 4-7; a clip that is given needs one)', elem_id='seeds'
  )
  slots['seeds'] = _slot('seeds')


def _injections(start, values, inputs, slots):
  """The ranges of all injections."""
  for row in (INJECTION_NAMES[:3], INJECTION_NAMES[3:]):
    with gr.Row():
      for name in row:
        with gr.Column(min_width=220, elem_classes='uniedit-tight'):
          title, says = TITLES[name]
          gr.HTML(f'<b>{title}</b><br><span class="uniedit-soft">{says}</span>')
          for kind, largest in (('steps', values['steps']), ('blocks', start.blocks)):
            field = f'{name}.{kind}'
            inputs[field] = parts.make_range(kind, values[field], largest, field)
          if name == 'content':
            inputs['tensors'] = gr.Radio(
              list(form.TENSORS), value=values['tensors'], show_label=False, container=False
            )
          slots[name] = _slot(name)


def _masks(values, inputs, slots):
  """Where the masks come from."""
  inputs['masks'] = gr.Radio(
    [
      ('none', 'none'),
      ('found in attention, for every edit', 'found'),
      ('as brushed below', 'brushed'),
    ],
    value=values['masks'], label='Masks', elem_id='masks',
  )  # fmt: skip
  gr.HTML(
    '<p class="uniedit-soft">After an edit with found masks they lie over the frames in red; '
    'brush to mend them. The mask of the edit is drawn over the motion reference.</p>'
  )
  slots['masks'] = _slot('masks')


def _wire(page, handlers, buttons, scaled_for):
  """Connects what is touched with what happens."""
  inputs, everything = handlers.inputs, handlers.components
  listed = [inputs[name] for name in form.FIELDS]
  outputs = handlers.outputs
  page.load(handlers.open, None, [outputs['results'], outputs['gallery'], outputs['painter']])
  run = {
    'inputs': [buttons['live'], *listed],
    'outputs': everything,
    'js': '(...values) => uniedit.collect(values)',
    'show_progress': 'hidden',
    'concurrency_id': 'edit',
    'concurrency_limit': 1,
  }
  buttons['edit'].click(handlers.edit, **run)
  sliders = [inputs[name] for name in form.RANGES]
  for slider in (*sliders, inputs['guidance']):
    slider.release(handlers.edit_again, trigger_mode='always_last', **run)
  buttons['cancel'].click(handlers.cancel, None, outputs['status'], queue=False)
  # A new source is shown as the model will see it.
  for name in ('file', 'start', 'stride', 'fit', 'move', 'amount', 'generated'):
    inputs[name].change(
      handlers.look, listed, [outputs['results'], outputs['painter'], handlers.slots['source']],
      show_progress='minimal', trigger_mode='always_last', concurrency_limit=1,
    )  # fmt: skip
  # A preset sets all ranges; another number of steps stretches them.
  ranges = [*sliders, inputs['tensors']]
  chosen = [inputs[name] for name in ('task', 'preset', 'steps', 'masks')]
  for name in ('task', 'preset'):
    inputs[name].input(handlers.preset, chosen, ranges, show_progress='hidden')
  inputs['masks'].input(handlers.masks, chosen, ranges, show_progress='hidden')
  outputs['painter'].input(
    handlers.brushed, chosen, [inputs['masks'], *ranges], show_progress='hidden'
  )
  steps = [inputs[name] for name in form.RANGES if name.endswith('.steps')]
  inputs['steps'].release(
    handlers.stretch, [inputs['steps'], scaled_for, *steps], [*steps, scaled_for],
    show_progress='hidden',
  )  # fmt: skip
