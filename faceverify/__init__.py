"""Face verification that deepfakes do not fool: the library. It never imports ray."""

__version__ = "0.1.0"
