"""Reconstruction of a scan while it is received: each slice when it is complete, and the others at the end.

A complete slice is reconstructed from its own readouts and the noise readouts received so far. At the end of the scan,
all slices are read as for a scan in a file. If the image of a slice would then be different, because noise or
calibration lines arrived later or the counters have another meaning, the slice is reconstructed again.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

from cinerecon.acquisition.open import open_raw_scan
from cinerecon.acquisition.scan import Scan
from cinerecon.errors import CineReconError
from cinerecon.io.ismrmrd.raw import Index, RawScan
from cinerecon.methods.base import Reconstructor
from cinerecon.reconstruction.identity import provenance_of, with_provenance
from cinerecon.reconstruction.run import load_request_method
from cinerecon.reconstruction.scan_reconstruction import ScanReconstruction, check_velocity_options
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.reconstruction.stream.arrival import rows_of_slice, with_one_slice
from cinerecon.reconstruction.stream.incoming import IncomingScan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SliceTask:
    """A slice that can be reconstructed.

    Attributes
    ----------
    number
        Counter of the slice.
    is_repeated
        Whether the slice was already reconstructed from fewer readouts or with another interpretation.
    run
        Function that reconstructs the slice.
    """

    number: int
    is_repeated: bool
    run: Callable[[], ReconstructedSlice]


class InlineReconstruction:
    """The slices of a scan that is being received.

    Parameters
    ----------
    incoming
        The scan, whose settings and header have arrived.
    check
        Called between the steps of a reconstruction; it may raise an error to end the reconstruction.

    Raises
    ------
    CineReconError
        If no readouts have been received, or the method or a setting is wrong.
    """

    def __init__(self, incoming: IncomingScan, check: Callable[[], None]) -> None:
        self._incoming, self._spool, self._check = incoming, incoming.spool, check
        self._request = incoming.request
        self._method: Reconstructor = load_request_method(self._request)
        self._early: dict[int, tuple[Scan, Index]] = {}
        self._failed: set[int] = set()
        self._waits = False

    def complete_slice(self, number: int) -> SliceTask | None:
        """A slice with all its readouts; None if it has to wait for the end of the scan.

        A slice waits if its frames are determined from the times of all readouts, or if its readouts alone are not a
        valid scan of one slice. All following slices then wait as well. If earlier slices were valid but this one is
        not, it fails and the following slices do not wait.
        """
        if self._waits or not self._incoming.is_sure:
            return None
        try:
            scan, rows = self._read_alone(number)
        except CineReconError as error:
            if self._early:
                return self._failing(number, error)
            logger.info("slice %d waits for the end of the scan: %s", number, error.what)
            self._waits = True
            return None
        self._waits = scan.n_slices != 1 or scan.is_gated_by_time
        if self._waits:
            return None
        self._early[number] = scan, rows
        return SliceTask(number, False, partial(self._reconstruct, scan, 0, number))

    def other_slices(self) -> Iterator[SliceTask]:
        """The slices that were not reconstructed early, or whose image differs now that the scan is complete.

        If the whole scan is not valid but some of its slices were, the remaining slices are reconstructed individually.

        Raises
        ------
        CineReconError
            If neither the scan nor any of its slices is valid.
        """
        try:
            scan = self._whole
        except CineReconError:
            if not self._early:
                raise
            yield from self._slices_alone()
            return
        for index in self._request.chosen_slices(scan):
            number = scan.slice_counter(index)
            early = self._early_reading(scan, index)
            is_same = early and type(early[0]) is type(scan) and early[0].is_same_slice(0, scan, index, early[1])
            if not is_same:
                yield SliceTask(number, early is not None, partial(self._reconstruct, scan, index, number))

    def warnings(self) -> tuple[str, ...]:
        """Warnings about the whole scan."""
        try:
            return self._whole.warnings
        except CineReconError as error:
            return (f"all slices together are not a valid scan: {error.what}",)

    @cached_property
    def _whole(self) -> Scan:
        """The scan with all readouts."""
        return self._open(self._spool.scan())

    def _open(self, raw: RawScan) -> Scan:
        """Open the received readouts, or some of them, as a scan."""
        config = self._request.preprocessing(self._method)
        scan = open_raw_scan(raw, config, self._request.noise, phase_contrast=True)
        check_velocity_options(self._request, scan)
        return scan

    def _read_alone(self, number: int) -> tuple[Scan, Index]:
        """The readouts of a slice and the noise readouts as a scan, and their numbers."""
        rows = rows_of_slice(self._spool.heads(), number)
        raw = self._spool.scan(rows)
        return self._open(replace(raw, header=with_one_slice(raw.header, number))), rows

    def _slices_alone(self) -> Iterator[SliceTask]:
        """The remaining slices, each as a separate scan."""
        for number in self._incoming.slices:
            if number in self._early or number in self._failed:
                continue
            try:
                scan, _ = self._read_alone(number)
            except CineReconError as error:
                yield self._failing(number, error)
            else:
                yield SliceTask(number, False, partial(self._reconstruct, scan, 0, number))

    def _failing(self, number: int, error: CineReconError) -> SliceTask:
        """A task for a slice that is not valid, which raises the error."""
        self._failed.add(number)

        def fail() -> ReconstructedSlice:
            raise error

        return SliceTask(number, False, fail)

    def _early_reading(self, scan: Scan, index: int) -> tuple[Scan, Index] | None:
        """The early reading of a slice; None if it was not read early."""
        counter = int(self._spool.heads()["idx"]["slice"][scan.first_row(index)])
        return self._early.get(counter)

    def _reconstruct(self, scan: Scan, index: int, number: int) -> ReconstructedSlice:
        """Reconstruct a slice, whose number becomes the slice counter of the scanner."""
        run = ScanReconstruction.of(scan, [index], self._method, self._request)
        part = run.reconstruct(index, lambda *_: self._check())
        meta = replace(part.cine.meta, slice=number)
        part = replace(part, cine=replace(part.cine, meta=meta))
        return with_provenance(part, provenance_of(scan, self._method, self._request, self._spool.identity))
