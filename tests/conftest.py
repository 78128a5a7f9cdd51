"""Shared by all tests: several CPU devices, exact matrix products, golden models, programs."""

import atexit
import gc
import os
import shutil
import tempfile

# Before jax is imported: tests of sharding need several devices, and most of a test's time goes
# into compilation.
os.environ['XLA_FLAGS'] = ' '.join(
  [
    os.environ.get('XLA_FLAGS', ''),
    '--xla_force_host_platform_device_count=8',
    '--xla_backend_optimization_level=0',
    '--xla_llvm_disable_expensive_passes=true',
    '--xla_cpu_use_fusion_emitters=false',
  ]
)

# No test reaches a network; those of the hub start one on loopback.
os.environ['HF_HUB_OFFLINE'] = '1'

# Programs that take long to compile are kept for the other test files and the other workers, which
# inherit the variable. The process that begins the tests removes them.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  os.environ['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='programs-')
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.3'
  atexit.register(shutil.rmtree, os.environ['JAX_COMPILATION_CACHE_DIR'], ignore_errors=True)

import jax
import numpy as np
import pytest

from tests.helpers import fake_hub, reference
from uniedit_jax.models.unet import UNetConfig

jax.config.update('jax_default_matmul_precision', 'highest')


@pytest.fixture(scope='module', autouse=True)
def _forget_programs():
  """Frees the programs of a file: thousands of them need more memory maps than Linux gives a
  process, which crashes.
  """
  yield
  jax.clear_caches()
  gc.collect()


@pytest.fixture(scope='session')
def small():
  """The model of `unet_small`, `null_text`."""
  return reference.Model(reference.SMALL, reference.golden_params('unet_small', reference.SMALL))


@pytest.fixture(scope='session')
def wide():
  """The model of `edit`, `sites`."""
  return reference.Model(reference.WIDE, reference.golden_params('edit', reference.WIDE))


@pytest.fixture(scope='session')
def tiny():
  """A model of random weights that compiles fast: two levels, 4 attention blocks."""
  config = UNetConfig(channels=(32, 64), heads=1, groups=4, layers_per_block=1, text_width=16)
  return reference.Model(config, reference.random_params(config, salt=1))


@pytest.fixture
def rng():
  """Random numbers, the same in every run."""
  return np.random.default_rng(0)


@pytest.fixture
def hub_server(tmp_path, monkeypatch):
  """A `FakeHub` that huggingface_hub uses in this process, with an empty cache."""
  with fake_hub.serve(tmp_path / 'served') as server:
    fake_hub.use(server, tmp_path / 'hub_cache', monkeypatch)
    yield server
  fake_hub.forget()
