"""Names of the hub, and downloads from a hub on loopback."""

import os
import subprocess
import sys

import pytest
from etils import epath

from tests.helpers import fake_hub
from uniedit_jax.runtime import hub

FILES = {'config.json': '{}', 'a/model.bin': b'weights' * 1000, 'a/model [1].bin': b'1', 'b/c': 'c'}


@pytest.mark.parametrize(
  'name, expected',
  [
    ('owner/repo', ('owner/repo', '', None)),
    ('CompVis/stable-diffusion-v1-4/', ('CompVis/stable-diffusion-v1-4', '', None)),
    ('owner/repo/a/model.bin', ('owner/repo', 'a/model.bin', None)),
    ('owner/repo@v1.0', ('owner/repo', '', 'v1.0')),
    ('owner/repo/a b/c@refs/pr/4', ('owner/repo', 'a b/c', 'refs/pr/4')),
    ('hf://tests/helpers', ('tests/helpers', '', None)),
  ],
)
def test_a_hub_id_is_read_from_its_text(name, expected):
  assert (
    hub.hub_id(name)
    == expected
    == hub.hub_id(str(hub.HubId(*expected)).replace('tests/', 'hf://tests/'))
  )


@pytest.mark.parametrize(
  'name',
  [
    'sprites', '', 'lavie_base.pt', '/owner/repo', './owner/repo', '~/owner/repo', '../a/b',
    'gs://owner/repo', 'https://host/owner/repo', 'owner/../repo', 'owner/repo/../x', 'a b/c',
    'owner//repo', 'owner/repo@', 'owner/repo@a/../b', 'x/' + 'y' * 97, 'a\0/b', '-x/y',
    # Folders of this repository, right and mistyped.
    'tests/helpers', 'tests/helpres', 'docs/x/y',
  ],
)  # fmt: skip
def test_local_names_and_addresses_are_no_hub_ids(name):
  assert hub.hub_id(name) is None


@pytest.mark.parametrize('name', ['hf://', 'hf://owner', 'hf:///owner/repo', 'hf://a/../b'])
def test_an_explicit_id_that_is_none_is_refused(name):
  with pytest.raises(ValueError, match='is no hub id; accepted: hf://owner/repo'):
    hub.hub_id(name)


def test_only_what_is_wanted_is_fetched_and_only_once(hub_server):
  hub_server.add('owner/repo', FILES)
  where = hub.place('owner/repo')
  assert hub.names(where, ('', 'a')) == ['a/model [1].bin', 'a/model.bin', 'config.json']
  folder = hub.fetch(where, ['config.json', 'a/model [1].bin'])
  assert (folder / 'a/model [1].bin').read_bytes() == b'1'
  assert not (folder / 'a/model.bin').exists()
  hub.fetch(where, ['config.json', 'a/model [1].bin'])
  fake_hub.forget()  # as another process
  hub.fetch(where, ['config.json', 'a/model [1].bin'])
  assert hub_server.fetched('owner/repo') == ['a/model [1].bin', 'config.json']


def test_paths_below_a_repository_are_places_too(hub_server):
  hub_server.add('owner/repo', FILES)
  assert hub.names(hub.place('owner/repo/a')) == ['model [1].bin', 'model.bin']
  folder = hub.fetch(hub.place('owner/repo/a@main'), ['model.bin'])
  assert folder.name == 'a' and (folder / 'model.bin').read_bytes() == FILES['a/model.bin']
  path = hub.fetch_file(hub.place('owner/repo/a/model.bin'))
  assert path.read_bytes() == FILES['a/model.bin']
  commit = hub_server.commit('owner/repo')
  assert hub.origin(path) == f'hf://owner/repo/a/model.bin@{commit}'
  assert hub_server.fetched('owner/repo') == ['a/model.bin']


def test_local_places_are_as_they_are(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a/x').touch()
  where = hub.place(tmp_path)
  assert hub.names(where) == [] and hub.names(where, ('a', 'missing')) == ['a/x']
  assert hub.fetch(where, ['a/x']) == where == epath.Path(tmp_path)
  assert hub.origin(tmp_path / 'a/x') == str(tmp_path / 'a/x')
  assert hub.fetch_file(tmp_path / 'a/x') == tmp_path / 'a/x'


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub_server):
  hub_server.add('owner/repo', {'big.bin': os.urandom(25_000_000)})
  hub_server.cut = 24_000_000  # the library keeps pieces of 10 MB
  try:
    path = hub.fetch_file(hub.place('owner/repo/big.bin'))
  except ValueError:  # of a release that does not try again by itself
    path = hub.fetch_file(hub.place('owner/repo/big.bin'))
  assert path.read_bytes() == (hub_server.root / 'owner/repo/big.bin').read_bytes()
  assert hub_server.sent < 40_000_000


def test_what_was_fetched_before_needs_no_network(hub_server, monkeypatch):
  hub_server.add('owner/repo', FILES)
  where = hub.place('owner/repo')
  folder = hub.fetch(where, ['b/c'])
  fake_hub.use(hub_server, folder.parents[2], monkeypatch, offline=True)
  assert hub.fetch(where, ['b/c']) == folder
  assert hub.names(where, ('', 'a', 'b')) == ['b/c']
  with pytest.raises(
    ValueError, match=r'owner/repo is neither here nor whole in .*HF_HUB_OFFLINE is set; acc'
  ):
    hub.fetch(where, ['config.json'])
  with pytest.raises(
    ValueError, match=r'owner/other is neither here nor whole in .*HF_HUB_OFFLINE is set; acc'
  ):
    hub.names(hub.place('owner/other'))


def test_without_network_the_message_says_so(hub_server, monkeypatch):
  monkeypatch.setattr(hub_server, 'address', 'http://127.0.0.1:9')  # where nobody listens
  fake_hub.use(hub_server, hub_server.root / 'cache', monkeypatch)
  for look in (hub.names, lambda where: hub.fetch(where, ['x'])):
    with pytest.raises(ValueError) as error:
      look(hub.place('owner/repo'))
    words = (
      'owner/repo is not here, and http://127.0.0.1:9 cannot be reached (',
      'accepted: a net',
    )
    assert all(word in str(error.value) for word in words), error.value
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'name, words',
  [
    ('owner/none', 'has no repository owner/none, or none for you; accepted: owner/repo[/path'),
    ('owner/repo/x.bin', 'owner/repo has no x.bin; it has a/model [1].bin, a/model.bin, b/c, co'),
    ('owner/repo/a/x.bin', 'owner/repo/a has no x.bin; it has a/model [1].bin, a/model.bin; acc'),
    ('owner/repo/b/c@v2', "owner/repo has no revision 'v2'; accepted: a branch, tag or commit"),
    ('owner/gated/b/c', 'is gated: http://127.0.0.1'),
  ],
)
def test_what_is_not_there_or_not_given_is_one_line(hub_server, name, words):
  hub_server.add('owner/repo', FILES)
  hub_server.add('owner/gated', FILES)
  hub_server.gated.add('owner/gated')
  with pytest.raises(ValueError) as error:
    hub.fetch_file(hub.place(name))
  assert words in str(error.value) and 'accepted: ' in str(error.value)
  assert '\n' not in str(error.value)


def test_a_token_of_the_environment_opens_gated_repositories(hub_server, monkeypatch):
  hub_server.add('owner/gated', FILES)
  hub_server.gated.add('owner/gated')
  monkeypatch.setenv('HF_TOKEN', 'hf_secret')
  assert hub.fetch_file(hub.place('owner/gated/b/c')).read_text() == 'c'
  assert hub_server.token == 'hf_secret'


def test_a_cache_that_cannot_be_written_is_named(hub_server, tmp_path, monkeypatch):
  hub_server.add('owner/repo', FILES)
  (tmp_path / 'file').touch()
  fake_hub.use(hub_server, tmp_path / 'file', monkeypatch)
  with pytest.raises((OSError, ValueError), match='file'):
    hub.fetch(hub.place('owner/repo'), ['b/c'])


def test_the_variables_of_the_library_hold(hub_server, tmp_path):
  hub_server.add('owner/repo', FILES)
  code = "from uniedit_jax.runtime import hub; print(hub.fetch_file(hub.place('owner/repo/b/c')))"
  environment = os.environ | hub_server.environment(tmp_path / 'home')
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=False, env=environment
  )
  assert done.stdout.startswith(str(tmp_path / 'home/hub/models--owner--repo')), done.stderr
  assert '%' in done.stderr or 'it/s' in done.stderr  # its progress
