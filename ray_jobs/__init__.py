"""The Ray programs: one thin file per job, each run as `python -m ray_jobs.<job> CONFIG [--dotted.override value]`."""
