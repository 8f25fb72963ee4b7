"""Raw folders in, a fine-tuned network and a scored test set out: the two-stage recipe, from its first unfinished step.

python -m ray_jobs.pipeline configs/pipeline.yaml --ingest.source people --finetune.start model.pt --out runs/recipe
"""

import sys
from collections.abc import Callable
from typing import Any

from faceverify.storage import Location, open_location
from ray_jobs import evaluate
from ray_jobs.engine.pipeline_config import Recipe, RecipeConfig, check
from ray_jobs.engine.pipeline_steps import COLUMNS, Steps, as_text, table_of
from ray_jobs.engine.session import run_job
from ray_jobs.evaluate import Story

Tell = Callable[[RecipeConfig], tuple[str, Any]]  # of a configuration: a sentence for the report, and its first section


def run(config: RecipeConfig, tell: Tell = lambda config: ("", None)) -> None:
    """Check, show the plan, go through the steps, sum up.

    Args:
        config: see RecipeConfig.
        tell: what the report says of these people.
    """
    check(config)
    out = open_location(config.out)
    chain: Steps
    evaluated = lambda one: evaluate.run(one, lambda: story(out, chain, tell(config)))  # noqa: E731
    chain = Steps(out, Recipe(config, evaluated).steps(), config)
    if config.overwrite:
        chain.begin_again(chain.steps[0].name, "--overwrite")
    elif config.redo:
        chain.begin_again(config.redo, f"--redo {config.redo}")
    chain.check_unchanged()
    if config.dry_run:
        print(chain.plan())
        print("Dry run: all that can be checked beforehand is in order; nothing was started.")
        return
    print(chain.plan(), flush=True)
    chain.run()
    print("\n" + as_text(table_of(chain.facts())))
    print(f"Network: {out / 'export' / 'model.onnx'}")
    print(f"Report: {out / 'evaluation' / 'report.html'}")


def story(out: Location, chain: Steps, told: tuple[str, Any]) -> Story:
    """What the report tells besides the results: labels where the truth is known, fakes, pairs, every step."""
    from faceverify.inputs import read_schema, table_files
    from faceverify.report import steps
    from faceverify.report.page import Section, Table

    known = "true_person" in read_schema(table_files(out / "photos", "photos")[0]).names
    sections = [
        *([steps.labels_section(out / "photos", out / "clean")] if known else []),
        steps.fakes_section(out / "fakes"),
        steps.pairs_section(out / "pairs"),
        Section(
            title="Steps",
            paragraphs=("What went into each step, what came out, what was rejected and why.",),
            table=Table(columns=COLUMNS, rows=tuple(table_of(chain.facts()))),
        ),
    ]
    return Story(summary=told[0], intro=told[1], sections=tuple(sections))


def main() -> int:
    """Entry point."""
    return run_job("pipeline", RecipeConfig, run, __doc__ or "", ("out",))


if __name__ == "__main__":
    sys.exit(main())
