"""Routing of attention between rows: the pytree `AttentionOverride` and `exchange`.

A *row* is one (branch, guidance half). All rows of an edit lie on one flat axis named `'row'`,
bound by `jax.vmap(..., axis_name='row')` around the UNet; only `exchange` knows this axis. An
override says, for each of q, k and v of a block's self-attentions, which row a token is read from.
"Off" is the own row. Overrides are arrays, so another setting of an injection is another value and
never another program.

Shape legend used in the whole package: B edits, R rows, F frames, H W grid, N tokens, C channels,
D head dim, T text tokens, E text width, S steps, L blocks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

ROW_AXIS = 'row'
EDIT_AXIS = 'edit'  # independent edits of a batch, outside the rows; nothing crosses this axis


class Source(NamedTuple):
  """The rows that one of q, k and v is read from.

  Attributes:
    inside: i32[], the row of tokens inside the slot's mask.
    outside: i32[], the row of tokens outside it. Without a mask both fields hold the same row.
  """

  inside: jax.Array
  outside: jax.Array


class AttentionOverride(NamedTuple):
  """The rows that one attention block reads; stacked leaves gain leading axes [S, L, R].

  A slot that is None reads the own row and costs nothing, but None and an array are two programs.

  Attributes:
    spatial_q, spatial_k, spatial_v: sources of spatial self-attention (SA-S).
    temporal_q, temporal_k, temporal_v: sources of temporal self-attention (SA-T).
    guided: bool[], whether SA-S is mask-guided (paper Eq. 5-6): queries inside the target mask
      attend to keys inside the source mask, queries outside to keys outside.
    first_frame: bool[], whether all frames of SA-S use the keys and values of the first one; None
      where no block of any step does.
    comparison: a pytree of overrides that only comparison methods need, read by
      `models.comparison_attention` alone; None for UniEdit.
  """

  spatial_q: Source | None = None
  spatial_k: Source | None = None
  spatial_v: Source | None = None
  temporal_q: Source | None = None
  temporal_k: Source | None = None
  temporal_v: Source | None = None
  guided: jax.Array | None = None
  first_frame: jax.Array | None = None
  comparison: Any = None


class TokenMasks(NamedTuple):
  """The masks of one block grid, bool[F, N, 1], True = inside; made by `token_masks.token_masks`.

  None for a slot whose tokens inside and outside always read the same row.

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
    NameError: a `source` outside of `jax.vmap(..., axis_name='row')`.
  """
  if source is None:
    return x
  # Under vmap this is no collective: it names the axis, and each `take` below is one XLA gather.
  rows = jax.lax.all_gather(x, ROW_AXIS)
  inside = jnp.take(rows, source.inside, axis=0, mode='clip')
  if mask is None:
    return inside
  return jnp.where(mask, inside, jnp.take(rows, source.outside, axis=0, mode='clip'))
