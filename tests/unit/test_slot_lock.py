"""The slot lock: one thread holds it, and another one while the first waits."""

from __future__ import annotations

import threading

from queuectl import slot_lock

DEADLINE = 20.0


def _in_thread(inside: threading.Event, may_end: threading.Event) -> threading.Thread:
    def work() -> None:
        with slot_lock.held():
            inside.set()
            may_end.wait(DEADLINE)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_no_two_threads_hold_it() -> None:
    inside, may_end = threading.Event(), threading.Event()
    with slot_lock.held():
        other = _in_thread(inside, may_end)
        assert not inside.wait(0.05)
    assert inside.wait(DEADLINE)
    may_end.set()
    other.join()


def test_a_thread_that_waits_releases_it_and_then_holds_it_again() -> None:
    inside, may_end = threading.Event(), threading.Event()
    with slot_lock.held():
        other = _in_thread(inside, may_end)
        with slot_lock.released():
            assert inside.wait(DEADLINE)
            may_end.set()
        other.join()
        third = _in_thread(inside := threading.Event(), may_end)
        assert not inside.wait(0.05)
    third.join()


def test_a_thread_that_does_not_hold_it_just_goes_on() -> None:
    with slot_lock.held():
        done = threading.Event()

        def work() -> None:
            with slot_lock.released():
                done.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert done.wait(DEADLINE)
        thread.join()


def test_after_an_error_while_a_thread_waits_it_is_free() -> None:
    try:
        with slot_lock.held(), slot_lock.released():
            raise OSError
    except OSError:
        pass
    with slot_lock.held():
        pass
