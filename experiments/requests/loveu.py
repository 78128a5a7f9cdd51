"""The table of LOVEU-TGVE 2023 (Text-Guided Video Editing), as published, as lines of a manifest.

Its csv names a video and its caption, and describes four edits of it; a row such as "DAVIS Videos:"
begins the videos of a folder. The folders lie next to it: DAVIS_480p/480p_videos/<name>.mp4, or
480p_frames/<name>/. All edits keep motion and layout, so they are appearance edits; the caption is
what measures take as the source prompt.
"""

VIDEO, CAPTION = 'Video name', 'Our GT caption'
KINDS = {
  'style': 'Style Change Caption',
  'object': 'Object Change Caption',
  'background': 'Background Change Caption',
  'multiple': 'Multiple Changes Caption',
}
FOLDERS = {
  'DAVIS Videos:': 'DAVIS_480p',
  'Youtube Videos:': 'youtube_480p',
  'Videvo Videos:': 'videvo_480p',
}


def read(folder, heads, rows):
  """Reads the table.

  Args:
    folder: epath.Path of the folder that its csv lies in.
    heads: list of its heads.
    rows: list of (line number, list of cells).

  Yields:
    (line number, dict {field of the config: value} with 'id', faults), four for each video; {} for
    a row with faults.

  Raises:
    ValueError: heads are missing.
  """
  needed = (VIDEO, CAPTION, *KINDS.values())
  if missing := [head for head in needed if head not in heads]:
    raise ValueError(
      f'line 1: heads lack {", ".join(missing)}; accepted: the heads of LOVEU-TGVE 2023'
    )
  part = None
  for number, row in rows:
    padded = zip(heads, row + [''] * len(heads), strict=False)
    cells = {head: ' '.join(cell.split()) for head, cell in padded}
    name, described = cells[VIDEO], any(cells[head] for head in needed[1:])
    if name.endswith(':') and not described:
      part = FOLDERS.get(name)
      if not part:
        accepted = f'accepted as the begin of a folder: {", ".join(FOLDERS)}'
        yield number, {}, [f'{VIDEO} is {name!r}; {accepted}']
    elif name or described:
      faults, source = [], None
      if lacking := [head for head in needed if not cells[head]]:
        faults.append(f'no {", ".join(lacking)}; accepted: a video with a caption and four edits')
      if not part:
        faults.append(f'{name!r} is in no folder; accepted: below one of {", ".join(FOLDERS)}')
      elif not lacking:
        source = _find(folder / part, name, faults)
      if faults:
        yield number, {}, faults
        continue
      for kind, head in KINDS.items():
        prompts = {'target_prompt': cells[head], 'metrics.source_prompt': cells[CAPTION]}
        fixed = {'id': f'{name}_{kind}', 'video': str(source), 'task': 'appearance'}
        yield number, fixed | prompts, []


def _find(folder, name, faults):
  """The video, or its frames."""
  places = folder / '480p_videos' / f'{name}.mp4', folder / '480p_frames' / name
  found = next((place for place in places if place.exists()), None)
  if not found:
    faults.append(f'there is no video of {name!r}; accepted: {" or ".join(map(str, places))}')
  return found
