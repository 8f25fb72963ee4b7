# The image of every node of a cluster (cluster.yaml, configs/kuberay/): Ray, CUDA, and this package at its pinned versions.
#
#   docker build -t faceverify:0.1.0 .                         GPUs and CPUs
#   docker build -t faceverify:0.1.0-cpu --build-arg EXTRA=cpu --build-arg VARIANT=py311-cpu .
#
# A tag can be moved to another image. To build on one that cannot, look up its digest once, and keep it with your build:
#   docker buildx imagetools inspect rayproject/ray:2.60.0-py311-cu128 --format '{{.Manifest.Digest}}'
#   docker build -t faceverify:0.1.0 --build-arg DIGEST=@sha256:... .
ARG VARIANT=py311-cu128
ARG DIGEST=
FROM rayproject/ray:2.60.0-${VARIANT}${DIGEST}
ARG EXTRA=gpu

WORKDIR /home/ray/faceverify
# First what changes seldom: the dependencies, from pyproject.toml and the pins, with an empty package.
COPY --chown=ray:users pyproject.toml constraints.txt README.md ./
RUN mkdir faceverify ray_jobs \
    && touch faceverify/__init__.py ray_jobs/__init__.py \
    && pip install --no-cache-dir -c constraints.txt ".[${EXTRA},cluster]"
COPY --chown=ray:users configs configs
COPY --chown=ray:users faceverify faceverify
COPY --chown=ray:users ray_jobs ray_jobs
RUN pip install --no-cache-dir --no-deps --force-reinstall . \
    && python -m ray_jobs --help

# Threads that wait leave the cores to others: a node runs many workers (benchmarks/results/2026-11-28_waiting.md).
ENV OMP_WAIT_POLICY=PASSIVE
# Where actors fill a node, Ray would end idle workers after 1 s and start new ones for the next tasks.
ENV RAY_idle_worker_killing_time_threshold_ms=20000

# No code here: a job brings its own in its working directory, or uses what is installed.
WORKDIR /home/ray
# Secrets are no part of an image: the roles of the nodes give access to the bucket.
USER ray
