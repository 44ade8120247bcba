"""Colours, margins and font of the pictures that are written to files."""

from PIL import ImageFont

MARGIN, CAPTION = 28, 30
"""Margin of a picture, and height of the line below a panel [pixels]."""
PAPER, INK, QUIET, ACCENT = (17, 19, 23), (236, 238, 241), (150, 156, 166), (255, 176, 59)
"""Colours (red, green, blue) of background, text, captions and marks."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font_of_size(size: int) -> Font:
    """The font of all texts in pictures."""
    return ImageFont.load_default(size)
