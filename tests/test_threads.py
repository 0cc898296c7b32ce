"""Parts on threads: in order, on as many threads as asked for, with errors where they belong."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minivit.threads import cores, in_parts


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
@pytest.mark.parametrize("parts", [0, 1, 2, 7])
def test_results_come_in_order_whatever_the_threads(threads, parts):
    def slowly(i):
        time.sleep(0.002 * (parts - i))  # the first takes longest
        return i * i

    assert list(in_parts(slowly, parts, threads)) == [i * i for i in range(parts)]


@pytest.mark.parametrize(("threads", "seen"), [(1, 1), (2, 2), (3, 3)])
def test_as_many_threads_as_asked_for(threads, seen):
    barrier = threading.Barrier(seen, timeout=10)

    def meet(i):
        barrier.wait()  # only that many at once get past it
        return threading.get_ident()

    assert len(set(in_parts(meet, 2 * seen if threads > 1 else 4, threads))) == seen


@pytest.mark.parametrize(("counted", "expected"), [(3, 3), (None, 1)])
def test_cores_where_a_process_is_not_told_its_own(monkeypatch, counted, expected):
    """As on macOS and Windows."""
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: counted)
    assert cores() == expected


def test_all_cores_without_a_number():
    assert cores() >= 1
    assert len(set(in_parts(lambda i: time.sleep(0.02) or threading.get_ident(), 4 * cores()))) == cores()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_raised_where_its_result_would_be_and_the_next_call_works(threads):
    def third_fails(i):
        if i == 2:
            raise KeyError(i)
        return i

    results = in_parts(third_fails, 6, threads)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError):
        next(results)
    assert list(in_parts(lambda i: i, 3, threads)) == [0, 1, 2]


def test_after_an_error_what_has_begun_is_waited_for():
    """It may still read or write what the caller gives up."""
    begun, ended = threading.Event(), threading.Event()

    def first_fails(i):
        if i == 0:
            assert begun.wait(10)
            raise KeyError(i)
        begun.set()
        time.sleep(0.05)
        ended.set()

    with pytest.raises(KeyError):
        list(in_parts(first_fails, 2, 2))
    assert ended.is_set()


def test_after_an_error_what_has_not_begun_is_let_go_of(monkeypatch):
    """As where another batch has the threads, one of which is left for three parts here."""
    futures, begun = [], []

    def first_fails(i):
        begun.append(i)
        if i == 0:
            raise KeyError(i)
        for _ in range(500):  # no longer than it takes
            if len(futures) == 3 and futures[2].cancelled():
                break
            time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        submit = pool.submit
        monkeypatch.setattr(pool, "submit", lambda *given: futures.append(submit(*given)) or futures[-1])
        monkeypatch.setattr("minivit.threads._pool", lambda _: pool)
        with pytest.raises(KeyError):
            list(in_parts(first_fails, 6, 2))
    assert len(futures) == 3
    assert futures[2].cancelled()
    assert 2 not in begun


def test_few_results_wait_for_a_slow_reader():
    """Memory: no more than the parts in work and one more."""
    begun = []
    results = in_parts(begun.append, 20, 2)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 4
    assert len([*results]) == 19


def test_the_matrix_library_has_one_thread_inside_and_its_own_again_outside():
    def counts(_=0):
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = counts()
    assert all(count == 1 for inside in in_parts(counts, 4, 2) for count in inside)
    assert counts() == before


def test_the_matrix_library_has_its_threads_again_after_all_that_limited_it():
    """Two that overlap, in any order: the limit is the whole process's."""

    def counts(_=0):
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(limits=3, user_api="blas"):
        before = counts()
        first, second = in_parts(counts, 4, 1), in_parts(counts, 4, 2)
        next(first)
        next(second)
        assert set(counts()) == {1}
        list(first)
        assert set(counts()) == {1}  # the first has left, the second goes on
        assert all(set(inside) == {1} for inside in second)
        assert counts() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_parts_of_parts(threads):
    """Every thread is in a part that asks for parts, and none is left to compute these."""

    def outer(i):
        return sum(in_parts(lambda j: 10 * i + j, 3, threads))

    done = []
    worker = threading.Thread(target=lambda: done.extend(in_parts(outer, 4, threads)), daemon=True)
    worker.start()
    worker.join(timeout=20)
    assert done == [3, 33, 63, 93]


def test_numpy_s_error_settings_hold_inside():
    with np.errstate(divide="ignore"):
        assert all(np.isinf(x) for x in in_parts(lambda i: np.float64(1.0) / np.zeros(1), 3, 2))
    with pytest.raises(RuntimeWarning), np.errstate(divide="warn"):
        list(in_parts(lambda i: np.float64(1.0) / np.zeros(1), 3, 2))
