"""What the notebooks share: graded exercises, a photograph, real images where they are found, and one style.

    from minivit.lessons import grade, photograph, small_photographs, set_up

Importing it imports NumPy only; matplotlib and Pillow are imported where they are used.
"""

from minivit.lessons.grade import grade
from minivit.lessons.images import SmallPhotographs, photograph, small_photographs
from minivit.lessons.style import MARKERS, PALETTE, set_up

__all__ = [
    "MARKERS",
    "PALETTE",
    "SmallPhotographs",
    "grade",
    "photograph",
    "set_up",
    "small_photographs",
]
