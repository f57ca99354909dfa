"""Spawns a program again and again, each time as another file with other arguments, and opens a watched file.

The arguments are few and long, or, every other time, many and short: those take most memory.

``hostile_flood.py PROGRAM COUNT CPU``; the files are hard links beside the program.
"""

import os
import secrets
import sys
from pathlib import Path


def make_long() -> list[str]:
    return [secrets.token_hex(120) for _ in range(16)]


def main() -> None:
    program, count, cpu = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, {cpu})
    for turn in range(count):
        name = f"{program}-{cpu}-{turn}-{secrets.token_hex(16)}"
        os.link(program, name)
        arguments = secrets.token_bytes(1_300).hex(" ").split() if turn % 2 else make_long()
        os.waitpid(os.posix_spawn(name, [name, *arguments], {}), 0)
        Path(name).unlink()
        os.close(os.open("/etc/shadow", os.O_RDONLY))


main()
