"""Become another program that cannot outlive its parent, and need not be root.

Run as a script, on the standard library alone:

    python -I -S launch.py PARENT SIGNAL RUN_AS [--waits] PROGRAM ARG…

PARENT   process id that must be our parent; when it dies, the kernel sends us SIGNAL (Linux), or a watcher does.
SIGNAL   number of that signal.
RUN_AS   `-` to stay who we are, else `UID:GID:CAPABILITIES` to become that user, where CAPABILITIES is a
         comma-separated list of capability numbers to keep (may be empty).
--waits  for a program that, when it wakes up, takes an idle core but interrupts nobody who has one.

A wrapper and not a `preexec_fn`: Python code between fork and exec may deadlock in a process with threads.
The order matters: the death signal is forgotten by the kernel when the user changes, so it is set last.
"""

import contextlib
import ctypes
import os
import sys
import time

WAITS = "--waits"

_WATCH_S = 0.5
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main(arguments: list[str]) -> None:
    """Prepare this process as `arguments` say and replace it with the program; never returns."""
    parent, signal_number, run_as, *program = arguments
    if program[0] == WAITS:
        program = program[1:]
        _wait_for_turns()
    if run_as != "-":
        uid, gid, capabilities = run_as.split(":")
        _become(int(uid), int(gid), [int(number) for number in capabilities.split(",") if number])
    if sys.platform == "linux":
        _die_with_parent(int(parent), int(signal_number))
    else:
        _have_it_watched(int(parent), int(signal_number))
    os.execv(program[0], program)  # noqa: S606 - the program is ours, by absolute path


def _wait_for_turns() -> None:
    """Have this process and all it will start wake up quietly, where the system knows how (Linux) and allows it."""
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # what whoever started us chose is kept
    with contextlib.suppress(OSError):  # some containers refuse it: a courtesy, without which all works
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _become(uid: int, gid: int, capabilities: list[int]) -> None:
    if capabilities:
        # Without this bit the capabilities would be lost now, and access(2), by which PostgreSQL looks for its
        # own programs, would ignore them later.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capabilities:
        _keep(capabilities)


def _keep(capabilities: list[int]) -> None:
    """Keep only `capabilities`, also across the exec that follows."""
    mask = sum(1 << number for number in capabilities)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)(_CapabilityData(mask, mask, mask), _CapabilityData(0, 0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    for number in capabilities:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)


def _die_with_parent(parent: int, signal_number: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    # The parent may have died before the line above: then nobody would ever tell us.
    if os.getppid() != parent:
        sys.exit("launch: the parent is gone")


def _have_it_watched(parent: int, signal_number: int) -> None:
    """Leave a watcher behind that signals the program when the parent is gone, and ends with either."""
    program = os.getpid()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            while _runs(parent) and _runs(program):
                time.sleep(_WATCH_S)
            if _runs(program):
                os.kill(program, signal_number)
        os._exit(0)
    os.wait()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _prctl(option: int, *values: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    main(sys.argv[1:])
