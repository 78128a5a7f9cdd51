"""The clips and masks that a run leaves in its workdir."""

from etils import epath

from uniedit_jax.media import grids, masks, video
from uniedit_jax.metrics.measures import CLIP_NAMES, edits_of


def write_clips(workdir, clips, fps, *, gif=True, frames=True):
  """Writes <name>.mp4 of every clip, side_by_side.mp4, and each edit as <name>.gif and frames/.

  `clips` is a dict {name: uint8[F, H, W, 3]}; edits are called 'edit...', or else it is the last.
  `gif` and `frames` say whether the edits are written in these forms too.
  """
  workdir = epath.Path(workdir)
  for name, clip in clips.items():
    video.write_mp4(workdir / f'{name}.mp4', clip, fps)
  if len(clips) > 1:
    starts = 'source', *CLIP_NAMES.values()
    shown = [name for start in starts for name in clips if name.startswith(start)]
    labelled = {name.replace('_', ' '): clips[name] for name in shown}
    video.write_mp4(workdir / 'side_by_side.mp4', grids.side_by_side(labelled), fps)
  edits = edits_of(clips) or list(clips)[-1:]
  for name in edits:
    if gif:
      video.write_gif(workdir / f'{name}.gif', clips[name], fps)
    if frames:
      video.write_frames(workdir / ('frames' + name.removeprefix(edits[0])), clips[name])


def write_masks(workdir, clips, fps, by_name):
  """Writes masks/<name>/ (PNGs) and masks/<name>.mp4 (the mask over its clip, for a visual check).

  Args:
    workdir: path.
    clips: dict of uint8[F, H, W, 3] with 'source' or, where that was generated, 'reconstruction'.
    fps: frame rate.
    by_name: dict {'source' or 'target': bool[F, H, W]}.
  """
  folder = epath.Path(workdir) / 'masks'
  source = clips.get('source', clips.get('reconstruction'))
  for name, mask in by_name.items():
    shown = clips.get('motion_reference', source) if name == 'target' else source
    write_mask(folder / name, mask)
    video.write_mp4(folder / f'{name}.mp4', masks.overlay(shown, mask), fps)


def write_mask(folder, mask):
  """Writes bool[F, H, W] as PNGs; white is inside."""
  video.write_frames(folder, mask[..., None].repeat(3, axis=-1).astype('uint8') * 255)
