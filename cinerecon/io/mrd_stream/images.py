"""Images as messages of a stream, and messages of images to a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from cinerecon.errors import DataError
from cinerecon.image import CineImage, as_map, window
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.hdf5_writer import new_hdf5
from cinerecon.io.ismrmrd.images import image_attributes, image_headers, meta_xml
from cinerecon.io.mrd_stream.messages import ImageMessage


def image_messages(cine: CineImage, first: int, first_series: int = 0) -> Iterator[ImageMessage]:
    """The frames of a slice: magnitude, the first series, and of phase contrast the velocity, the next one.

    Headers and attributes are those of the image file; the display window is that of the slice.

    Parameters
    ----------
    cine
        The slice.
    first
        Number of images of a series that were sent before.
    first_series
        Number of the first series.
    """
    series = [cine] if cine.velocity is None else [cine, as_map(cine, "velocity")]
    for index, part in enumerate(series, first_series):
        attributes = meta_xml(image_attributes(part, window([part.magnitude])))
        for head, frame in zip(image_headers(part, index, first, is_complex=False), part.values, strict=True):
            yield ImageMessage(head, attributes, np.asarray(frame, np.float32)[None, None])


def write_image_messages(path: Path, images: Sequence[ImageMessage], header_xml: str, *, force: bool = False) -> None:
    """Write received images to an ISMRMRD file, each series to ``dataset/image_N``.

    Raises
    ------
    DataError
        If the images of a series differ in size or data type.
    FileError
        If the file system refuses, or the file exists and ``force`` is not set.
    """
    by_series: dict[int, list[ImageMessage]] = {}
    for image in images:
        by_series.setdefault(int(image.head["image_series_index"]), []).append(image)
    with moved_into_place(path, overwrite=force) as temporary, new_hdf5(temporary) as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[header_xml.encode()], dtype=h5py.special_dtype(vlen=bytes))
        for index, members in sorted(by_series.items()):
            if len({(image.values.shape, image.values.dtype) for image in members}) > 1:
                raise DataError(f"the images of series {index} differ in size or data type", where=str(path))
            series = group.create_group(f"image_{index}")
            series.create_dataset("data", data=np.stack([image.values for image in members]))
            series.create_dataset("header", data=np.array([image.head for image in members]))
            texts = [image.attributes for image in members]
            series.create_dataset("attributes", data=texts, dtype=h5py.special_dtype(vlen=str))
