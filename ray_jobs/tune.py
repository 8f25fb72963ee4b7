"""Many trainings with different values of the recipe, the poor ones stopped early; Ray Tune, on one CPU or many GPUs.

python -m ray_jobs.tune configs/tune.yaml --faces runs/all_faces --pairs runs/pairs --start MODEL --out runs/tune
"""

import sys
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

import tyro

from faceverify.config import command_line, plan_of, replaced
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.parts import parquet_bytes
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, open_location
from faceverify.tuning import trials as records
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, base_of, base_values, count_trials, parse
from faceverify.tuning.trials import Trial
from ray_jobs import train
from ray_jobs.engine.cluster import check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.session import run_job
from ray_jobs.train import TrainConfig

OUTPUTS = ("trials", "ray_tune", "trials.parquet", "trials.csv", "validations.parquet", "best.yaml", "report.html")
RUN_ONLY = (*train.RUN_ONLY, "concurrent", "resume")
# All trials learn from the same data and are judged alike.
FIXED = ("faces", "pairs", "validation", *train.RUN_ONLY)


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TrainConfig):
    """Search the recipe of a training: all options of `train`, of which the searched ones are where trial 0 begins."""

    space: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """What is searched, in the YAML file only: dotted field -> {uniform: [low, high]}, {log_uniform: [low, high]},
    {int_uniform: [low, high]} or {choice: [value, ...]}. Required."""
    search: SearchConfig = field(default_factory=SearchConfig)
    concurrent: int = 0
    """Trials at once; 0 = as many as the cluster has room for (one per `workers` GPUs, or CPUs)."""
    resume: bool = False
    """Insist that `out` holds an unfinished search, and go on with it. Without it a search also goes on where it was,
    and a new one begins where there is none."""


def run(config: TuneConfig) -> None:
    """Check, say what it will cost, search, report."""
    training = training_of(config)
    dimensions = parse(config.space, training, FIXED)
    out = open_location(config.out)
    total = count_trials(config.search, dimensions, base_values(dimensions, training))
    if config.search.scheduler == "pbt" and config.workers > 1:
        raise UserError(
            f"search.scheduler is pbt, whose trials have one worker each, and workers is {config.workers}: set workers "
            "to 0, or take scheduler asha."
        )
    if config.resume and not any((out / name).exists() for name in (".work", "manifest.json")):
        raise UserError(f"resume: {out} holds no search to go on with; check --out, or leave --resume out.")
    ready = train.prepare(training)
    if config.dry_run:
        print(f"{total} trials over {', '.join(one.name for one in dimensions)}; each of them, at most:")
        print(train.cost_of(training, ready, 1))
    plan = plan_of("tune", config, ready.inputs, RUN_ONLY)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, folder, training, dimensions, ready, total)
    summarise(folder)


def training_of(config: TuneConfig) -> TrainConfig:
    """The training that trial 0 is."""
    return TrainConfig(**{one.name: getattr(config, one.name) for one in fields(TrainConfig)})


def finish(
    config: TuneConfig,
    folder: RunFolder,
    training: TrainConfig,
    dimensions: tuple[Dimension, ...],
    ready: train.Ready,
    total: int,
) -> None:
    """All the trials that have not ended yet, then the tables and the page."""
    from ray_jobs.engine import trials
    from ray_jobs.engine.face_store import store_images

    clock, out = Stopwatch(), folder.out
    ended = records.read(out)
    if folder.resumed:
        print(f"Going on where an earlier run stopped; {len(ended)} trials have ended.")
    with clock("connect"):
        cluster = connect(config)
        check_shared(cluster, folder.work, *ready.faces)
    room = trials.room(cluster, config, total)
    with folder.planning() if not folder.resumed else clock("plan"):
        cost = train.cost_of(training, ready, room.workers)
    print(f"Ray: {cluster}; {total} trials, {room.trials} at once")
    print(f"To do, for each trial at most: {cost}")
    as_given = base_values(dimensions, training)
    with clock("trials"):
        import ray

        base = base_of(config.search, dimensions, as_given)
        places = ray.put(ready), store_images(ready.faces)
        given = trials.Given(training, config.search, dimensions, base, out, room, *places)
        trials.search_trials(config, given, total, ended)
    trials = records.read(out)
    with clock("report"):
        best = publish(config, folder, training, dimensions, trials, ready.material.people_judged)
    facts = {"job": "tune", "config": asdict(config), "rows_in": {"pairs": len(ready.material.val)}, "rejects": {}}
    facts |= {"model": train.model_of(ready), "people_judged": ready.material.people_judged}
    states = {state: sum(t.state == state for t in trials) for state in ("finished", "pruned", "diverged", "failed")}
    base = next((t for t in trials if t.values == as_given), None)
    found = {
        "trials": states,
        "best": {"trial": best.number, "values": best.values, **(best.best or {})},
        "base": base.best if base else None,
        "rows_out": {"trials": len(trials)},
    }
    folder.finish({**facts, **found, "seed": config.search.seed, "seconds": clock.seconds})


def publish(
    config: TuneConfig,
    folder: RunFolder,
    training: TrainConfig,
    dimensions: tuple[Dimension, ...],
    trials: list[Trial],
    people: int,
) -> Trial:
    """Write the tables, best.yaml and the page; returns the best trial. `people` are in the validation pairs.

    Raises:
        UserError: no trial is of use; the text says why the first is not.
    """
    from faceverify.tuning import results

    out, goal = folder.out, config.search.goal
    ranked = records.ranked(trials, goal)
    if not ranked:
        raise UserError(f"not one of {len(trials)} trials is of use; trial 0 {trials[0].state}: {trials[0].reason}")
    best = ranked[0]
    table = results.trials_table(trials, dimensions, goal)
    (out / "trials.parquet").write_bytes(parquet_bytes(table))
    (out / "trials.csv").write_bytes(results.to_csv(table).encode())
    (out / "validations.parquet").write_bytes(parquet_bytes(results.validations_table(trials)))
    places = {name: open_location(getattr(training, name)).uri for name in ("faces", "pairs")}
    once = {"out": (out / "best").uri, "overwrite": False, "verbose": False}
    chosen = replaced(training, {**best.values, **places, **once}, "best.yaml")
    about = f"Trial {best.number} of {out}, EER {best.score('eer'):.4%}; python -m ray_jobs.train takes this file."
    (out / "best.yaml").write_bytes(results.best_yaml(chosen, best.values, about).encode())
    write_page(config, out, dimensions, trials, people)
    return best


def write_page(
    config: TuneConfig, out: Location, dimensions: tuple[Dimension, ...], trials: list[Trial], people: int
) -> None:
    """The page with everything; `people` are in the validation pairs."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    from faceverify.evaluation.enough import too_few
    from faceverify.report.page import ReportAbout
    from faceverify.report.tuning import render_tuning

    search = config.search
    about = ReportAbout(
        title=f"Search {out.name}",
        command=command_line(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        summary=too_few(people, train.VALIDATION),
        inputs={"faces": config.faces, "pairs": config.pairs, "start": config.start or "fresh weights"},
        versions={name: version(name) for name in ("faceverify", "ray", "optuna", "torch", "numpy")},
    )
    base = base_values(dimensions, training_of(config))
    page = render_tuning(trials, dimensions, search, about, asdict(config), base)
    (out / "report.html").write_bytes(page.encode())


def summarise(folder: RunFolder) -> None:
    """The last lines: the best, what it beats, how trials ended, where."""
    from faceverify.evaluation.enough import too_few

    facts = folder.manifest()
    best, base, states = facts["best"], facts["base"], facts["trials"]
    before = f", {base['eer']:.2%} with the values given (trial 0)" if base else ""
    print(f"EER {best['eer']:.2%} in trial {best['trial']}{before}.")
    if warning := too_few(facts["people_judged"], train.VALIDATION):
        print(warning)
    print(f"Trials: {', '.join(f'{count} {state}' for state, count in states.items() if count)}.")
    print(f"Train with its values: python -m ray_jobs.train {folder.out / 'best.yaml'}")
    print(f"Report: {folder.out / 'report.html'}")


def main() -> int:
    """Entry point."""
    return run_job("tune", TuneConfig, run, __doc__ or "", ("faces", "pairs", "out"))


if __name__ == "__main__":
    sys.exit(main())
