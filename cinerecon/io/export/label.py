"""Labels on grey pictures: what is shown, in white with a dark edge, legible on any image."""

from PIL import Image, ImageDraw, ImageFont

from cinerecon.image import CineImage

LABEL_LINES = 24
"""Height of an image over that of its label."""
SMALLEST_FONT = 10
MARGIN = 4


def draw_label(picture: Image.Image, text: str, *, left: int = 0, width: int | None = None, bottom: int = 0) -> None:
    """Write one line at the top of a picture, or above a position from which it is measured.

    Parameters
    ----------
    picture
        8 bits; it is changed.
    text
        The line; what does not fit the width is cut, with dots.
    left, width
        The part of the picture that it belongs to [pixels]; None is up to the right edge.
    bottom
        If not 0, the line ends here [pixels from the top].
    """
    width = picture.width - left if width is None else width
    font = ImageFont.load_default(max(SMALLEST_FONT, min(picture.height, 2 * width) // LABEL_LINES))
    while text and font.getlength(text) > width - 2 * MARGIN:
        text = text.rstrip("…")[:-1] + "…" if len(text) > 1 and text != "…" else ""
    y, anchor = (bottom - MARGIN, "ld") if bottom else (MARGIN, "la")
    place = (left + MARGIN, y)
    ImageDraw.Draw(picture).text(place, text, fill=255, font=font, anchor=anchor, stroke_width=1, stroke_fill=0)


def frame_label(cine: CineImage, frame: int) -> str:
    """Number and time of a frame, e.g. ``frame 3  ·  120 ms``; without time where it is not known."""
    times = cine.meta.frame_times_ms
    return f"frame {frame}" + (f"  ·  {times[frame]:.0f} ms" if len(times) == cine.n_frames else "")
