"""Scores in, error rates out: EER, FNMR at FMR, errors by kind and generator, intervals, a report, a calibration.

python -m ray_jobs.evaluate configs/evaluate.yaml --scores runs/scores --out runs/evaluation
"""

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Any

from annotated_types import Interval

from faceverify import tables
from faceverify.config import Input, JobConfig, command_line, plan_of
from faceverify.errors import BadData, UserError
from faceverify.evaluation.calibration import Calibration
from faceverify.evaluation.comparison import Comparison, compare
from faceverify.evaluation.embedding_map import EmbeddingMap, MapMethod, make_map
from faceverify.evaluation.forensic import COLUMNS, ForensicResult, judge, model_of, read_pairs
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.evaluation.result import Evaluation
from faceverify.evaluation.score_rows import ScoreRows
from faceverify.faces import Stopwatch
from faceverify.forensics.thresholds import check_same_model
from faceverify.images import ImageLimits, decode
from faceverify.inputs import (
    fingerprint,
    open_embeddings,
    open_table,
    photo_table_files,
    read_schema,
    run_manifest,
    stream_table,
    table_files,
)
from faceverify.naming import in_folder, in_table
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.session import run_job

OUTPUTS = ("metrics.json", "metrics_before.json", "metrics.csv", "calibration.json", "report.html")
PROGRAMS = (
    "faceverify",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "ray",
    "numpy",
    "pyarrow",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig(JobConfig, EvaluationConfig):
    """Measure scored pairs. Needs no cluster."""

    scores: Input = ""
    """Scores table: the output of score. Required."""
    before: Input = ""
    """Scores of the same pairs by the network before (before fine-tuning, say); the report then tells what changed."""
    calibration: Input = ""
    """calibration.json whose threshold is judged here; without one the threshold is found on these very pairs."""
    forensic_cost: Annotated[float, Interval(ge=0, le=1)] = 0.05
    """Where scores have forensic ones: by how much both numbers together may reject more genuine pairs than the
    similarity alone; as many deepfakes are refused as that allows. With a calibration, its thresholds are judged."""
    photos: Input = ""
    """Folder or table of the photos, for the pictures in the report; empty = where score found them."""
    title: str = ""
    """Headline of the report."""
    map: Annotated[int, Interval(ge=0)] = 0
    """People whose embeddings the report draws in two dimensions, with those of `before` beside them; 0 = no map. Needs
    a photos table (`photos`, or the one that score read)."""
    map_embeddings: Input = ""
    """Embeddings table of the map; empty = the embeddings that `scores` holds."""
    map_before: Input = ""
    """Embeddings table of the same photos by the network before; empty = the embeddings that `before` holds."""
    map_method: MapMethod = "auto"
    """How: tsne needs scikit-learn (pip install 'faceverify[map]'); pca; auto = tsne where that is installed."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a report tells of one's own, `faceverify.report.page.Section`s.

    Args:
        summary: a sentence under the headline.
        intro: comes first of all.
        sections: come before the results.
    """

    summary: str = ""
    intro: Any = None
    sections: tuple[Any, ...] = ()


def run(config: EvaluateConfig, story: Callable[[], Story] = Story) -> None:
    """Measure and write.

    Args:
        config: see EvaluateConfig.
        story: asked for when the report is written.
    """
    places = {name: open_location(uri) for name in ("scores", "before") if (uri := getattr(config, name))}
    for name, one in places.items():
        check_readable(one, name)
    out, place = open_location(config.out), places["scores"]
    check_writable(out, "out")
    files = {name: open_table(one, "scores", tables.SCORES, name) for name, one in places.items()}
    calibration = Calibration.read(open_location(config.calibration)) if config.calibration else None
    origin = run_manifest(place) or {}
    if (least := origin.get("at_least")) is not None:
        raise UserError(
            f"scores: {place} holds only pairs with a similarity of at least {least:g}, and error rates need all of "
            "them; give scores of listed pairs, or all pairs without that limit."
        )
    inputs = {name: fingerprint(one) for name, one in places.items()}
    inputs |= {"calibration": calibration.to_json() if calibration else ""}
    inputs |= {"photos": open_location(config.photos).real if config.photos else ""}
    drawn = map_inputs(config, origin)
    inputs |= {name: fingerprint(one) for name, one in drawn.items()}
    plan = plan_of("evaluate", config, inputs)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        clock = Stopwatch()
        with folder.planning(), clock("evaluate"):  # a mistake found while measuring leaves nothing behind
            scores = ScoreRows(files["scores"])
            wanted = EvaluationConfig(**{f.name: getattr(config, f.name) for f in fields(EvaluationConfig)})
            about_scores = {"model": model_digest(origin), "data": config.scores, "max_failed": config.max_failed}
            result = evaluate(scores, wanted, calibration, **about_scores)
            change = compared(files["before"], scores, result, wanted) if "before" in files else None
            forensic = judge_forensics(config, scores, result, calibration)
            told = about(config, origin, story(), forensic)
            _write(config, folder, with_forensics(result, forensic), change, draw(config, drawn), told, origin)
        failures = result.failures
        counts = {"scores": failures.pairs - failures.failed - failures.unlabelled}
        facts = {"rows_in": {"scores": failures.pairs}, "rows_out": counts, "rejects": failures.by_status}
        facts |= {"unlabelled": failures.unlabelled, "model": origin.get("model", {}), "seconds": clock.seconds}
        folder.finish({"job": "evaluate", "config": asdict(config), **facts})
    summarise(out)


def judge_forensics(
    config: EvaluateConfig, scores: ScoreRows, result: Evaluation, calibration: Calibration | None
) -> ForensicResult | None:
    """What forensic scores refuse beside the similarities; None where there are none, or nothing decides.

    Raises:
        UserError: the calibration's forensic thresholds are of another model, or the scores of several.
    """
    if "forensic_with" not in scores.schema.names or result.threshold is None:
        return None
    model = model_of(scores.batches(("forensic_with",)))
    if not model:
        return None
    given = calibration.forensic if calibration else None
    if given:
        check_same_model(given, model)
    pairs = read_pairs(scores.batches(COLUMNS), result.failures.pairs)
    return judge(pairs, result.threshold, model, config.forensic_cost, given, config.seed)


def with_forensics(result: Evaluation, forensic: ForensicResult | None) -> Evaluation:
    """The result with what forensic scores add, also in its calibration."""
    if forensic is None:
        return result
    limits = None if result.calibration is None else replace(result.calibration, forensic=forensic.thresholds)
    return replace(result, forensic=forensic, calibration=limits)


def compared(
    files: list[Location], scores: ScoreRows, result: Evaluation, wanted: EvaluationConfig
) -> Comparison | None:
    """What changed since the scores in `files`.

    Raises:
        UserError: they are of other pairs.
    """
    before = ScoreRows(files)
    return compare((before, evaluate(before, wanted)), (scores, result), wanted.worst_pairs)


def map_inputs(config: EvaluateConfig, origin: dict[str, Any]) -> dict[str, Location]:
    """The places of the tables behind the map, by the option that names each; empty if no map is wanted.

    Raises:
        UserError: one that is needed is not there, or another is given without --map.
    """
    named = {"map_embeddings": config.map_embeddings, "map_before": config.map_before}
    if not config.map:
        if given := [name for name, uri in named.items() if uri]:
            raise UserError(f"{given[0]} is given without --map: say how many people are drawn, such as --map 12.")
        return {}
    photos = config.photos or origin.get("photos_table") or ""
    if not photos or not photo_table_files(open_location(photos)):
        raise UserError(
            f"map is {config.map}, and there is no photos table that says whose photos these are: give one as --photos."
        )
    named["map_embeddings"] = config.map_embeddings or config.scores
    named["map_before"] = config.map_before or config.before
    found = {"map_photos": open_location(photos)} | {name: open_location(uri) for name, uri in named.items() if uri}
    for name in ("map_before", "map_embeddings"):
        files = table_files(found[name], "embeddings") if name in found else []
        if name in found and not (files and "embedding" in read_schema(files[0]).names):
            raise UserError(
                f"{name}: '{found[name]}' holds no embeddings table; give the output of score or embed as "
                f"--{name.replace('_', '-')}."
            )
    return found


def draw(config: EvaluateConfig, places: dict[str, Location]) -> EmbeddingMap | None:
    """The map, if it is wanted; `places` as `map_inputs` gives them."""
    if not places:
        return None
    pictures = {"before": "map_before", "after": "map_embeddings"} if "map_before" in places else {"": "map_embeddings"}
    tables_of = {name or "embeddings": open_embeddings(places[option]) for name, option in pictures.items()}
    photos = photo_table_files(places["map_photos"])
    return make_map(photos, tables_of, config.map, config.map_method, config.seed)


def model_digest(origin: dict[str, Any]) -> str:
    """The digest of the model card behind the scores, as the run that made them noted it."""
    return origin.get("plan", {}).get("inputs", {}).get("model", "")


def _write(
    config: EvaluateConfig,
    folder: RunFolder,
    result: Evaluation,
    change: Comparison | None,
    drawn: EmbeddingMap | None,
    about: Any,
    origin: dict[str, Any],
) -> None:
    from faceverify.report.page import render_report

    files = {"metrics.json": result.to_json(), "metrics.csv": result.to_csv()}
    if result.calibration:
        files["calibration.json"] = result.calibration.to_json()
    if change:
        files["metrics_before.json"] = change.before.to_json()
    shown = sorted({*result.photos, *(change.photos if change else ())})
    files["report.html"] = render_report(result, about, thumbnails(config, shown, origin), change, drawn)
    for name, text in files.items():
        (folder.out / name).write_bytes(text.encode())


def about(config: EvaluateConfig, origin: dict[str, Any], story: Story, forensic: ForensicResult | None) -> Any:
    """What the report says of itself."""
    from faceverify.report.forensic import forensic_sections
    from faceverify.report.page import ReportAbout

    inputs = {"scores": config.scores, "before": config.before, "calibration": config.calibration}
    inputs |= {name: str(origin.get("config", {}).get(name, "")) for name in ("photos", "pairs", "model", "embeddings")}
    return ReportAbout(
        title=config.title or "Face verification",
        command=command_line(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=story.summary,
        inputs={name: value for name, value in inputs.items() if value},
        versions=versions(),
        model_card=origin.get("model", {}),
        intro=story.intro,
        sections=(*story.sections, *(forensic_sections(forensic) if forensic else ())),
    )


def versions() -> dict[str, str]:
    """The programs behind the numbers, and their versions."""
    from importlib.metadata import PackageNotFoundError

    found = {"python": platform.python_version()}
    for program in PROGRAMS:
        try:
            found[program] = version(program)
        except PackageNotFoundError:
            continue  # of the two onnxruntimes one is installed
    return found


def thumbnails(config: EvaluateConfig, photos: list[str], origin: dict[str, Any]) -> dict[str, bytes]:
    """Small pictures of the photos that the report shows; those that cannot be read are left out."""
    from faceverify.report.thumbnails import thumbnail

    pictures = {}
    for photo, place in photo_places(config, photos, origin).items():
        try:
            pictures[photo] = thumbnail(decode(place.read_bytes(ImageLimits().max_bytes), ImageLimits()))
        except BadData:
            continue  # the frame stays empty; that the photo is bad was told by the job that rejected it
    return pictures


def photo_places(config: EvaluateConfig, photos: list[str], origin: dict[str, Any]) -> dict[str, Location]:
    """Where the bytes of the photos are."""
    named = config.photos or origin.get("photos_table") or origin.get("photos_root")
    if not named:
        return {}
    place = open_location(named)
    files = photo_table_files(place) if place.exists() else []
    others: dict[str, str] = {}
    if origin.get("found"):  # score found some under other names than the list's
        others = (in_table(photos, files) if files else in_folder(photos, place)).others
    if not files:
        return {photo: place / others.get(photo, photo) for photo in photos}
    wanted, found = {others.get(photo, photo): photo for photo in photos}, {}
    for table in stream_table(files, ["photo", "uri"]):
        pairs = zip(table["photo"].to_pylist(), table["uri"].to_pylist(), strict=True)
        found |= {wanted[photo]: Location(uri) for photo, uri in pairs if photo in wanted}
    return found


def summarise(out: Location) -> None:
    """The last lines: the headline numbers and where everything is."""
    found = json.loads((out / "metrics.json").read_bytes())
    low_high = found["eer_interval"]
    spread = f" (95 % interval {low_high[0]:.2%} to {low_high[1]:.2%})" if low_high else ""
    before = out / "metrics_before.json"
    was = json.loads(before.read_bytes()) if before.is_file() else None
    if found["eer"] is not None:
        print(f"EER {found['eer']:.2%}{spread}" + (f"; {was['eer']:.2%} before" if was else ""))
    if found["threshold"] is not None:
        print(f"At the threshold {found['threshold']:.4f} ({found['threshold_rule']}):")
        for kind, row in found["by_kind"].items():
            if row.get("error_rate") is not None:
                print(f"  {kind:<10}{row['errors']:>8,} of {row['pairs']:,} wrong ({row['error_rate']:.2%})")
        for generator, row in found["by_generator"].items():
            old = was["by_generator"].get(generator) if was else None  # none of its pairs could be scored then
            then = f", {old['accept_rate']:.1%} before" if old else ""
            print(f"  fakes by {generator}: {row['accept_rate']:.1%} accepted as the claimed person{then}")
    if forensic := found.get("forensic"):
        told = (f"{forensic[name] / max(1, forensic['genuine']):.1%}" for name in ("rejected_alone", "rejected"))
        print("With forensic scores: genuine pairs rejected {1}, {0} by the similarity alone".format(*told))
        for generator, row in forensic["by_generator"].items():
            few = f"{row['accepted']:,} of {row['pairs']:,} accepted, {row['accepted_alone']:,} by the similarity alone"
            print(f"  fakes by {generator}: {few}")
    for note in found["notes"]:
        print(note)
    print(f"Report: {out / 'report.html'}")


def main() -> int:
    """Entry point."""
    return run_job("evaluate", EvaluateConfig, run, __doc__ or "", ("scores", "out"))


if __name__ == "__main__":
    sys.exit(main())
