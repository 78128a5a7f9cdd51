"""Fields that every experiment shares. An unset field (None) takes the value of the checkpoint or
the preset.

Every file here has a short form, `--config=configs/motion.py:quick`, to see that all works before a
long run.
"""

import ml_collections
from ml_collections.config_dict import placeholder

TASKS = ('motion', 'appearance')


def is_quick(size):
  """Whether a config is asked for in its short form.

  Args:
    size: 'full', or 'quick': few steps of few frames, few clips and few edits.

  Raises:
    ValueError: another size.
  """
  if size not in ('full', 'quick'):
    raise ValueError(f'the config is asked for {size!r}; accepted behind its colon: quick')
  return size == 'quick'


def model():
  """The model, the clip it makes and the sampler."""
  config = ml_collections.ConfigDict()
  # folder made by convert.lavie, the hub id of one, or the name of a shipped model: 'sprites'
  config.checkpoint = ''
  config.dtype = 'auto'  # bfloat16 where the hardware has it, float16 on older GPUs, float32 on CPU
  config.seed = 0  # of every random number; 0 to 2**32 - 1
  config.cache = '~/.cache/uniedit_jax'  # compiled programs and inversions, reused from run to run

  config.clip = ml_collections.ConfigDict()
  config.clip.frames = placeholder(int)  # how many; the checkpoint's
  # pixels, a multiple of the model's factor; the checkpoint's
  config.clip.height = placeholder(int)
  # pixels, a multiple of the model's factor; the checkpoint's
  config.clip.width = placeholder(int)
  config.clip.start = 0  # first frame taken from the video
  config.clip.stride = 1  # every n-th frame
  # 'crop' the middle of the frame, or 'stretch' all of it; crop where the aspect ratios differ by
  # more than 2 %, but stretch with the preset release
  config.clip.fit = placeholder(str)
  # frames per second of the source; what a video says, 8 for a folder of frames
  config.clip.fps = placeholder(float)
  config.clip.damaged = 'refuse'  # a video with damaged frames; or 'keep' them

  config.window = ml_collections.ConfigDict()  # what the UNet sees of a clip with more frames
  config.window.frames = placeholder(int)  # of a window; the checkpoint's
  # frames that neighbouring windows share; half of a window
  config.window.overlap = placeholder(int)

  # a short run to try it: 5 steps, ranges scaled with them, and at most 8 frames of 128 x 128 of a
  # model that makes larger clips; applied after all other fields are set
  config.quick = False
  config.steps = 50  # denoising steps, of inversion too
  # scale of classifier-free guidance, 1 = none; the checkpoint's
  config.guidance = placeholder(float)
  config.schedule = ml_collections.ConfigDict()  # noise schedule; the checkpoint's
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
  # 'injections', of which UniEdit, MasaCtrl and plain DDIM are settings; or a method of
  # configs/baselines: its file
  config.method = 'injections'
  config.task = task  # 'motion' or 'appearance'
  config.preset = preset  # 'paper' or 'release': the ranges of all injections that are not set
  # path or URL of an mp4, gif, webm, mov or folder of frames; 'sprites': the clip that comes with
  # the package
  config.video = ''
  config.image = ''  # instead of a video: a still, filmed by the camera move
  config.move = ml_collections.ConfigDict()
  config.move.kind = 'zoom'  # 'pan', 'tilt', 'zoom', 'rotate', 'arc' or 'key_frames'
  # fraction of the picture (pan, tilt: 0.2), factor (zoom: 1.3), degrees (rotate: 10) or radius
  # (arc: 0.1)
  config.move.amount = placeholder(float)
  config.move.sweep = placeholder(float)  # arc: degrees of the circle (180)
  config.move.easing = 'linear'  # 'ease_in', 'ease_out' or 'ease_in_out'
  config.move.key_frames = ()  # key_frames: ((time, x, y, zoom, degrees), ...), time from 0 to 1
  # instead of a video: the clip that experiments.generate makes of source_prompt and seed
  config.generated = False
  # what the source shows; '' = null prompt, as the paper edits real videos
  config.source_prompt = ''
  config.target_prompt = ''  # what the edited clip shows
  # further edits of the clip, which share its inversion and reconstruction
  config.more_target_prompts = ()

  config.inversion = ml_collections.ConfigDict()
  # 'ddim', 'direct', 'fixed_point', 'obelm' or 'null_text' (docs/inversion.md); direct for motion,
  # else ddim
  config.inversion.method = placeholder(str)
  config.inversion.prompt = placeholder(str)  # while inverting; source_prompt
  config.inversion.guidance = 1.0  # scale of guidance while inverting
  # fixed_point: repetitions (2); null_text: most updates a step (10)
  config.inversion.inner_steps = placeholder(int)
  config.inversion.epsilon = 1e-5  # null_text: loss below which the first step stops

  config.mask = ml_collections.ConfigDict()
  # the foreground of the source: folder of PNGs, npz, npy or mask video, 1 or white = inside; or
  # 'auto': cross-attention
  config.mask.source = ''
  # the foreground of the edit, given in the same ways; motion editing needs both or neither
  config.mask.target = ''
  config.mask.labels = ()  # label masks: the values that are foreground; () = all above 0
  config.mask.source_prompt = ''  # auto: what the source shows; '' = source_prompt
  # auto: what to look for in it; () = the words that the other prompt lacks
  config.mask.source_words = ()
  # auto: what to look for in target_prompt; () = the words that the other prompt lacks
  config.mask.target_words = ()
  # auto: blocks whose maps are read; the finest grid of at most 256 tokens
  config.mask.blocks = placeholder(tuple)
  config.mask.threshold = 0.4  # auto: what is foreground, of the maps stretched to 0..1
  config.mask.smoothing = 0.5  # auto: standard deviation of the blur of the maps, in tokens

  # Half-open ranges of steps and blocks; an unset one is the preset's, (0, 0) is off.
  config.structure = _ranges()  # structure control: spatial q and k from the reconstruction
  config.content = _ranges()  # content preservation: spatial v, or k and v, from the reconstruction
  config.motion = _ranges()  # motion injection: temporal q and k from the motion reference
  # with masks: spatial q from the motion reference, inside of the target mask
  config.motion_query = _ranges()
  config.background = _ranges()  # with masks: background enhance of the release
  config.guided = _ranges()  # with masks: mask-guided attention, Eq. 5-6
  # whose layout is kept: ('main',) or ('main', 'motion')
  config.structure.branches = placeholder(tuple)
  config.content.tensors = placeholder(tuple)  # what is injected: ('v',) or ('k', 'v')
  # the frame that is read: its 'own', or the 'first' by all ('own')
  config.content.reference = placeholder(str)
  config.motion.masked = placeholder(bool)  # motion injection inside of the target mask only

  # pictures of what goes on inside, in inspect/ and in the report
  config.inspect = ml_collections.ConfigDict()
  # steps to look at: attention maps, and the clip that each branch is heading for; () = none
  config.inspect.steps = ()
  config.inspect.blocks = (10, 13)  # blocks whose maps are drawn

  config.metrics = ml_collections.ConfigDict()
  # folder made by convert.clip or its hub id, for measures against prompts; '' = none of them
  config.metrics.clip = ''
  # what the source shows, where nothing but measures may know it; '' = source_prompt
  config.metrics.source_prompt = ''

  config.plan = 'exact'  # each distinct row once; 'naive': every row of every step
  # most rows at once: splits a step into passes that fit memory
  config.rows_per_pass = placeholder(int)

  config.outputs = ml_collections.ConfigDict()
  config.outputs.reconstruction = True  # as a clip; False lets the plan drop rows
  config.outputs.motion_reference = True  # as a clip; False lets the plan drop rows
  config.outputs.plain = False  # the same edit with nothing injected, to compare with
  config.outputs.gif = True  # the edit as a gif too
  config.outputs.frames = True  # the edit as PNGs too
  return config


def _ranges():
  """The fields of an injection."""
  return ml_collections.ConfigDict({'steps': placeholder(tuple), 'blocks': placeholder(tuple)})


def edit_of_form(form, task, preset='paper'):
  """An edit that has the forms `full`, `quick`, `sprites` and `sprites,quick`.

  Args:
    form: what stands behind the colon of `--config=configs/<name>.py:<form>`; those with `sprites`
      are of the shipped clip.
    task, preset: as in `edit`.
  """
  model, _, size = form.partition(',')
  if model != 'sprites':
    size = form
  config = sprites_edit(task, preset) if model == 'sprites' else edit(task, preset)
  config.quick = is_quick(size or 'full')
  return config


def lavie_form(form):
  """Splits 'full', 'quick', 'lavie' or 'lavie,quick' into (whether it is of LaVie, the size)."""
  return form.startswith('lavie'), form.removeprefix('lavie').removeprefix(',') or 'full'


def baseline(form, task, method):
  """An edit by a method of `uniedit_jax.baselines`, whose file sets `config.baseline`.

  Args:
    form, task: as in `edit_of_form`.
    method: name of the method.
  """
  config = edit_of_form(form, task)
  config.method = method
  config.inversion.method = 'ddim'
  for unmade in ('reconstruction', 'motion_reference'):
    config.outputs[unmade] = False
  return config


def sprites_edit(task, preset='paper'):
  """An edit of the shipped clip by the shipped model; set `source_prompt` together with `video`.

  Args:
    task, preset: as in `edit`.
  """
  config = edit(task, preset)
  config.checkpoint = 'sprites'
  config.video = 'sprites'
  config.source_prompt = 'a big red square moving right in the middle on grass, photo'
  config.steps = 25
  config.guidance = 3.0
  return config


def training():
  """The fields that both parts of the sprites model share.

  A stage is a number of training steps on batches of one composition.
  """
  config = ml_collections.ConfigDict()
  config.init = ''  # '' = random parameters; or a checkpoint to go on from: a folder, or a name
  config.dtype = 'auto'
  config.seed = 0
  config.cache = '~/.cache/uniedit_jax'
  config.data = ml_collections.ConfigDict()
  config.data.clips = 0  # rendered clips to train on
  config.data.validation = 64  # further ones to validate with
  config.warmup = 100  # steps until the learning rate is reached
  config.max_minutes = placeholder(float)  # after which the run stops, ready to go on
  config.save_minutes = 5.0  # between saved states
  config.look_every = 500  # steps between validations
  return config


def finish_training(config, size):
  """The config of a training, locked; in its short form, with few clips and four steps a stage."""
  if is_quick(size):
    config.data.clips, config.data.validation = 32, 16
    for name in config:
      if name.startswith('stage'):
        stage = config[name]
        stage.steps, stage.images, stage.clips = 4, 16, 8 if stage.clips else 0
  return config.lock()
