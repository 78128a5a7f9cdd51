"""The table of LOVEU-TGVE 2023 (Text-Guided Video Editing), as published, as lines of a manifest.

Its csv names a video and its caption, and describes four edits of it; a row such as "DAVIS Videos:"
begins the videos of a folder. The folders lie next to it: DAVIS_480p/480p_videos/<name>.mp4, or
480p_frames/<name>/. All edits keep motion and layout, so they are appearance edits; the caption is
what measures take as the source prompt.
"""

import csv

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


def is_layout(text):
  """Whether the text of a csv is such a table."""
  return text.startswith(f'{VIDEO},')


def read(path, text, faults):
  """Reads the table, the text of the file at `path`; `faults` collects what is wrong, with lines.

  Yields:
    (line number, dict {field of the config: value} with 'id'), four for each video.
  """
  reader, folder = csv.DictReader(text.splitlines(), restkey='further cells', restval=''), None
  heads = [(head or '').strip() for head in reader.fieldnames]
  reader.fieldnames = heads
  if missing := [head for head in (CAPTION, *KINDS.values()) if head not in heads]:
    faults.append(
      f'line 1: heads lack {", ".join(missing)}; accepted: the heads of LOVEU-TGVE 2023'
    )
    return
  for row in reader:
    line, cells = f'line {reader.line_num}', {head: ' '.join(row[head].split()) for head in heads}
    name, described = cells[VIDEO], any(cells[head] for head in (CAPTION, *KINDS.values()))
    if name.endswith(':') and not described:
      folder = FOLDERS.get(name)
      faults.unless(
        folder,
        f'{line}: {VIDEO} is {name!r}; accepted as the begin of a folder: {", ".join(FOLDERS)}',
      )
    elif name or described:
      lacking = [head for head in (VIDEO, CAPTION, *KINDS.values()) if not cells[head]]
      faults.unless(
        not lacking,
        f'{line}: no {", ".join(lacking)}; accepted: a video with a caption and four edits',
      )
      if not folder:
        faults.append(
          f'{line}: {name!r} is in no folder; accepted: below one of {", ".join(FOLDERS)}'
        )
      elif not lacking:
        source = _find(path.parent / folder, name, line, faults)
        for kind, head in KINDS.items():
          prompts = {'target_prompt': cells[head], 'metrics.source_prompt': cells[CAPTION]}
          yield (
            reader.line_num,
            {'id': f'{name}_{kind}', 'video': str(source), 'task': 'appearance', **prompts},
          )


def _find(folder, name, line, faults):
  """The video, or its frames."""
  places = folder / '480p_videos' / f'{name}.mp4', folder / '480p_frames' / name
  found = next((place for place in places if place.exists()), None)
  faults.unless(
    found, f'{line}: there is no video of {name!r}; accepted: {" or ".join(map(str, places))}'
  )
  return found
