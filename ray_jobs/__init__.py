"""The Ray programs: one thin file per job, each run as `python -m ray_jobs.<job> CONFIG [--dotted.override value]`."""

import signal
import sys

if sys.argv[:1] == ["-m"]:  # `python -m ray_jobs.JOB` is still loading it: Ctrl-C ends that without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:] in (["--help"], ["-h"]):  # answered before all that the job works with is loaded
        from ray_jobs.engine.quick_help import answer

        module = next((word for word in sys.orig_argv if word.startswith("ray_jobs.")), "")
        if (code := answer(module.removeprefix("ray_jobs."), sys.argv[1:])) is not None:
            sys.exit(code)
