"""What generators have in common that make each fake by itself: a face that cannot be worked on costs one fake."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from faceverify.errors import BadData
from faceverify.fakes import Description, Fake, Request


class SingleFakeGenerator(ABC):
    """A generator; holds nothing but its description."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        """One result per request, same order."""
        return [self._one(request) for request in requests]

    @abstractmethod
    def make_one(self, request: Request) -> Fake:
        """A fake.

        Raises:
            BadData: why there is none.
        """

    def _one(self, request: Request) -> Fake | BadData:
        try:
            return self.make_one(request)
        except BadData as fault:
            return fault
