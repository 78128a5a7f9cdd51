"""A headless Chromium, driven over the pipe of its DevTools protocol."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--remote-debugging-pipe',
  '--no-first-run',
)
FLAGS += ('--disable-background-networking', '--autoplay-policy=no-user-gesture-required')
# Chromium reads from descriptor 3 and writes to 4. The ends are moved away first: they may lie in
# these places.
LAUNCH = """import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
  os.dup2(end, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""
TIMEOUT = 30
# The answer to a question that a page was asked as it was left for another.
LEFT = 'Runtime.evaluate: Inspected target navigated or closed'


def program():
  """The path of a Chromium, None if there is none."""
  return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextlib.contextmanager
def browser(folder):
  """Runs a browser whose profile lies in `folder`; gives a `Browser`."""
  (commands, send), (receive, answers) = os.pipe(), os.pipe()
  line = [sys.executable, '-I', '-c', LAUNCH, str(commands), str(answers), program(), *FLAGS]
  line += [f'--user-data-dir={folder}', 'about:blank']
  with open(folder / 'log', 'wb') as log:
    process = subprocess.Popen(line, pass_fds=(commands, answers), stdout=log, stderr=log)
  os.close(commands), os.close(answers)
  try:
    made = Browser(send, receive)
    yield made
    made.call('Browser.close')
    process.wait(TIMEOUT)
  finally:
    process.kill()
    process.wait()
    os.close(send), os.close(receive)


class Browser:
  """The connection; messages are JSON, each with a NUL behind it."""

  def __init__(self, send, receive):
    self.ends, self.rest, self.number, self.pages = (send, receive), b'', 0, {}

  def call(self, method, session=None, **params):
    """Calls a method of the protocol and returns its result; RuntimeError if it fails."""
    self.number += 1
    message = {'id': self.number, 'method': method, 'params': params}
    if session:
      message['sessionId'] = session
    left = json.dumps(message).encode() + b'\0'
    while left:
      left = left[os.write(self.ends[0], left) :]
    deadline = time.monotonic() + TIMEOUT
    while True:
      got = self._read(deadline, method)
      if got.get('id') == message['id']:
        if 'error' in got:
          raise RuntimeError(f'{method}: {got["error"]["message"]}')
        return got['result']
      if got.get('sessionId') in self.pages:
        self.pages[got['sessionId']].events.append(got)

  def _read(self, deadline, method):
    while b'\0' not in self.rest:
      if not select.select(self.ends[1:], [], [], max(0, deadline - time.monotonic()))[0]:
        raise TimeoutError(f'{method} was not answered')
      got = os.read(self.ends[1], 1 << 20)
      if not got:
        raise RuntimeError(f'the browser ended during {method}')
      self.rest += got
    first, _, self.rest = self.rest.partition(b'\0')
    return json.loads(first)

  def open(self, path, width, height=700):
    """Opens a file in a page of that size, without a network."""
    page = self._page(width, height)
    page.call(
      'Network.emulateNetworkConditions',
      offline=True,
      latency=0,
      downloadThroughput=-1,
      uploadThroughput=-1,
    )
    page.call('Page.navigate', url=path.as_uri())
    page.wait_for('location.protocol === "file:" && document.readyState === "complete"')
    return page

  def visit(self, address, width, height=700):
    """Opens an address of this machine in a page of that size."""
    page = self._page(width, height)
    # A page in the background draws nothing, and some wait for that.
    page.call('Page.bringToFront')
    page.call('Page.navigate', url=address)
    page.wait_for('location.protocol === "http:" && document.readyState === "complete"')
    return page

  def _page(self, width, height):
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    page = Page(
      self, self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
    )
    self.pages[page.session] = page
    for domain in ('Page', 'Runtime', 'Network'):
      page.call(f'{domain}.enable')
    page.resize(width, height)
    return page


class Page:
  """One page and the events that came from it."""

  def __init__(self, browser, session):
    self.browser, self.session, self.events = browser, session, []

  def call(self, method, **params):
    return self.browser.call(method, self.session, **params)

  def resize(self, width, height):
    self.call(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=height,
      deviceScaleFactor=1,
      mobile=False,
    )

  def evaluate(self, expression):
    """The value of a JavaScript expression, that of its promise if it is one."""
    got = self.call(
      'Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True
    )
    if 'exceptionDetails' in got:
      raise RuntimeError(f'{expression}: {got["exceptionDetails"]}')
    return got['result'].get('value')

  def wait_for(self, expression, seconds=15):
    """Waits until an expression is true, also across a change of the page; AssertionError after
    that time.
    """
    deadline = time.monotonic() + seconds
    while not self._is_true(expression):
      assert time.monotonic() < deadline, f'never true: {expression}'
      time.sleep(0.05)

  def _is_true(self, expression):
    try:
      return self.evaluate(expression)
    except RuntimeError as error:
      if str(error) != LEFT:
        raise
      # The next page is asked again.
      return False

  def upload(self, selector, path):
    """Puts a file into an <input type="file">."""
    found = self.call('Runtime.evaluate', expression=f'document.querySelector({selector!r})')
    self.call('DOM.setFileInputFiles', files=[str(path)], objectId=found['result']['objectId'])

  def drag(self, start, end=None):
    """Presses the mouse at a point {'x', 'y'}, and lets go there or at another one."""
    moves = [('mousePressed', start), ('mouseMoved', end), ('mouseReleased', end or start)]
    for kind, at in moves:
      if at:
        self.call('Input.dispatchMouseEvent', type=kind, **at, button='left', clickCount=1)

  def screenshot(self, path):
    path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot', format='png')['data']))

  def found(self, method):
    """The parameters of all events of that kind so far."""
    self.evaluate('0')  # what came before its answer is then read
    return [event['params'] for event in self.events if event['method'] == method]

  def close(self):
    self.call('Page.close')
