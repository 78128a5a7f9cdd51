"""Fields that every experiment shares. An unset field (None) takes the value of the checkpoint or the preset."""

import ml_collections
from ml_collections.config_dict import placeholder


def model():
  """The model, the clip it makes and the sampler."""
  config = ml_collections.ConfigDict()
  config.checkpoint = ''  # folder made by convert.lavie, or the name of a shipped model: 'sprites'
  config.dtype = 'auto'  # bfloat16 where the hardware has it, float16 on older GPUs, float32 on CPU
  config.seed = 0  # of every random number
  config.cache = '~/.cache/uniedit_jax'  # compiled programs and inversions, reused from run to run

  config.clip = ml_collections.ConfigDict()
  config.clip.frames = placeholder(int)
  config.clip.height = placeholder(int)  # pixels, a multiple of 8
  config.clip.width = placeholder(int)
  config.clip.start = 0  # first frame taken from the video
  config.clip.stride = 1  # every n-th frame
  config.clip.fit = 'stretch'  # or 'crop': the middle of the frame

  config.window = ml_collections.ConfigDict()  # what the UNet sees of a clip with more frames
  config.window.frames = placeholder(int)  # the checkpoint's
  config.window.overlap = placeholder(int)  # of neighbouring windows; half of their frames

  config.steps = 50  # denoising steps
  config.guidance = 7.5
  config.schedule = ml_collections.ConfigDict()  # the checkpoint's unless set
  config.schedule.beta_schedule = placeholder(str)
  config.schedule.beta_start = placeholder(float)
  config.schedule.beta_end = placeholder(float)
  return config


def edit(task, preset):
  """An edit of one clip.

  Args:
    task: 'motion' or 'appearance'.
    preset: 'paper' or 'release', the ranges of all injections that are not set here.
  """
  config = model()
  config.task = task
  config.preset = preset
  config.video = ''  # mp4, gif, webm, mov or a folder of frames
  config.image = ''  # instead of a video: a still, filmed by the camera move
  config.move = ml_collections.ConfigDict()
  config.move.kind = 'zoom'  # 'pan', 'tilt', 'zoom', 'rotate', 'arc' or 'key_frames'
  # Fraction of the picture (pan, tilt: 0.2), factor (zoom: 1.3), degrees (rotate: 10) or radius (arc: 0.1).
  config.move.amount = placeholder(float)
  config.move.sweep = placeholder(float)  # arc: degrees of the circle (180)
  config.move.easing = 'linear'  # 'ease_in', 'ease_out' or 'ease_in_out'
  config.move.key_frames = ()  # key_frames: ((time, x, y, zoom, degrees), ...), time from 0 to 1
  config.generated = False  # instead of a video: the clip that experiments.generate makes of source_prompt and seed
  config.source_prompt = ''  # '' = null prompt, right for a real video
  config.target_prompt = ''
  config.more_target_prompts = ()  # further edits of the clip, which share its inversion and reconstruction

  config.inversion = ml_collections.ConfigDict()
  # 'ddim', 'direct', 'fixed_point', 'obelm' or 'null_text' (uniedit_jax/inversion.py); direct for motion, else ddim
  config.inversion.method = placeholder(str)
  config.inversion.prompt = placeholder(str)  # source_prompt; '' = null prompt
  config.inversion.guidance = 1.0
  config.inversion.inner_steps = placeholder(int)  # fixed_point: repetitions (2); null_text: most updates a step (10)
  config.inversion.epsilon = 1e-5  # null_text: loss below which the first step stops

  config.mask = ml_collections.ConfigDict()
  config.mask.source = ''  # folder of PNGs, npz or mask video, 1 or white = foreground; or 'auto': cross-attention
  config.mask.target = ''
  config.mask.source_prompt = ''  # auto: what the source shows; '' = source_prompt
  config.mask.source_words = ()  # auto: what to look for in it; () = the words that the other prompt lacks
  config.mask.target_words = ()  # auto: the same in target_prompt
  config.mask.blocks = placeholder(tuple)  # auto: blocks whose maps are read; the finest grid of at most 256 tokens
  config.mask.threshold = 0.4
  config.mask.smoothing = 0.5  # auto: of the maps, in tokens

  # Half-open ranges; an unset one is the preset's, (0, 0) is off.
  for name in ('structure', 'content', 'motion', 'motion_query', 'background', 'guided'):
    config[name] = ml_collections.ConfigDict({'steps': placeholder(tuple), 'blocks': placeholder(tuple)})
  config.structure.branches = placeholder(tuple)  # ('main',) or ('main', 'motion')
  config.content.tensors = placeholder(tuple)  # ('v',) or ('k', 'v')
  config.motion.masked = placeholder(bool)

  config.plan = 'exact'  # 'naive' computes every row of every step
  config.rows_per_pass = placeholder(int)  # split a step into passes that fit memory

  config.outputs = ml_collections.ConfigDict()
  config.outputs.reconstruction = True  # False lets the plan drop rows
  config.outputs.motion_reference = True
  config.outputs.gif = True
  config.outputs.frames = True
  return config


def sprites_edit(task):
  """An edit of the shipped clip by the shipped model; set `source_prompt` together with `video`.

  Args:
    task: as in `edit`.
  """
  config = edit(task, preset='paper')
  config.checkpoint = 'sprites'
  config.video = 'uniedit_jax/sprites/clip.mp4'
  config.source_prompt = 'a big red square moving right in the middle on grass, photo'
  config.steps = 25
  config.guidance = 3.0
  return config


def training():
  """What both parts of the sprites model share. A stage is a number of steps with one kind of batch."""
  config = ml_collections.ConfigDict()
  config.init = ''  # '' = random parameters; or a checkpoint to go on from: a folder, or a name
  config.dtype = 'auto'
  config.seed = 0
  config.cache = '~/.cache/uniedit_jax'
  config.data = ml_collections.ConfigDict()  # rendered clips
  config.data.clips = 0
  config.data.validation = 64  # others, which are never trained on
  config.warmup = 100  # steps
  config.max_minutes = placeholder(float)
  config.save_minutes = 5.0
  config.look_every = 500  # steps between validations
  return config
