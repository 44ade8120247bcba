"""Draw docs/heart.gif: one heartbeat, zero-filled, by k-t SLR, by ST-VarNet and as the reference.

cinerecon simulate --from scd4_sax05.npz -o scd4.h5 --undersample gaussian:8,acs=4
cinerecon recon scd4.h5 -m zerofilled -m ktslr -m stvarnet -o out/ --format .npz
python docs/draw_heart.py out/scd4.zerofilled.npz out/scd4.ktslr.npz out/scd4.stvarnet.npz
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TARGET = Path(__file__).parent / "heart.gif"
ROWS, COLUMNS = slice(70, 166), slice(64, 160)
"""Part of the image of 256 x 256 pixels that contains the heart."""
HEIGHT = 192
FRAME_MS = 90
N_GREY = 48
"""Grey levels; fewer make a smaller file."""


def draw_panel(magnitude: NDArray[np.float32], white: float, label: str) -> Image.Image:
    """A frame ``(y, x)`` enlarged to the height of the movie, with its label."""
    values = np.clip(magnitude[ROWS, COLUMNS] / white, 0, 1)
    levels = (np.round(values * (N_GREY - 1)) * (255 / (N_GREY - 1))).astype(np.uint8)
    panel = Image.fromarray(levels).resize((HEIGHT, HEIGHT), Image.Resampling.NEAREST)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 13)
    ImageDraw.Draw(panel).text((6, 4), label, fill=255, font=font, stroke_width=2, stroke_fill=0)
    return panel


def main(*paths: str) -> None:
    """Write the movie."""
    arrays = []  # (frames, y, x)
    for path in paths:
        with np.load(path) as file:
            arrays.append(file["image"][0])
            reference = file["reference"][0]
    arrays.append(reference)
    white = float(np.percentile(np.abs(reference)[:, ROWS, COLUMNS], 99.5))
    labels = "8x, zero-filled", "8x, k-t SLR", "8x, ST-VarNet", "fully sampled"
    frames = []
    for number in range(len(reference)):
        frame = Image.new("L", (len(arrays) * HEIGHT, HEIGHT))
        for column, (array, label) in enumerate(zip(arrays, labels, strict=True)):
            frame.paste(draw_panel(np.abs(array[number]), white, label), (column * HEIGHT, 0))
        frames.append(frame)
    frames[0].save(TARGET, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
