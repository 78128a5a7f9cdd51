"""The links of the documentation lead somewhere."""

import pathlib
import re

import pytest

from experiments.docs import api

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')])
LINK = re.compile(r'\]\(([^)\s]+)\)')
CODE = re.compile(r'```.*?```', re.DOTALL)


def anchors(path):
  """The anchors of the headings of a page, as GitHub makes them."""
  heads = re.findall(r'^#+ +(.+)$', CODE.sub('', path.read_text()), re.MULTILINE)
  plain = (re.sub(r'[^\w\- ]', '', head.lower()) for head in heads)
  return {head.replace(' ', '-') for head in plain}


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)
def test_links_of_a_page_lead_to_files_and_headings(page):
  for link in LINK.findall(CODE.sub('', page.read_text())):
    if re.match(r'[a-z]+:', link):
      continue
    name, _, anchor = link.partition('#')
    target = page.parent / name if name else page
    assert target.exists(), f'{page.name} links to {link}'
    assert not anchor or anchor in anchors(target), f'{page.name} links to {link}'


def test_every_page_of_docs_is_in_its_index():
  index = (ROOT / 'docs/README.md').read_text()
  assert [page.name for page in PAGES if page.parent.name == 'docs' and page.name not in index] == [
    'README.md'
  ]


def test_broken_links_of_pages_are_found(tmp_path):
  pages = {
    'index.html': '<a href="a/b.html#there">x</a><a href="#top" id="top">x</a><a href="x.html">',
    'a/b.html': '<p id="there"><a href="../index.html#none"><a href="https://e.org/none">',
  }
  (tmp_path / 'a').mkdir()
  for name, content in pages.items():
    (tmp_path / name).write_text(content)
  found = [(str(page), link) for page, link in api.broken_links(tmp_path)]
  assert found == [('a/b.html', '../index.html#none'), ('index.html', 'x.html')]
