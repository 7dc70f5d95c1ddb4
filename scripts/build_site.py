"""Build the documentation as a site in `build/site`, or fail at the first broken link or page of the gallery.

    python3 scripts/build_site.py

Pages open from the disk; their search needs a server: `python3 -m http.server -d build/site`. Every page is there as
Markdown too, and `llms.txt` lists them. Snippets are run by the tests (`tests/test_docs.py`).
"""

from __future__ import annotations

import os
import sys

from environment import BIN, PYTHON, ready, step


def main() -> None:
    """Install what the site needs, and build it."""
    ready("docs")
    step([str(PYTHON), "scripts/build_gallery.py"], "A page of the gallery does not run; the reason stands above")
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # an advertisement, which a strict build need not print
    step([str(BIN / "mkdocs"), "build", "--quiet", "--clean"], "The site was not built; the reason stands above")
    print("build/site/index.html")


if __name__ == "__main__":
    sys.exit(main())
