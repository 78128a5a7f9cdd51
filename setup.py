"""Packaging: `pip install -e .` for use, `pip install -e '.[test]'` for work on it."""

import setuptools

# Upper bounds stand only where a later release is known to break us (flax) or to change layouts on
# disk.
INSTALL_REQUIRES = [
  'absl-py>=2.1',
  'etils[epath]>=1.7',
  'flax>=0.12,<0.13',
  'fsspec>=2024.1',
  'huggingface_hub>=0.26',
  'imageio-ffmpeg>=0.6',
  'jax>=0.10',
  'jinja2>=3.1',
  'matplotlib>=3.8',
  'ml_collections>=1.0',
  'numpy>=1.26',
  'optax>=0.2.3',
  'orbax-checkpoint>=0.11',
  'pillow>=10.1',
  'safetensors>=0.4',
  'tqdm>=4.66',
  'transformers>=4.50',  # tokenizers only
]

EXTRAS_REQUIRE = {
  'convert': ['torch>=2.5'],
  'cuda12': ['jax[cuda12]>=0.10'],
  'cuda13': ['jax[cuda13]>=0.10'],
  'tpu': ['jax[tpu]>=0.10'],
  # Paths that begin with gs:// or s3://.
  'gcs': ['gcsfs>=2024.1'],
  's3': ['s3fs>=2024.1'],
  # The live page.
  'app': ['gradio>=6.31'],
  # The pages of the API.
  'docs': ['pdoc>=15'],
  'test': ['hypothesis>=6', 'pytest>=8', 'pytest-xdist>=3.5', 'ruff>=0.14'],
  # What runs the notebooks outside of a notebook server.
  'notebooks': ['ipykernel>=6', 'nbclient>=0.10'],
  # The PyTorch originals that the marked parity tests compare with.
  'parity': ['torch>=2.5', 'diffusers>=0.31'],
}

setuptools.setup(
  name='uniedit_jax',
  version='0.2.0',
  description='UniEdit: tuning-free text-guided video editing, in functional JAX/Flax.',
  license='Apache-2.0',
  # Commands, configs and converters are run in a clone.
  packages=setuptools.find_packages(include=['uniedit_jax', 'uniedit_jax.*']),
  package_data={
    'uniedit_jax': ['py.typed'],
    'uniedit_jax.reports': ['static/*', 'templates/*'],
    'uniedit_jax.sprites': ['clip.mp4', 'checkpoint/*', 'checkpoint/tokenizer/*'],
  },
  python_requires='>=3.11',
  install_requires=INSTALL_REQUIRES,
  extras_require=EXTRAS_REQUIRE,
)
