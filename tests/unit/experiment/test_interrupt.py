"""Signals ask the trials to stop; a second Ctrl-C ends the process at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from empo_rllib.experiment import interrupt

ROOT = Path(__file__).parents[3]


@pytest.fixture
def interruption():
    return interrupt.reset()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"])
def test_the_first_signal_only_asks(interruption, name):
    with interruption.listening():
        assert not interruption.asked.is_set()
        assert interruption.seconds() == 0.0
        signal.raise_signal(getattr(signal, name))
        assert interruption.asked.wait(5)
    assert interruption.signal_name == name
    assert interruption.seconds() > 0.0


def test_a_hang_up_is_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interruption = interrupt.reset()
        with interruption.listening():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            assert interruption.asked.wait(5)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert interruption.signal_name == "SIGTERM"


def test_a_later_signal_does_not_start_the_grace_anew(interruption):
    with interruption.listening():
        signal.raise_signal(signal.SIGUSR1)
        assert interruption.asked.wait(5)
        since = interruption.since
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert interruption.signal_name == "SIGUSR1"
    assert interruption.since == since


def test_a_signal_while_the_first_one_is_noted_is_not_noted_again(interruption, monkeypatch):
    noted = []

    def note():
        noted.append(interruption.signal_name)
        if len(noted) == 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(interruption.asked, "set", note)
    with interruption.listening():
        signal.raise_signal(signal.SIGUSR1)
    assert noted == ["SIGUSR1"]


def test_the_handlers_of_before_are_put_back(interruption):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    error = RuntimeError("the trial failed")
    with pytest.raises(RuntimeError), interruption.listening():
        raise error
    with interruption.listening():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_handlers_that_something_else_replaced_can_be_set_again(interruption):
    with interruption.listening():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interruption.listen()
        signal.raise_signal(signal.SIGTERM)
        assert interruption.asked.wait(5)


def test_a_thread_leaves_the_handlers_alone(interruption):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def listen():
        with interruption.listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


# `ray.tune` takes seconds to import, and a signal needs nothing of it. `os.write`, because a signal
# may come in the middle of a print, and another print would then raise.
PROGRAM = """
import os, sys, time, types
tune = types.ModuleType("ray.tune")
tune.Stopper = object
sys.modules.update({"ray": types.ModuleType("ray"), "ray.tune": tune})
from empo_rllib.experiment import interrupt


def give_up():
    os.write(1, b"gave up\\n")
    if sys.argv[1:] == ["fails"]:
        raise RuntimeError("reentrant call inside BufferedWriter")


interruption = interrupt.reset()
interruption.on_give_up = give_up
with interruption.listening():
    os.write(1, b"listening\\n")
    while not interruption.asked.is_set():
        time.sleep(0.01)
    os.write(1, f"{interruption.signal_name}\\n".encode())
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("giving_up", ["works", "fails"])
def test_ctrl_c_only_asks_and_a_second_ctrl_c_ends_the_process_at_once(giving_up):
    command = [sys.executable, "-c", PROGRAM, giving_up]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "SIGINT\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stdout.read() == "gave up\n"


def test_trials_stop_at_their_next_result_once_asked(interruption):
    stopper = interrupt.InterruptStopper()
    assert not stopper("trial_00000", {})
    interruption.asked.set()
    assert stopper("trial_00000", {})


def test_the_experiment_stops_when_the_running_trials_have_saved(interruption):
    stopper = interrupt.InterruptStopper()
    interrupt.running_trials.update({"trial_00000", "trial_00001"})
    assert not stopper.stop_all()
    interruption.asked.set()
    assert not stopper.stop_all()
    interrupt.running_trials.clear()
    assert stopper.stop_all()


def test_a_new_experiment_in_the_same_process_is_not_interrupted(interruption):
    interruption.asked.set()
    interrupt.running_trials.add("trial_00000")
    assert not interrupt.reset().asked.is_set()
    assert interrupt.running_trials == set()
    assert not interrupt.InterruptStopper()("trial_00000", {})
