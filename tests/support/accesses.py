"""Ways to get hold of another process, for a doer of :mod:`tests.support.names`: ``target`` is a child of its."""

from typing import Final

PRELUDE: Final = """
import ctypes, os, signal, subprocess
calls = ctypes.CDLL(None, use_errno=True)
target = subprocess.Popen(["/usr/bin/sleep", "600"]).pid
TRACEME, ATTACH, DETACH, SEIZE, INTERRUPT, ALL = 0, 16, 17, 0x4206, 0x4207, 0x40000000
GETFD = 438

class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]

def ask(call, *arguments):
    if call(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "it was refused")

def trace(request, pid=0):
    ask(calls.ptrace, ctypes.c_long(request), ctypes.c_long(pid), None, None)

def attach():
    trace(ATTACH, target)
    os.waitpid(target, ALL)
    trace(DETACH, target)

def seize():
    trace(SEIZE, target)
    trace(INTERRUPT, target)
    os.waitpid(target, ALL)
    trace(DETACH, target)

def traceme():
    child = os.fork()
    if not child:
        try:
            trace(TRACEME)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status, "it was refused")

def memory(call, access):
    with open(f"/proc/{target}/maps") as maps:
        line = next(line for line in maps if line.split()[1].startswith(access))
    buffer = ctypes.create_string_buffer(16)
    own = Part(ctypes.addressof(buffer), 16)
    others = Part(int(line.partition("-")[0], 16), 16)
    ask(call, target, ctypes.byref(own), 1, ctypes.byref(others), 1, 0)

def read():
    memory(calls.process_vm_readv, "r")

def write():
    memory(calls.process_vm_writev, "rw")

def take():
    pidfd = os.pidfd_open(target)
    try:
        ask(calls.syscall, ctypes.c_long(GETFD), pidfd, 0, 0)
    finally:
        os.close(pidfd)

def look():
    os.close(os.open(f"/proc/{target}/mem", os.O_RDONLY))

def show():
    for name in ("maps", "environ", "status", "cmdline"):
        with open(f"/proc/{target}/{name}") as file:
            file.read()
    os.readlink(f"/proc/{target}/exe")
    os.close(os.open("/proc/self/mem", os.O_RDWR))
"""
TRACEME: Final = "traceme()"
ACCESSES: Final = ("attach()", "seize()", "read()", "write()", "take()", "look()")
LOOKS: Final = "show()"
"""What ps and top do, and what a process may do to itself."""
TARGET: Final = "/usr/bin/sleep"
