"""Overrides that only comparison methods need: the field `comparison` of `AttentionOverride`.

`models.comparison_attention` applies them, and the sampler calls `CleanEdit` in its step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method.overrides import Source


class TextMaps(NamedTuple):
  """Replaces CA-S probabilities by those of another row (prompt-to-prompt, FateZero).

  The new map is source map @ taken + own map * kept; its rows need not add up to 1.

  Attributes:
    source: the row whose map is read.
    taken: f32[T, T], the weight of each of its tokens in each token of the own text.
    kept: f32[T], the weight of the own map. Nothing taken and all kept is the own map.
  """

  source: Source
  taken: jax.Array
  kept: jax.Array


class Flow(NamedTuple):
  """Computes SA-S for K keyframes and copies it to all F frames (TokenFlow).

  The first K of K + F frames are the keyframes. Each token copies the SA-S output of its nearest
  keyframe token; similarity is measured on the features of row `source`.

  Attributes:
    source: the row whose inputs of SA-S are compared.
    drawn: i32[K], the frames that are the keyframes.
    keyframes: i32[F, 2], the two of the K that each frame copies from.
    weights: f32[F], the share of the first of them.
  """

  source: Source
  drawn: jax.Array
  keyframes: jax.Array
  weights: jax.Array


class ComparisonOverride(NamedTuple):
  """Overrides of one attention block; stacked leaves gain leading axes as in `AttentionOverride`.

  Attributes:
    frames: i32[F, X], the X frames whose keys and values a frame of SA-S attends to; None: its
      own. A frame named twice counts once, so the own frame X times is plain attention.
    text_maps: `TextMaps` of CA-S, or None.
    residual: source of the residual of the resnet before this block (before the shortcut).
    flow: `Flow` of SA-S, or None.
  """

  frames: jax.Array | None = None
  text_maps: TextMaps | None = None
  residual: Source | None = None
  flow: Flow | None = None


class CleanEdit(NamedTuple):
  """Edits the predicted clean latents: first-frame AdaIN and warp (Rerender-A-Video).

  Attributes:
    level: f32[2], the powers of signal and noise in the latents before the step.
    tone: bool[], whether every frame gets mean and deviation of each channel of the first.
    warp: i32[F, H W], the token of the first frame that is seen at each token.
    share: f32[F, H, W, 1], the weight of the warped first frame, after the change of tone.
  """

  level: np.ndarray
  tone: np.ndarray
  warp: np.ndarray
  share: np.ndarray

  def __call__(self, latents, epsilon):
    """The latents f32[*b, F, H, W, C] from which `epsilon` points to the edited clean latents."""
    signal, noise = self.level
    clean = (latents - jnp.sqrt(noise) * epsilon) / jnp.sqrt(signal)
    mean, deviation = (f(clean, axis=(-3, -2), keepdims=True) for f in (jnp.mean, jnp.std))
    first = lambda x: x[..., :1, :, :, :]
    toned = (clean - mean) / (deviation + 1e-5) * first(deviation) + first(mean)
    changed = jnp.where(self.tone, toned, clean)
    tokens = first(clean).reshape(*clean.shape[:-4], -1, clean.shape[-1])
    warped = jnp.take(tokens, self.warp, axis=-2, mode='clip').reshape(clean.shape)
    changed = changed + self.share * (warped - changed)
    return latents + jnp.sqrt(signal) * (changed - clean)
