"""Which errors of workers end a training at once, and which one it gives Ray Train another try for."""

import pytest
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from faceverify.errors import PlatformError, UserError
from ray_jobs.engine.training_group import EndAtOwnErrors


@pytest.mark.parametrize("kind", [UserError, PlatformError])
def test_an_error_with_a_sentence_ends_the_run(kind: type[Exception]) -> None:
    failures = {0: RuntimeError("connection lost"), 1: UserExceptionWithTraceback(kind("a sentence."), "Traceback")}
    with pytest.raises(kind, match=r"^a sentence\.$"):
        EndAtOwnErrors().after_exception(None, failures)


def test_a_worker_that_died_is_tried_again() -> None:
    EndAtOwnErrors().after_exception(None, {0: UserExceptionWithTraceback(RuntimeError("gone"), "Traceback")})
