"""The Ray programs: one thin file per job, each run as `python -m ray_jobs.<job> CONFIG [--dotted.override value]`."""

import signal
import sys

if sys.argv[:1] == ["-m"]:  # `python -m ray_jobs.JOB` is still loading it: Ctrl-C ends that without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
