"""Take the picture that the README opens with: the head of a report on the weather, as a browser shows it.

    .venv/bin/python scripts/picture.py [--model examples/out/model]

Without a model, the one of `examples/quickstart.py` is fitted first. It takes Debian's Chromium (`apt-get install
chromium`). Look at `docs/images/report.png` before it is committed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import BIN

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "examples/data/seattle_weather.csv"
PICTURE = ROOT / "docs/images/report.png"
# A window that has the report's wide layout, and how much smaller the picture is.
WINDOW, SCALE = "1200,1410", 0.8


def main() -> None:
    """Fit, report, and photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="Folder of a fitted model of the weather.")
    model = parser.parse_args().model
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("There is no chromium: install it (apt-get install chromium), and run this again.")
    pushforward = str(BIN / "pushforward")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if model is None:
            subprocess.run([pushforward, "fit", str(DATA), "--out", "weather"], check=True, cwd=place)
        else:
            shutil.copytree(model, place / "weather")
        subprocess.run([pushforward, "report", "weather", str(DATA), "--out", "report.html"], check=True, cwd=place)
        taken = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        size = [f"--window-size={WINDOW}", f"--force-device-scale-factor={SCALE}"]
        files = [f"--screenshot={PICTURE}", f"--user-data-dir={place / 'browser'}"]
        page = (place / "report.html").as_uri()
        subprocess.run([browser, *taken, *size, *files, page], check=True, capture_output=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
