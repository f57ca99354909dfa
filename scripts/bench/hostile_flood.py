"""Spawns a program again and again, each time as another file with other arguments, and opens a watched file.

``hostile_flood.py PROGRAM COUNT CPU``; the files are hard links beside the program.
"""

import os
import secrets
import sys
from pathlib import Path


def main() -> None:
    program, count, cpu = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, {cpu})
    for turn in range(count):
        name = f"{program}-{cpu}-{turn}-{secrets.token_hex(16)}"
        os.link(program, name)
        arguments = [name, *(secrets.token_hex(120) for _ in range(16))]
        os.waitpid(os.posix_spawn(name, arguments, {}), 0)
        Path(name).unlink()
        os.close(os.open("/etc/shadow", os.O_RDONLY))


main()
