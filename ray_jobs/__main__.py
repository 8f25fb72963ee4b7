"""`faceverify <job> ...` is `python -m ray_jobs.<job> ...`."""

import importlib
import signal
import sys
from pathlib import Path

from faceverify.program import started_as
from ray_jobs.engine.quick_help import answer, asked_for
from ray_jobs.engine.signals import quiet_when_unread

JOBS = {
    "demo": "the pipeline on rendered people, from nothing to a report",
    "pipeline": "raw folders -> a fine-tuned network and a scored test set: all steps of the recipe",
    "ingest": "list a data set: folders, kryptonite, lfw, calfw, cplfw, cfp, celeba, insightface_bin, rendered",
    "align": "photos -> aligned faces, in the crops that networks want",
    "embed": "faces -> embeddings",
    "clean": "photos + embeddings -> wrong labels found, moved, held for review or dropped",
    "review": "a page in the browser for what clean flagged",
    "fakes": "photos -> photos and deepfakes of the same people",
    "pairs": "photos -> pairs to learn from: 50 % genuine, 25 % impostor, 25 % deepfake",
    "export": "a trained network -> ONNX files, proven in embeddings and EER",
    "train": "faces + pairs -> a network that tells people and deepfakes apart",
    "forensic": "real photos -> a network that tells manipulated photos from real ones",
    "tune": "train many times with different values; the best recipe",
    "verify": "two photos or more -> similarity and decision, at once and without a cluster",
    "score": "photos + pairs -> a similarity for every pair",
    "all_pairs": "every photo with every other one: look-alikes, near duplicates, two folders",
    "compare": "several networks on several sets of pairs: errors, fakes accepted, speed, what is real",
    "attack": "photos + pairs -> error rates over the strength of noise, blur, JPEG, FGSM, PGD",
    "evaluate": "scores -> EER, FNMR at FMR, intervals, a report and a calibration",
    "models": "list, fetch, describe and convert weights",
    "config": "list the configurations that come with the package; write one to edit",
}


def main() -> int:
    """Run the job named by the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the job is loaded there is nothing to clean up
    job = sys.argv[1] if len(sys.argv) > 1 else ""
    if job not in JOBS:
        return quiet_when_unread(lambda: _usage(job))
    if (script := Path(sys.argv[0]).name) == "faceverify":
        started_as(script)
    if asked_for(sys.argv[2:]) and (code := answer(job, sys.argv[2:])) is not None:
        return code
    module = importlib.import_module(f"ray_jobs.{job}")
    sys.argv = [module.__file__ or job, *sys.argv[2:]]
    return module.main()


def _usage(job: str) -> int:
    print("usage: faceverify JOB [CONFIG.yaml] [--option value ...]\n")
    print("\n".join(f"  {name:<10}{what}" for name, what in JOBS.items()))
    print(
        "\n`faceverify JOB --help` lists all options, `faceverify config JOB > JOB.yaml` writes a file to begin with."
    )
    return 0 if job in ("", "-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main())
