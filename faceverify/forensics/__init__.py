"""Was this photo manipulated? A second number beside the similarity of two photos.

A forensic model gives each photo a score; thresholds belong to bands of face size (`bands`), for a small picture of a
face shows less of what a swap leaves behind.
"""
