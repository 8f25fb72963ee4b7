"""A photo in as many pixels as are needed: at a reduced size first, and again at a larger one if that is too coarse."""

from dataclasses import dataclass

from faceverify.images import DEFAULT_LIMITS, RGB, ImageLimits, decode, reduction_for


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPhoto:
    """A decoded photo.

    Args:
        pixels: [H, W, 3] uint8 RGB.
        reduction: pixels of the photo, in each direction, for one of these: 1, 2, 4 or 8.
        data: the file, where there is more in it than in `pixels`; else empty.
    """

    pixels: RGB
    reduction: int = 1
    data: bytes = b""

    @classmethod
    def of(cls, data: bytes, limits: ImageLimits = DEFAULT_LIMITS, longer_side: int = 0) -> "DecodedPhoto":
        """Decode a photo at the smallest size that its codec offers and that is `longer_side` pixels long; 0 = in full.

        Raises:
            BadData: see `decode`.
        """
        reduction = reduction_for(data, longer_side)
        return cls(decode(data, limits, reduction), reduction, data if reduction > 1 else b"")

    def at_most(self, reduction: float) -> "DecodedPhoto":
        """The photo with at most as many pixels for one: itself, or decoded again.

        Raises:
            BadData: see `decode`.
        """
        if self.reduction <= max(1.0, reduction):
            return self
        fitting = next(times for times in (4, 2, 1) if times <= max(1.0, reduction))
        return DecodedPhoto(decode(self.data, _KNOWN, fitting), fitting, self.data if fitting > 1 else b"")


_KNOWN = ImageLimits(max_bytes=1 << 40, max_pixels=1 << 40, min_side=1)  # it was within the limits the first time
