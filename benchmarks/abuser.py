"""``python -m benchmarks.abuser MODULE NAME WORLD``: one abuse, until the process is ended."""

import json
import sys
from importlib import import_module

from benchmarks.abuse import World

if __name__ == "__main__":
    module, name, text = sys.argv[1:]
    found = next(row for row in import_module(f"benchmarks.{module}").ABUSES if row.name == name)
    print(json.dumps({"abuse": name}), flush=True)
    found.act(World.read(text))
