"""Base class of generators that make one fake at a time: a face that cannot be used costs that fake only."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from faceverify.errors import BadData
from faceverify.fakes import Description, Fake, Request


class SingleFakeGenerator(ABC):
    """A generator that makes each fake separately; a subclass implements `make_one`."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        """A fake, or the `BadData` that `make_one` raised, for each request, in the same order."""
        return [self._one(request) for request in requests]

    @abstractmethod
    def make_one(self, request: Request) -> Fake:
        """Make the fake of one request.

        Raises:
            BadData: it cannot be made of these photos; the reason says why.
        """

    def _one(self, request: Request) -> Fake | BadData:
        try:
            return self.make_one(request)
        except BadData as fault:
            return fault
