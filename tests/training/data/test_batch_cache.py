"""Cached batches equal the drawn ones, and frames taken from a batch have consistent measurements."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.errors import CineReconError, FileError
from cinerecon.physics.operators import Encoding
from cinerecon.training.data.batch import Batch
from cinerecon.training.data.batch_cache import CachedBatches, batch_cache_name, read_batch, vary, write_batch
from cinerecon.training.data.workers import fill_cache

HALF = 5e-4
"""Relative error of half precision, -66 dB."""


def make_batch(number=0, coils=2):
    generator = torch.Generator().manual_seed(number)
    mask = torch.rand(1, 6, 1, 8, 1, generator=generator) < 0.5
    csm = None if coils == 1 else complex_randn(1, coils, 8, 5, seed=number).to(torch.complex64)
    target = complex_randn(1, 6, 8, 5, seed=number + 50).to(torch.complex64)
    encoding = Encoding(mask, csm, matrix=(8, 5))
    return Batch(encoding.forward(target), encoding, target, 2 * target, noise=torch.tensor([0.01 * (1 + number)]))


@dataclass
class Drawn:
    asked: list = field(default_factory=list)

    def __getitem__(self, number):
        self.asked.append(number)
        return make_batch(number)


@pytest.mark.parametrize("coils", [1, 2])
def test_a_batch_is_the_same_after_its_file(tmp_path, coils):
    batch = make_batch(coils=coils)
    write_batch(tmp_path / "folder" / "0.safetensors", batch)
    found = read_batch(tmp_path / "folder" / "0.safetensors")
    for name in ("kspace", "target", "initial_image"):
        assert relative_error(getattr(found, name), getattr(batch, name)) < HALF
    assert torch.equal(found.encoding.mask, batch.encoding.mask)
    assert not (found.kspace * ~batch.encoding.mask).any()
    assert relative_error(found.encoding.forward(batch.target), batch.kspace) < HALF
    assert torch.equal(found.noise, batch.noise)
    assert (found.encoding.csm is None) == (coils == 1)


def test_each_is_drawn_once_and_they_come_again(tmp_path):
    drawn = Drawn()
    kept = CachedBatches(drawn, 3, tmp_path)
    first = [kept[number] for number in range(6)]
    assert drawn.asked == [0, 1, 2]
    again = CachedBatches(drawn, 3, tmp_path)  # another run, that shares the folder
    for number in (5, 0, 3):
        assert torch.equal(again[number].kspace, first[number].kspace)
    assert drawn.asked == [0, 1, 2]


def test_a_kept_batch_is_small(tmp_path):
    generator, mask = torch.Generator().manual_seed(0), torch.zeros(1, 8, 1, 64, 1, dtype=torch.bool)
    mask[:, :, :, ::8] = True
    target = torch.randn(1, 8, 64, 32, dtype=torch.complex64, generator=generator)
    encoding = Encoding(mask, None, matrix=(64, 32))
    write_batch(tmp_path / "0.safetensors", Batch(encoding.forward(target), encoding, target))
    images = 2 * target.numel() * 8  # k-space and target as complex64
    assert (tmp_path / "0.safetensors").stat().st_size < 0.3 * images


def test_batches_are_made_ready_by_processes(tmp_path):
    kept = CachedBatches(Drawn(), 4, tmp_path)
    kept[2]
    before = (tmp_path / "2.safetensors").stat().st_mtime_ns
    parts = []
    assert [batch.number for batch in kept.uncached()] == [0, 1, 3]
    fill_cache(kept.uncached(), 2, parts.append)
    assert parts == pytest.approx([1 / 3, 2 / 3, 1])
    assert kept.uncached() == []
    assert (tmp_path / "2.safetensors").stat().st_mtime_ns == before
    assert relative_error(kept[3].target.abs(), make_batch(3).target.abs().flip(1)) < HALF or (
        relative_error(kept[3].target.abs(), make_batch(3).target.abs()) < HALF
    )


def test_no_more_is_made_ready_after_the_deadline(tmp_path):
    kept = CachedBatches(Drawn(), 4, tmp_path)
    fill_cache(kept.uncached(), 0, deadline=0.0)
    assert [batch.number for batch in kept.uncached()] == [1, 2, 3]


@dataclass
class Failing:
    error: CineReconError

    def ensure_cached(self):
        raise self.error


@pytest.mark.parametrize("n_workers", [0, 1])
def test_an_error_of_simulating_keeps_its_parts(n_workers):
    with pytest.raises(FileError, match="damaged") as error:
        fill_cache([Failing(FileError("damaged", where="a.npz"))], n_workers)
    assert error.value.where == "a.npz"


def test_frames_taken_from_a_batch_have_consistent_measurements(tmp_path):
    kept = CachedBatches(Drawn(), 2, tmp_path, n_frames=4, seed=(1,))
    found = [kept[2 * n] for n in range(20)]
    firsts = set()
    for batch in found:
        assert batch.target.shape == (1, 4, 8, 5)
        assert relative_error(batch.encoding.forward(batch.target), batch.kspace) < HALF
        assert relative_error(batch.initial_image, 2 * batch.target) < HALF
        likeness = [float((batch.target[0, 0].conj() * frame).sum().abs()) for frame in make_batch().target[0]]
        firsts.add(int(np.argmax(likeness)))
    assert firsts == {0, 1, 2, 3, 4, 5}  # every window, forwards and backwards


def test_all_frames_are_taken_by_default():
    batch = make_batch()
    varied = vary(batch, None, np.random.default_rng(0))
    assert varied.target.shape[1] == 6
    norms, expected = (x.target.flatten(2).norm(dim=-1)[0].sort().values for x in (varied, batch))
    assert relative_error(norms, expected) < HALF


def test_another_text_is_another_folder():
    assert batch_cache_name("a", "b") != batch_cache_name("a", "c")
