"""A hub on loopback: answers the calls that huggingface_hub makes to look at and fetch files."""

import contextlib
import hashlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse

from huggingface_hub import constants

from uniedit_jax.runtime import hub


class FakeHub:
  """Serves the folders <root>/<owner>/<name> as repositories of one commit.

  Attributes:
    root: folder of the repositories.
    address: of the server.
    asked: list of (method, path) of all requests for content.
    gated: repositories that are given to those with `token` alone.
    token: the token that was sent last, or None.
    sent: number of bytes of files that were sent.
    cut: number of bytes after which the next answer breaks off, once; None: none does.
  """

  def __init__(self, root):
    self.root, self.asked, self.gated = pathlib.Path(root), [], set()
    self.token = self.cut = None
    self.sent = 0
    self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _handler(self))
    self.address = f'http://127.0.0.1:{self.server.server_port}'

  def add(self, repo, files):
    """Writes files {name: bytes or str} of a repository."""
    for name, content in files.items():
      path = self.root / repo / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content if isinstance(content, bytes) else content.encode())

  def names(self, repo):
    folder = self.root / repo
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())

  def commit(self, repo):
    return hashlib.sha1(repo.encode()).hexdigest()

  def fetched(self, repo):
    """Names of the files of a repository that were downloaded, each as often as it was."""
    begin = f'/{repo}/resolve/'
    return sorted(
      path.removeprefix(begin).partition('/')[2]
      for method, path in self.asked
      if method == 'GET' and path.startswith(begin)
    )

  def environment(self, cache):
    """The variables that make a command use this hub."""
    return {
      'HF_ENDPOINT': self.address,
      'HF_HOME': str(cache),
      'HF_HUB_OFFLINE': '0',
      'HF_HUB_DISABLE_XET': '1',
    }


@contextlib.contextmanager
def serve(root):
  """Yields a running `FakeHub`."""
  fake = FakeHub(root)
  thread = threading.Thread(target=fake.server.serve_forever, daemon=True)
  thread.start()
  try:
    yield fake
  finally:
    fake.server.shutdown()
    fake.server.server_close()
    thread.join()


def use(fake, cache, monkeypatch, offline=False):
  """Makes huggingface_hub, in this process, use a hub and a new cache."""
  template = fake.address + '/{repo_id}/resolve/{revision}/{filename}'
  for name, value in {
    'ENDPOINT': fake.address,
    'HUGGINGFACE_CO_URL_TEMPLATE': template,
    'HF_HUB_CACHE': str(cache),
    'HF_HUB_OFFLINE': offline,
    'HF_HUB_DISABLE_XET': True,
  }.items():
    monkeypatch.setattr(constants, name, value)
  forget()


def forget():
  """Forgets what this process knows of hubs."""
  hub._all_names.cache_clear()
  hub._fetch.cache_clear()


def _handler(fake):
  class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for one repository and revision at a time."""

    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
      pass

    def do_HEAD(self):
      self.do_GET()

    def do_GET(self):
      path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
      fake.token = (self.headers.get('Authorization') or '').removeprefix('Bearer ') or None
      about = re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?', path)
      file = re.fullmatch(r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path)
      if not (about or file):
        return self.refuse(404, 'EntryNotFound')
      repo, revision = (about[1], about[3]) if about else (file[1], file[2])
      if not (fake.root / repo).is_dir():
        return self.refuse(401, 'RepoNotFound')
      if revision not in (None, 'main', fake.commit(repo)):
        return self.refuse(404, 'RevisionNotFound')
      if repo in fake.gated and not fake.token and (file or about[2] == 'tree'):
        return self.refuse(403, 'GatedRepo')
      if about:
        return self.tell(repo, about[2])
      fake.asked.append((self.command, path))
      return self.give(repo, fake.root / repo / file[3])

    def tell(self, repo, kind):
      names = fake.names(repo)
      if kind == 'tree':
        content = [
          {
            'type': 'file',
            'path': name,
            'size': (fake.root / repo / name).stat().st_size,
            'oid': hashlib.sha1(name.encode()).hexdigest(),
          }
          for name in names
        ]
      else:
        siblings = [{'rfilename': name} for name in names]
        content = {'id': repo, 'sha': fake.commit(repo), 'siblings': siblings}
      self.answer(200, json.dumps(content).encode(), {'Content-Type': 'application/json'})

    def give(self, repo, path):
      if not path.is_file():
        return self.refuse(404, 'EntryNotFound')
      content = path.read_bytes()
      headers = {'X-Repo-Commit': fake.commit(repo), 'Accept-Ranges': 'bytes'}
      headers['ETag'] = f'"{hashlib.sha1(content).hexdigest()}"'
      status, begin = 200, self.headers.get('Range')
      if begin:
        start = int(re.fullmatch(r'bytes=(\d+)-.*', begin)[1])
        headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
        status, content = 206, content[start:]
      return self.answer(status, content, headers)

    def refuse(self, status, code):
      self.answer(status, b'', {'X-Error-Code': code, 'X-Error-Message': code})

    def answer(self, status, content, headers):
      self.send_response(status)
      for name, value in {**headers, 'Content-Length': str(len(content))}.items():
        self.send_header(name, value)
      self.end_headers()
      if self.command == 'HEAD':
        return
      cut = fake.cut if fake.cut is not None and len(content) > fake.cut else None
      if cut is not None:
        fake.cut = None
        content, self.close_connection = content[:cut], True
      fake.sent += len(content)
      self.wfile.write(content)

  return Handler
