"""Attention of the comparison methods: other frames, replaced text maps, residuals, keyframes.

UniEdit itself needs none of this: every function leaves the plain model as it is where
`AttentionOverride.comparison` is None. The fields of that pytree are those of
`baselines.overrides.ComparisonOverride`; no other module of the core reads them.
"""

import jax
import jax.numpy as jnp

from uniedit_jax.method.overrides import exchange


def _comparison(routes, name):
  """A field of `routes.comparison`; None without routes or without a comparison method."""
  return None if routes is None else getattr(routes.comparison, name, None)


def of_frames(x, routes):
  """Keys, values or their mask as the frames of SA-S see them: [F, N, C] -> [F, X N, C]."""
  frames = _comparison(routes, 'frames')
  if frames is None:
    return x
  x = jnp.take(x, frames, axis=0, mode='clip')
  return x.reshape(x.shape[0], -1, x.shape[-1])


def residual_source(routes, block):
  """The `Source` of the residual of the resnet before attention block `block`, or None."""
  residual = _comparison(routes, 'residual')
  return residual and jax.tree.map(lambda leaf: leaf[block], residual)


def text_map_replacement(routes):
  """The function from CA-S probabilities to those that replace them, or None."""
  text_maps = _comparison(routes, 'text_maps')
  if text_maps is None:
    return None
  source, taken, kept = text_maps
  return lambda maps: exchange(maps, source) @ taken + maps * kept


def split_keyframes(x, routes):
  """Splits off the frames that attend in SA-S.

  Args:
    x: f[K + F, N, C], keyframes first, where `comparison.flow` is set; else f[F, N, C].
    routes: `AttentionOverride` of one block, or None.

  Returns:
    (the K keyframes; function from their outputs f[K, N, C] to those of all K + F frames). Without
    `flow` all frames attend, and the function is the identity.
  """
  flow = _comparison(routes, 'flow')
  if flow is None:
    return x, lambda outputs: outputs
  features = exchange(x, flow.source)
  complete = lambda outputs: jnp.concatenate([outputs, propagate(features, outputs, flow)])
  return x[: len(flow.drawn)], complete


def propagate(features, outputs, flow):
  """Copies the outputs of keyframes to all frames, token by token (TokenFlow, Geyer et al. 2023).

  Args:
    features: f[K + F, N, C], compared by cosine similarity; those of the keyframes come first.
    outputs: f[K, N, C] of the keyframes.
    flow: `baselines.overrides.Flow`.

  Returns:
    f[F, N, C].
  """
  features = features.astype(jnp.float32)
  features /= jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
  keys, queries = jnp.split(features, [len(outputs)])

  def one_frame(inputs):
    query, pair, weight = inputs
    # N x N similarities are held for one frame at a time.
    nearest = lambda keyframe: outputs[keyframe][jnp.argmax(query @ keys[keyframe].T, axis=-1)]
    first, second = (nearest(pair[i]).astype(jnp.float32) for i in (0, 1))
    return (weight * first + (1 - weight) * second).astype(outputs.dtype)

  return jax.lax.map(one_frame, (queries, flow.keyframes, flow.weights))
