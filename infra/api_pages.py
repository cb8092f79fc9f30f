"""Write API reference pages from docstrings, with pdoc: `python infra/api_pages.py docs/api` (`make api`).

The pages are for model teams and for programs around the lake: the client, what it raises, and what contracts and
releases hold. Nothing is fetched. Annotations are resolved, so pandas, polars, DuckDB and pyspark are imported, where
they are installed; no other large library is.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PAGES = (
    "cloakhouse.client.api",
    "cloakhouse.client.dataset",
    "cloakhouse.client.readable",
    "cloakhouse.client.card",
    "cloakhouse.client.card_exports",
    "cloakhouse.client.card_figures",
    "cloakhouse.client.croissant",
    "cloakhouse.errors",
    "cloakhouse.settings",
    "cloakhouse.contracts.model",
    "cloakhouse.contracts.access_policy",
    "cloakhouse.lake.releases",
    "cloakhouse.ledger.version_model",
)


def main(folder: Path) -> None:
    """Write the pages into `folder`, which is made anew, all of them or none."""
    import pdoc
    import pdoc.render

    import cloakhouse

    for name in cloakhouse.__all__:  # pdoc reads the module's dictionary, where they stand once they are imported
        vars(cloakhouse)[name] = getattr(cloakhouse, name)
    pdoc.render.configure(docformat="google", footer_text="Cloakhouse", show_source=False)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    pdoc.pdoc("cloakhouse", r"!cloakhouse\..+", *PAGES, output_directory=fresh)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
