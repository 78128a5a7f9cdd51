"""Serves the page: on this machine alone unless told otherwise, and nothing but its own folder."""

import os
import pathlib
import tempfile
from typing import Any, NamedTuple

from etils import epath

from uniedit_jax.runtime.files import folder_fault

HOST, MEGABYTES = '127.0.0.1', 200
# Folders of the session whose files the page may ask for.
SERVED = ('edits', 'sources')


class App(NamedTuple):
  """A running app: its `gr.Blocks`, its `session.Session` and its address."""

  page: Any
  session: Any
  address: str


class OwnFilesOnly:
  """Refuses all files but those of some folders, whatever gradio would serve or fetch: ASGI."""

  def __init__(self, app, folders):
    self._app, self._folders = app, [os.path.realpath(folder) for folder in folders]

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http' or self._is_own(scope['path']):
      await self._app(scope, receive, send)
      return
    headers = [(b'content-type', b'text/plain')]
    await send({'type': 'http.response.start', 'status': 403, 'headers': headers})
    await send({'type': 'http.response.body', 'body': b'only files of this session'})

  def _is_own(self, path):
    _, is_file, name = path.partition('/file=')
    # Links are followed first.
    real = os.path.realpath(name)
    inside = any(real.startswith(folder + os.sep) for folder in self._folders)
    return inside if is_file else '/proxy=' not in path


def make_folder(workdir=None):
  """The folder of a session, epath.Path: that of a flag, or a new temporary one.

  Raises:
    ValueError: the folder cannot be one.
  """
  if not workdir:
    return epath.Path(tempfile.mkdtemp(prefix='uniedit_app_'))
  if fault := folder_fault(workdir):
    raise ValueError(f'workdir is {fault}')
  folder = epath.Path(workdir).expanduser()
  folder.mkdir(parents=True, exist_ok=True)
  return epath.Path(pathlib.Path(folder).resolve())


def set_up(folder):
  """Tells gradio where its files go, and to report nothing; before it is imported."""
  os.environ['GRADIO_TEMP_DIR'] = str(folder / 'uploads')
  # Else files of the working directory's .gradio would be served.
  os.environ['GRADIO_EXAMPLES_CACHE'] = str(folder / 'examples')
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  for name in (*SERVED, 'uploads', 'examples'):
    (folder / name).mkdir(exist_ok=True)


def launch(start, folder, *, host=HOST, port=None, share=False, megabytes=MEGABYTES):
  """Starts the server in threads: `App`.

  Args:
    start: `form.Start`.
    folder: of the session (`make_folder`).
    host, port: where it listens; None: the first free port from 7860 on.
    share: whether gradio makes a public address.
    megabytes: of the largest upload.
  """
  set_up(folder)
  import gradio as gr  # after `set_up`
  from starlette.middleware import Middleware

  from experiments.app import layout, parts
  from experiments.app.session import Session

  session = Session(folder)
  page = layout.build(start, session)
  own = [str(folder / name) for name in ('uploads', *SERVED)]
  page.queue(default_concurrency_limit=4)
  _, address, shared = page.launch(
    prevent_thread_lock=True,
    server_name=host,
    server_port=port,
    share=share,
    inline=False,
    quiet=True,
    show_error=True,
    footer_links=[],
    run_history=False,
    enable_monitoring=False,
    ssr_mode=False,
    mcp_server=False,
    allowed_paths=own[1:],
    max_file_size=megabytes * 2**20,
    app_kwargs={
      'middleware': [Middleware(OwnFilesOnly, folders=own)],
      'docs_url': None,
      'redoc_url': None,
    },
    # Fonts of the system: the page asks no other machine for anything.
    theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
    css=parts.styles(),
    head=parts.script(),
  )
  return App(page, session, shared or address)


def show_in_notebook(config, height=1000):
  """Starts the page in the process of a notebook and shows it below the cell: `App`.

  Args:
    config: what it starts with, a ConfigDict.
    height: of the frame, pixels.
  """
  folder = make_folder()
  set_up(folder)
  from experiments.app import form

  app = launch(form.read_start(config), folder)
  try:
    from google.colab import output
  except ImportError:
    from IPython import display

    display.display(display.IFrame(app.address, '100%', height))
  else:
    # Colab's browser reaches the port through the kernel: no public address is needed.
    output.serve_kernel_port_as_iframe(app.page.server_port, height=height)
  return app
