"""Passwords in addresses, taken out of all that is shown or kept: messages, manifests, reports."""

import re

HIDDEN = "***"
# The user before the host, and a password after it, which may hold / and @ of its own: s3://key:secret@bucket. An @ in
# the name of an object (s3://bucket/a@b.jpg, http://host:9000/a@b.jpg) is left alone.
_CREDENTIALS = re.compile(r"""(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s'"/@:]*:(?!\d+/)[^\s'"]*|[^\s'"/@]*)@""")
# Signed addresses carry what opens them in their query.
_SIGNATURES = re.compile(r"""(?i)([?&](?:[a-z0-9-]*(?:signature|credential|token|secret|password|key))=)[^&\s'"<>]+""")


def redacted(text: str) -> str:
    """`text` with `***` for what addresses in it say of keys and passwords."""
    if "://" not in text:
        return text
    return _SIGNATURES.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(rf"\1{HIDDEN}@", text))


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, at most 300 characters, without passwords."""
    return redacted((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]
