"""The exception tree, and the closed list of reasons for which a photo or a pair is rejected.

FaceverifyError
├── UserError         the user's mistake: one sentence naming the field or file, the value and what to do (exit code 2)
│   └── AnotherRun    the output folder holds a run of other options or inputs
├── PlatformError     the world is not as needed: storage refuses, a node is missing (exit code 3)
└── BadData           one photo or pair cannot be used: it becomes a row of `rejects`, and the job goes on
"""

from enum import StrEnum

from faceverify.redaction import redacted


class FaceverifyError(Exception):
    """Base of all exceptions raised on purpose by this package."""


class UserError(FaceverifyError):
    """A mistake that the user can fix; the text is one sentence and is shown without a traceback."""


class AnotherRun(UserError):
    """The output folder holds a run of other options or inputs.

    Args:
        sentence: for the user.
        differs: dotted names of what differs ("config.seed, inputs.photos").
    """

    def __init__(self, sentence: str, differs: str) -> None:
        super().__init__(sentence)
        self.differs = differs

    def __reduce__(self) -> tuple[type["AnotherRun"], tuple[str, str]]:
        # The default would rebuild from the sentence alone.
        return type(self), (str(self), self.differs)


class PlatformError(FaceverifyError):
    """Storage, network or cluster is not as the job needs it; shown without a traceback."""


class Reason(StrEnum):
    """Why a photo or pair was rejected. `rejects.reason` holds one of these values and nothing else."""

    # reading and decoding
    MISSING = "missing"  # no object at that path
    UNREADABLE = "unreadable"  # the storage refused or broke off
    NOT_A_FILE = "not_a_file"  # a folder, a pipe, a socket or a device
    BAD_NAME = "bad_name"  # no usable name: not UTF-8, a NUL byte, too long, an unknown scheme, or none at all
    EMPTY = "empty"  # zero bytes
    TOO_MANY_BYTES = "too_many_bytes"  # file larger than images.max_bytes
    NOT_AN_IMAGE = "not_an_image"  # the content is no picture at all
    UNSUPPORTED = "unsupported_format"  # a picture, but of a format that is not read (GIF, HEIC, AVIF, ...)
    TRUNCATED = "truncated"  # the file ends before the picture does
    CORRUPT = "corrupt"  # the decoder refused the content
    TOO_MANY_PIXELS = "too_many_pixels"  # header announces more than images.max_pixels; never unpacked
    TOO_SMALL = "too_small"  # a side shorter than images.min_side
    # listing
    OUTSIDE_ROOT = "outside_root"  # the path leaves the root folder
    DUPLICATE = "duplicate"  # the same key, or by a link the same file, a second time
    UNLABELLED = "unlabelled"  # the layout's metadata does not name this file
    # alignment
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"  # and the policy is `refuse`
    NO_LANDMARKS = "no_landmarks"  # aligner `annotated`, and the table has none for this photo
    BAD_LANDMARKS = "bad_landmarks"  # not finite, or all in one point
    NOT_ALIGNED = "not_aligned"  # aligner `none`, and the photo is not square
    # fakes
    NO_TARGET = "no_target"  # nobody else in the split has a photo into which the face could be put
    BAD_FAKE = "bad_fake"  # a generator gave no picture, or nothing of it would be seen in the photo
    UNLIKE_PERSON = "unlike_person"  # a fake that looks less like the person than asked for
    # embedding and pairs
    BAD_EMBEDDING = "bad_embedding"  # not finite, or of length zero
    UNKNOWN_PHOTO = "unknown_photo"  # a pair names a photo that the photos table does not hold
    PHOTO_REJECTED = "photo_rejected"  # a pair names a photo that was itself rejected


class BadData(FaceverifyError):
    """One photo or pair that cannot be used.

    Args:
        reason: why, from the closed list.
        detail: free text for a person to read; holds no secrets and no pixels.
        version: of the file that is at fault (`faceverify.provenance`), if it got as far as being opened.
    """

    def __init__(self, reason: Reason, detail: str = "", version: str | None = None) -> None:
        detail = redacted(detail)
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
        self.version = version

    def __reduce__(self) -> tuple[type["BadData"], tuple[Reason, str, str | None]]:
        # The default would rebuild from the formatted text and break when it crosses process borders.
        return type(self), (self.reason, self.detail, self.version)
