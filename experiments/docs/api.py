"""Writes the pages of the Python API, and fails where a link in them leads nowhere.

  python -m experiments.docs.api --out=out/api

Needs `pip install -e '.[docs]'`. The pages are those of pdoc, made from the docstrings of
`uniedit_jax`; `index.html` leads to all of them.
"""

import html.parser
import pathlib
import pkgutil
import urllib.parse

from absl import app, flags

import uniedit_jax
from experiments.launch import in_one_line

_OUT = flags.DEFINE_string('out', 'out/api', 'Folder to write.')


class Links(html.parser.HTMLParser):
  """The links and the anchors of a page.

  Attributes:
    links: what its `href`s say.
    anchors: its ids.
  """

  def __init__(self):
    super().__init__()
    self.links, self.anchors = [], set()

  def handle_starttag(self, tag, attrs):
    del tag
    found = dict(attrs)
    self.anchors |= {found['id']} if found.get('id') else set()
    self.links += [found['href']] if found.get('href') else []


def broken_links(folder):
  """The links of all pages of a folder that lead to no page or anchor there: [(page, link)].

  Links to other sites are not followed.
  """
  pages = {}
  for path in sorted(folder.rglob('*.html')):
    pages[path.resolve()] = page = Links()
    page.feed(path.read_text())
  broken = []
  for path, page in pages.items():
    for link in page.links:
      parts = urllib.parse.urlsplit(link)
      if parts.scheme or parts.netloc:
        continue
      target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
      anchor = urllib.parse.unquote(parts.fragment)
      is_there = target in pages or (target.is_file() and not anchor)
      # pdoc links the inherited members of a class, of which it shows none from other packages.
      wanted = {anchor, anchor.rpartition('.')[0]}
      if not is_there or (anchor and not wanted & pages[target].anchors):
        broken.append((path.relative_to(folder.resolve()), link))
  return broken


def main(_):
  """Writes the pages and lists the links that are broken."""
  import pdoc

  folder = pathlib.Path(_OUT.value)
  with in_one_line():
    pdoc.render.configure(docformat='google', footer_text='uniedit_jax')
    for name in uniedit_jax.__all__:  # pdoc does not see what is loaded when it is first used
      setattr(uniedit_jax, name, getattr(uniedit_jax, name))
    rooms = pkgutil.iter_modules(uniedit_jax.__path__, 'uniedit_jax.')
    pdoc.pdoc('uniedit_jax', *(room.name for room in rooms), output_directory=folder)
    broken = broken_links(folder)
    if broken:
      raise ValueError('\n'.join(f'{page}: {link} leads nowhere' for page, link in broken))
  print(f'wrote {folder}/index.html and {len([*folder.rglob("*.html")]) - 1} pages')


if __name__ == '__main__':
  app.run(main)
