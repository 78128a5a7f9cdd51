"""Where q, k and v cross between rows: the `AttentionOverride` pytree and `exchange`, which alone
knows the row axis.

A *row* is one (branch, guidance half). All rows of an edit lie on one flat axis named `'row'`,
bound by `jax.vmap(..., axis_name='row')` around the UNet. An override says, for each of q, k and v
of a block's self-attentions, which row a token is read from. "Off" is the own row. Overrides are
arrays, so another setting of an injection is another value and never another program.

Shape legend used in the whole package: B edits, R rows, F frames, H W grid, N tokens, C channels,
D head dim, T text tokens, E text width, S steps, L blocks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

ROW_AXIS = 'row'
EDIT_AXIS = 'edit'  # independent edits of a batch, outside the rows; nothing crosses between them


class Source(NamedTuple):
  """The rows that one of q, k, v is read from.

  Attributes:
    inside: i32[], the row of tokens inside the slot's mask.
    outside: i32[], the row of tokens outside it. Without a mask both fields hold the same row.
  """

  inside: jax.Array
  outside: jax.Array


class TextMaps(NamedTuple):
  """How the probabilities of CA-S are made of those of another row (prompt-to-prompt, FateZero).

  The new map is source map @ taken + own map * kept; its rows need not add up to 1.

  Attributes:
    source: the row whose map is read.
    taken: f32[T, T], what each of its tokens gives to each of the own text's.
    kept: f32[T], what is kept of the own map. Nothing taken and all kept is the own map.
  """

  source: Source
  taken: jax.Array
  kept: jax.Array


class Flow(NamedTuple):
  """SA-S of K keyframes stands for that of all F frames (TokenFlow): the first K of K + F frames
  are the keyframes.

  A frame's token takes what SA-S gives to the keyframe's token that is most like it, in the row
  that is compared.

  Attributes:
    source: the row whose inputs of SA-S are compared.
    drawn: i32[K], the frames that are the keyframes.
    keyframes: i32[F, 2], the two of the K that each frame takes from.
    weights: f32[F], the share of the first of them.
  """

  source: Source
  drawn: jax.Array
  keyframes: jax.Array
  weights: jax.Array


class AttentionOverride(NamedTuple):
  """What one attention block reads from other rows; stacked leaves gain leading axes [S, L, R].

  A slot that is None reads the own row. What is None costs nothing; it makes another program than
  an array does.

  Attributes:
    spatial_q, spatial_k, spatial_v: sources of spatial self-attention (SA-S).
    temporal_q, temporal_k, temporal_v: sources of temporal self-attention (SA-T).
    guided: bool[], whether SA-S is mask-guided here (paper Eq. 5-6): queries inside the target mask
      attend to keys inside the source mask, queries outside to keys outside.
    first_frame: bool[], whether the keys and values of SA-S are, in every frame, those of the
      first; None where that is so nowhere.
    frames: i32[F, X], the X frames whose keys and values, side by side, a frame of SA-S attends to;
      None: its own. A frame that is named twice counts as once, so that the own frame X times over
      is plain attention.
    text_maps: `TextMaps` of CA-S, or None.
    residual: source of what the resnet before this block adds to its input (before the shortcut).
    flow: `Flow` of SA-S, or None.
  """

  spatial_q: Source | None = None
  spatial_k: Source | None = None
  spatial_v: Source | None = None
  temporal_q: Source | None = None
  temporal_k: Source | None = None
  temporal_v: Source | None = None
  guided: jax.Array | None = None
  first_frame: jax.Array | None = None
  frames: jax.Array | None = None
  text_maps: TextMaps | None = None
  residual: Source | None = None
  flow: Flow | None = None


class TokenMasks(NamedTuple):
  """The masks of one block grid, bool[F, N, 1], True = inside; made by `token_masks.token_masks`.

  `None` for a slot whose inside and outside are never told apart.

  Attributes:
    spatial_q: which queries of SA-S are inside.
    spatial_kv: which keys and values of SA-S are inside.
    temporal: which tokens of SA-T are inside.
    guided_q, guided_k: foreground queries and foreground keys of mask-guided attention.
  """

  spatial_q: jax.Array | None = None
  spatial_kv: jax.Array | None = None
  temporal: jax.Array | None = None
  guided_q: jax.Array | None = None
  guided_k: jax.Array | None = None


def exchange(x, source, mask=None):
  """Reads a tensor from the rows that `source` names.

  Args:
    x: f[*b, N, C], this row's q, k or v after projection.
    source: `Source` of i32[], or None for the plain model (no row axis needed).
    mask: bool broadcastable to x, True where `source.inside` holds; None reads `source.inside`
      everywhere.

  Returns:
    f[*b, N, C].

  Raises:
    NameError: `source` is given outside of `jax.vmap(..., axis_name='row')`.
  """
  if source is None:
    return x
  # Under vmap this is not a collective: it names the axis, and the two lines below become one XLA
  # gather.
  rows = jax.lax.all_gather(x, ROW_AXIS)
  inside = jnp.take(rows, source.inside, axis=0, mode='clip')
  if mask is None:
    return inside
  return jnp.where(mask, inside, jnp.take(rows, source.outside, axis=0, mode='clip'))
