"""The recipe as a chain of jobs: what each of them is given, and by whom.

    pretraining/...   photos, faces [, fakes, all_faces], pairs, train   if a pre-training set is given
    photos, faces, embeddings, clean, fakes, all_faces, pairs, train, export, scores_before, scores, evaluation

Each section of the configuration is that of its job. What one job makes for the next is filled in here, and refused in
the configuration, so that no two sections can disagree.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from faceverify.align import build
from faceverify.config import JobConfig
from faceverify.errors import UserError
from faceverify.inputs import run_manifest
from faceverify.scoring.plan import check_pairs
from faceverify.storage import check_readable, check_writable, open_location
from ray_jobs import align, clean, embed, evaluate, export, fakes, ingest, pairs, score, train
from ray_jobs.align import AlignJobConfig
from ray_jobs.clean import CleanConfig
from ray_jobs.embed import EmbedConfig
from ray_jobs.engine.pipeline_steps import Step
from ray_jobs.evaluate import EvaluateConfig
from ray_jobs.export import ExportConfig
from ray_jobs.fakes import FakesConfig
from ray_jobs.ingest import IngestConfig
from ray_jobs.pairs import PairsConfig
from ray_jobs.score import ScoreConfig
from ray_jobs.train import TrainConfig

C = TypeVar("C", bound=JobConfig)
FIRST = "pretraining"
PEOPLE = "people"  # where people are drawn who have no other place
RUN_FIELDS = tuple(field.name for field in fields(JobConfig))


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """Stage one: a large set of people with right labels."""

    ingest: IngestConfig = field(default_factory=IngestConfig)
    """Without a source there is no stage one."""
    with_fakes: bool = True
    """Make deepfakes of these people too, as the reference does; false = real photos alone, for identity losses."""
    fakes: FakesConfig = field(default_factory=FakesConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    """`start` empty = a fresh network of `network.architecture`."""


@dataclass(frozen=True, kw_only=True)
class RecipeConfig(JobConfig):
    """The two-stage recipe: raw folders in, a fine-tuned network and a scored test set out."""

    redo: str = ""
    """Name of a step that is made again, with all that follow it."""
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    ingest: IngestConfig = field(default_factory=IngestConfig)
    """The set to fine-tune on."""
    align: AlignJobConfig = field(default_factory=AlignJobConfig)
    """Of all photos: of both sets, of the fakes, of the test."""
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """`model` empty = the network that fine-tuning begins with."""
    clean: CleanConfig = field(default_factory=CleanConfig)
    fakes: FakesConfig = field(default_factory=FakesConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    finetune: TrainConfig = field(default_factory=TrainConfig)
    """`start` empty = the best of the pre-training."""
    export: ExportConfig = field(default_factory=ExportConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    """`pairs` (and `photos`) of the test; empty = the pairs of the set's own split test, or of val if it has none."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


# What the recipe itself fills in, by section.
FILLED = {
    "pretraining.ingest": (),
    "pretraining.fakes": ("photos", "faces"),
    "pretraining.pairs": ("photos", "faces"),
    "pretraining.train": ("faces", "pairs"),
    "ingest": (),
    "align": ("photos",),
    "embed": ("faces",),
    "clean": ("photos", "embeddings"),
    "fakes": ("photos", "faces"),
    "pairs": ("photos", "faces"),
    "finetune": ("faces", "pairs"),
    "export": ("checkpoint", "faces", "pairs"),
    "score": ("model", "embeddings", "calibration", "threshold", "align", "images"),  # a threshold is of one network
    "evaluate": ("scores", "before", "calibration"),
}


def section_of(config: RecipeConfig, name: str) -> JobConfig:
    """A section by its dotted name."""
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return found


def check(config: RecipeConfig) -> None:
    """Everything that can be checked before the first step.

    Raises:
        UserError: a section sets what the recipe fills in; a source, a list, a network, reviewers' decisions or the
            aligner's weights are missing or wrong; losses that do not fit the batches; no network to begin with.
        PlatformError: storage refuses.
    """
    _check_filled(config)
    _check_set("ingest", config.ingest)
    if config.pretraining.ingest.source or config.pretraining.ingest.layout == "rendered":
        _check_set("pretraining.ingest", config.pretraining.ingest)
    elif not config.finetune.start:
        raise UserError(
            "There is no network to begin with: give --finetune.start NAME_OR_FILE, or a set to pre-train on "
            "(--pretraining.ingest.source DIR)."
        )
    _check_test(config)
    clean.read_reviews(config.clean)
    if config.clean.materialise:
        check_writable(open_location(config.clean.materialise), "clean.materialise")
    for one in (config.finetune, config.pretraining.train):
        train.check_losses(one)
    build(replace(config.align.align, device="cpu"))  # checks the weights
    for name in (config.embed.model, config.finetune.start, config.pretraining.train.start):
        _check_network(name)
    check_writable(open_location(config.out), "out")


def _check_filled(config: RecipeConfig) -> None:
    for name, filled in FILLED.items():
        section = section_of(config, name)
        default = type(section)()
        for one in (*RUN_FIELDS, *filled):
            if getattr(section, one) != getattr(default, one):
                raise UserError(f"{name}.{one} is filled in by the pipeline; leave it out.")


def _check_test(config: RecipeConfig) -> None:
    for name in ("photos", "pairs"):
        if getattr(config.score, name):
            check_readable(open_location(getattr(config.score, name)), f"score.{name}")
    if config.score.photos and not config.score.pairs:
        raise UserError("score.photos is given without score.pairs; a test of other photos needs a list of its pairs.")
    if config.score.pairs:
        check_pairs(score.read_pairs(config.score), config.score.csv)
    # Photos of the test are there in any case: those of the set, if no others are given.
    score.forensic_card(replace(config.score, photos=config.score.photos or config.out, align=config.align.align), None)
    if config.evaluate.photos:
        check_readable(open_location(config.evaluate.photos), "evaluate.photos")


def _check_set(name: str, config: IngestConfig) -> None:
    if config.source and config.layout != "rendered":
        check_readable(open_location(config.source), f"{name}.source")
    elif not config.source and config.layout != "rendered":
        raise UserError(f"Required and not given: --{name}.source DIR (on the command line or in the YAML file).")


def _check_network(name: str) -> None:
    from faceverify.models import registry
    from faceverify.models.files import SUFFIXES
    from faceverify.models.folders import weights_file
    from faceverify.models.loading import resolve

    if name and (name in registry.entries() or name.endswith(SUFFIXES)):
        resolve(name)
    elif name:
        check_readable(open_location(name), "the network")
        weights_file(name)


class Recipe:
    """The steps of a configuration.

    Args:
        config: see RecipeConfig.
        tell: runs `evaluate`, whose report may have more to tell.
    """

    def __init__(self, config: RecipeConfig, tell: Callable[[EvaluateConfig], None] = evaluate.run) -> None:
        self.config, self.tell, self.out = config, tell, open_location(config.out)
        first = config.pretraining.ingest
        self.pretrains = bool(first.source) or first.layout == "rendered"

    def at(self, name: str) -> str:
        """Where a step's output lies."""
        return str(self.out / name)

    def steps(self) -> list[Step]:
        """All of them, in their order."""
        return [*(self._pretraining() if self.pretrains else []), *self._set(), *self._training(), *self._test()]

    def start(self) -> str:
        """The network that fine-tuning begins with, as a model that can be scored with."""
        from faceverify.training.checkpoints import WEIGHTS, best_checkpoint

        named = self.config.finetune.start or self.at(f"{FIRST}/train")
        place = best_checkpoint(named)
        return f"{place}/{WEIGHTS}" if place else named

    def _pretraining(self) -> list[Step]:
        config = self.config.pretraining
        photos, faces, made, all_faces, drawn, learnt = (
            f"{FIRST}/{name}" for name in ("photos", "faces", "fakes", "all_faces", "pairs", "train")
        )
        steps = [
            self._list(photos, "list the people to pre-train on", config.ingest, f"{FIRST}/{PEOPLE}"),
            self._align(faces, "align their faces", photos),
        ]
        if config.with_fakes:
            steps += [
                self._fakes(made, config.fakes, photos, faces),
                self._align(all_faces, "align the deepfakes too", made),
            ]
            photos, faces = made, all_faces
        tables = {"faces": self.at(faces), "pairs": self.at(drawn)}
        return [
            *steps,
            self._pairs(drawn, config.pairs, photos, faces),
            Step(learnt, "pre-train", lambda: replace(config.train, **tables), train.run),
        ]

    def _set(self) -> list[Step]:
        config, at = self.config, self.at
        return [
            self._list("photos", "list the people to fine-tune on", config.ingest, PEOPLE),
            self._align("faces", "align their faces", "photos"),
            Step(
                "embeddings",
                "embed them with the network to begin with",
                lambda: replace(config.embed, faces=at("faces"), model=config.embed.model or self.start()),
                embed.run,
            ),
            Step(
                "clean",
                "find the wrong labels",
                lambda: replace(config.clean, photos=at("photos"), embeddings=at("embeddings")),
                clean.run,
            ),
            self._fakes("fakes", config.fakes, "clean", "faces"),
            self._align("all_faces", "align the deepfakes too", "fakes"),
            self._pairs("pairs", config.pairs, "fakes", "all_faces"),
        ]

    def _training(self) -> list[Step]:
        config, at = self.config, self.at
        tables = {"faces": at("all_faces"), "pairs": at("pairs")}
        begin = config.finetune.start or at(f"{FIRST}/train")
        return [
            Step("train", "fine-tune", lambda: replace(config.finetune, start=begin, **tables), train.run),
            Step("export", "export", lambda: replace(config.export, checkpoint=at("train"), **tables), export.run),
        ]

    def _test(self) -> list[Step]:
        return [
            Step("scores_before", "score the test before fine-tuning", lambda: self._score(self.start()), score.run),
            Step("scores", "score the test", lambda: self._score(self.at("export/model.onnx")), score.run),
            Step("evaluation", "evaluate", self._evaluate, self.tell),
        ]

    def _list(self, name: str, does: str, config: IngestConfig, place: str) -> Step:
        def run(asked: IngestConfig) -> None:
            from faceverify.rendered.listing import CONFIG_FILE

            drawn = open_location(self.at(place))
            if asked.overwrite and not config.source and (drawn / CONFIG_FILE).is_file():
                drawn.delete()
            ingest.run(asked)

        return Step(name, does, lambda: replace(config, source=config.source or self.at(place)), run)

    def _align(self, name: str, does: str, photos: str) -> Step:
        return Step(name, does, lambda: replace(self.config.align, photos=self.at(photos)), align.run)

    def _fakes(self, name: str, config: FakesConfig, photos: str, faces: str) -> Step:
        places = {"photos": self.at(photos), "faces": self.at(faces)}
        return Step(name, "make deepfakes", lambda: replace(config, **places), fakes.run)

    def _pairs(self, name: str, config: PairsConfig, photos: str, faces: str) -> Step:
        places = {"photos": self.at(photos), "faces": self.at(faces)}
        return Step(name, "form pairs", lambda: replace(config, **places), pairs.run)

    def _score(self, model: str) -> ScoreConfig:
        config = self.config.score
        how = {"model": model, "align": self.config.align.align, "images": self.config.align.images}
        if config.pairs:
            return replace(config, photos=config.photos or self.at("fakes"), **how)
        splits = (run_manifest(self.out / "pairs") or {})["splits"]
        split = config.pair_list.split or ("test" if "test" in splits else "val")
        listed = replace(config.pair_list, split=split)
        return replace(config, photos=self.at("fakes"), pairs=self.at("pairs/pairs"), pair_list=listed, **how)

    def _evaluate(self) -> EvaluateConfig:
        return replace(self.config.evaluate, scores=self.at("scores"), before=self.at("scores_before"))
