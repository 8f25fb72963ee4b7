"""People drawn by the program, for the demo and for tests: identities, photos, landmarks, two kinds of fakes.

Nothing in here shows a real person. Everything is a pure function of the configuration, photo by photo, so that photos
can be rendered in any order and by any number of tasks.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from faceverify.errors import UserError

if TYPE_CHECKING:
    from faceverify.rendered.fakes import render_fake
    from faceverify.rendered.identity import draw_person
    from faceverify.rendered.listing import plan, read, render, row, start, write, write_slot
    from faceverify.rendered.photo import render_photo

__all__ = [
    "RenderedConfig",
    "draw_person",
    "plan",
    "read",
    "render",
    "render_fake",
    "render_photo",
    "row",
    "start",
    "write",
    "write_slot",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedConfig:
    """How many people to draw, and how hard to make it."""

    persons: int = 60
    """Number of persons."""
    photos_per_person: int = 8
    """Real photos of each person."""
    fakes_per_person: int = 4
    """Deepfakes of each person, in turn by face swap and by synthesis; 0 = none."""
    label_errors: float = 0.0
    """Share of the real photos that show another person than the one they are filed under, 0 to 1; 0 = none."""
    photo_size: int = 160
    """Side of the square photos, in pixels; at least 64."""
    difficulty: float = 1.0
    """Scales pose, light, expression, blur and noise; 0 = passport photos, 1 = snapshots, 2 = hard."""
    fake_traces: float = 1.0
    """Scales what deepfakes show of how they were made (seam, grid); 1 = hard to see, 4 = plain. 0 to 8."""
    train_share: float = 0.8
    """Share of the persons whose split is "train"; those who are neither this nor `val_share` are "test". 0 to 1."""
    val_share: float = 0.0
    """Share of the persons whose split is "val": whom training is judged by. 0 to 1, with `train_share` at most 1."""
    seed: int = 0
    """Seed of everything that is drawn; the same seed gives the same files."""

    def __post_init__(self) -> None:
        for name, low in (("persons", 1), ("photos_per_person", 1), ("fakes_per_person", 0), ("photo_size", 64)):
            if getattr(self, name) < low:
                raise UserError(f"rendered.{name} is {getattr(self, name)}; give {low} or more.")
        for name, high in _SHARES:
            if not 0 <= getattr(self, name) <= high:
                raise UserError(f"rendered.{name} is {getattr(self, name)}; give a number from 0 to {high:g}.")
        if self.train_share + self.val_share > 1:
            raise UserError(
                f"rendered.val_share is {self.val_share}, train_share {self.train_share}: give at most 1 together."
            )
        if self.label_errors > 0 and self.persons < 2:
            raise UserError("rendered.label_errors needs a second person; set rendered.persons to 2 or more.")


_SHARES = (("label_errors", 1.0), ("train_share", 1.0), ("val_share", 1.0), ("difficulty", 3.0), ("fake_traces", 8.0))
_HOME = {
    "draw_person": "identity",
    "render_photo": "photo",
    "render_fake": "fakes",
    "plan": "listing",
    "render": "listing",
    "row": "listing",
    "start": "listing",
    "write_slot": "listing",
    "write": "listing",
    "read": "listing",
}


def __getattr__(name: str) -> Any:
    # OpenCV and Arrow load when something is drawn, not when the command line only wants RenderedConfig.
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
