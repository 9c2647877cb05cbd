"""Rebuild ``openmoji.parquet``: the builder of ``data/emoji`` writes the tables of all four vendors."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "emoji" / "build.py"), run_name="__main__")
