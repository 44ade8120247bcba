"""Predictions and plans of memory: counts of bytes, not of time."""

import re
from dataclasses import replace

import pytest
import torch
from helpers import relative_error

from cinerecon.acquisition.source import SliceSize
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.memory import Workspace, limited_to, parse_size
from cinerecon.methods import memory_plan
from cinerecon.methods.memory_plan import MemoryPlan, Task, make_plan, out_of_memory, predict
from cinerecon.methods.table import METHODS, load_method

LARGE = Task(SliceSize(50, 64, 256, 256, is_compressed_in_reading=True), 50, where="scan.h5, slice 0")
KSPACE = 8 * 50 * 64 * 256 * 256
CLASSICAL = [name for name, method in METHODS.items() if method.kind == "classical" and name != "ktslr-reference"]

NETWORKS = ("slrnet", "dccnn", "crnn", "stvarnet")


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """The process holds 300 MB before it reads."""
    monkeypatch.setattr(memory_plan, "_process_bytes", lambda: 300 * 10**6)


@pytest.mark.parametrize("name", [*CLASSICAL, *NETWORKS])
def test_64_coils_and_50_frames_of_256_x_256_fit_into_4_gb(name):
    plan = make_plan(LARGE, load_method(name), parse_size("4GB"))
    assert plan.predicted <= 4e9
    assert plan.is_compressed == (name in NETWORKS)
    if not plan.is_compressed:
        assert plan.predicted > KSPACE
        assert plan.n_coils == 64


@pytest.mark.parametrize("name", ["dccnn", "stvarnet"])
def test_the_reduction_of_noise_is_counted(name):
    method, plain = (load_method(name, [f"reduce_noise={flag}"]) for flag in ("true", "false"))
    assert method.n_kspace_copies == plain.n_kspace_copies + 1
    assert method.n_series >= load_method("ktslr").n_series
    assert predict(LARGE, method, MemoryPlan(64)).predicted >= predict(LARGE, plain, MemoryPlan(64)).predicted + KSPACE


@pytest.mark.parametrize("name", ["zerofilled", "cgsense", "ktslr"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_plan_takes_no_more_than_the_one_before(name, device):
    method, task = load_method(name), replace(LARGE, device=device)
    sizes = [predict(task, method, plan).predicted for plan in memory_plan._plans(task, method)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 2


def test_what_leaves_the_images_as_they_are_comes_before_compression():
    method = load_method("cgsense")
    plans = list(memory_plan._plans(LARGE, method))
    is_compressed = [plan.is_compressed for plan in plans]
    assert is_compressed == sorted(is_compressed)
    assert {plan.workspace.frames_at_once for plan in plans if plan.is_compressed} == {1}
    on_gpu = list(memory_plan._plans(replace(LARGE, device="cuda"), load_method("ktslr")))
    assert [plan.workspace.coils_at_once for plan in on_gpu][2:8] == [32, 16, 8, 4, 2, 1]


def test_coils_are_compressed_to_as_many_as_fit():
    method = load_method("ktslr")
    plan = make_plan(LARGE, method, 2 * 10**9)
    assert plan.is_compressed
    assert predict(LARGE, method, replace(plan, n_coils=plan.n_coils + 1)).predicted > 2e9
    assert str(plan) == f"2.0 GB predicted of 2.0 GB, compressed to {plan.n_coils} coils, " + (
        "freed memory is returned immediately"
    )


def test_a_limit_that_nothing_keeps_is_refused_with_one_that_suffices():
    method = load_method("slrnet")
    with pytest.raises(ConfigError, match=r"needs at least \d\.\d GB, the limit is 500 MB") as error:
        make_plan(LARGE, method, 500 * 10**6)
    assert error.value.where == LARGE.where
    option, size = error.value.hint.split()[:2]
    assert option == "--memory"
    suggested = parse_size(size.rstrip(","))
    assert make_plan(LARGE, method, suggested).fits
    with pytest.raises(ConfigError):
        make_plan(LARGE, method, round(0.9 * suggested))


def test_a_refusal_names_the_number_of_frames_that_fits():
    method, limit = load_method("slrnet"), 800 * 10**6
    with pytest.raises(ConfigError, match="at least") as error:
        make_plan(LARGE, method, limit)
    n_frames = int(error.value.hint.rpartition("--frames 0:")[2])
    assert 1 <= n_frames < 50
    assert make_plan(replace(LARGE, n_frames=n_frames), method, limit).fits


def test_prepared_cases_are_not_compressed():
    task = replace(LARGE, is_compressible=False)
    with pytest.raises(ConfigError):
        make_plan(task, load_method("ktslr"), 2 * 10**9)


ERROR = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 26214400 bytes.")


def test_an_error_of_the_allocator_gets_a_hint_that_needs_less(monkeypatch):
    method = load_method("ktslr")
    monkeypatch.setattr(memory_plan, "_peak_bytes", lambda _: 2 * 10**9)
    failed = make_plan(LARGE, method, None)
    reported = out_of_memory(ERROR, LARGE, method, failed)
    assert reported.what == "out of memory: 27 MB more could not be allocated"
    assert reported.where == LARGE.where
    option, size = reported.hint.split()[:2]
    assert option == "--memory"
    assert make_plan(LARGE, method, parse_size(size)).predicted <= 2e9
    assert "compressed to" in reported.hint
    assert len(str(reported).splitlines()) == 3
    assert out_of_memory(RuntimeError("another"), LARGE, method, failed) is None


def test_the_hint_is_the_largest_plan_that_fits_also_while_the_process_holds_its_data(monkeypatch):
    method = load_method("ktslr")
    failed = make_plan(LARGE, method, None)
    expected = make_plan(LARGE, method, round(2.5e9))
    monkeypatch.setattr(memory_plan, "_peak_bytes", lambda _: 2.5e9)
    monkeypatch.setattr(memory_plan, "_process_bytes", lambda: round(2.4e9))  # the error holds the arrays of its frames
    assert f"compressed to {expected.n_coils} coils" in out_of_memory(ERROR, LARGE, method, failed).hint
    monkeypatch.setattr(memory_plan, "_peak_bytes", lambda _: 0.4e9)  # the first array is too large
    refused = RuntimeError(f"can't allocate memory: you tried to allocate {KSPACE} bytes")
    n_coils = int(re.search(r"compressed to (\d+) coils", out_of_memory(refused, LARGE, method, failed).hint)[1])
    assert expected.n_coils > n_coils > 20


def test_a_plan_that_failed_is_not_suggested_again(monkeypatch):
    method = load_method("ktslr")
    failed = make_plan(LARGE, method, round(2.5e9))
    monkeypatch.setattr(memory_plan, "_peak_bytes", lambda _: 5e9)
    hint = out_of_memory(ERROR, LARGE, method, failed).hint
    assert f"compressed to {failed.n_coils - 1} coils" in hint


@pytest.mark.parametrize("name", ["cgsense", "ktslr", "zerofilled", "slrnet"])
@pytest.mark.parametrize("limits", [Workspace(coils_at_once=1), Workspace(coils_at_once=3, frames_at_once=2)])
def test_limits_of_temporary_arrays_do_not_change_the_image(name, limits, make_cine):
    cine = make_cine(5)
    data = CineData(cine.kspace.to(torch.complex64), cine.mask, cine.csm.to(torch.complex64))
    method = load_method(name, [] if name in ("zerofilled", "slrnet") else ["n_iterations=4"])
    expected = method(data)
    with limited_to(limits):
        assert relative_error(method(data), expected) < 1e-4


def test_progress_of_frames_in_parts_ends_with_the_whole(make_cine):
    calls = []
    with limited_to(Workspace(frames_at_once=3)):
        load_method("cgsense", ["n_iterations=2", "tolerance=0"])(make_cine(3), lambda *step: calls.append(step))
    assert calls == [(n, 6) for n in range(1, 7)]


def test_the_plan_without_a_limit_is_the_fastest():
    plan = make_plan(LARGE, load_method("ktslr"), None)
    assert plan.fits
    assert replace(plan, reading_bytes=0, reconstruction_bytes=0, finishing_bytes=0) == MemoryPlan(64)
