"""All measurements, one after the other: ``python -m scripts.bench``; scripts/bench/all prepares what they need."""

import subprocess
import sys

for module in (
    "scripts.bench.open_cost",
    "scripts.bench.change_cost",
    "scripts.bench.enforce_cost",
    "scripts.bench.process_costs",
):
    print(f"== {module}", flush=True)
    subprocess.run([sys.executable, "-m", module], check=False)
