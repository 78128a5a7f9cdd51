"""Files, workdirs, run logs, checkpoints, devices and memory."""
