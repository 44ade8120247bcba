"""Movies of methods side by side with the truth, one of each slice whose images are stored."""

from collections.abc import Sequence
from pathlib import Path

from cinerecon.evaluation.figures import Drawn, describe_case, figure_file
from cinerecon.evaluation.score import Score
from cinerecon.evaluation.stored_images import image_file, read_image
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.export.movie import write_mp4

IN_A_ROW = 6
"""Images side by side; further methods follow in further rows."""


def draw_movies(scores: Sequence[Score], folder: Path) -> list[Drawn]:
    """A movie of each slice under each sampling, into ``figures/``: the truth, then every method, labelled.

    Raises
    ------
    FileError
        If a movie cannot be written.
    """
    drawn = []
    for case in dict.fromkeys(score.case for score in scores):
        of_case = [score for score in scores if score.case == case and image_file(folder, score.task).exists()]
        if not of_case or not of_case[0].frame_psnr[1:]:
            continue
        pairs = [read_image(folder, score.task, score.method, score.slice) for score in of_case]
        cines = [pairs[0][1], *(image for image, _ in pairs)]
        path = figure_file(folder, "movie " + " ".join(map(str, case)), ".mp4")
        with moved_into_place(path) as temporary:
            write_mp4(temporary, cines, min(len(cines), IN_A_ROW))
        drawn.append(Drawn(path, f"{describe_case(of_case[0])}. Magnitudes, all with the same window."))
    return drawn
