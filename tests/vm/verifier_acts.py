"""Run in the guest: load all programs of the objects in folders, and write how much the verifier looked at.

Arguments: the folder of results, then names of folders in it, each with objects that one compiler made.
"""

import json
import sys
from pathlib import Path

from tests.support.verifier import measure


def main() -> None:
    results = Path(sys.argv[1])
    found = {
        name: {
            f"{path.name.partition('.')[0]}.{program}": number
            for path in sorted((results / name).glob("*.bpf.o"))
            for program, number in measure(path).items()
        }
        for name in sys.argv[2:]
    }
    (results / "statistics.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
