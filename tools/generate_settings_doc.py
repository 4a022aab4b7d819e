"""Write docs/settings.md from the settings classes of every process.

`python tools/generate_settings_doc.py` writes the page; with `--check` it only says whether the page is true.
"""

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "settings.md"

sys.path[:0] = [str(ROOT), str(ROOT / "gen")]

from chassis.config import is_settings_class, own_settings, render_markdown  # noqa: E402 - needs the path

PACKAGES = ("chassis", "database", "booking_svc", "availability_svc", "realtime_svc", "gateway", "ctl")


def page() -> str:
    """The whole page: shared groups first, then each process; a variable stands where it is declared first."""
    seen: set[str] = set()
    groups = []
    for cls in _settings_classes():
        docs = [doc for doc in own_settings(cls) if doc.env not in seen]
        seen |= {doc.env for doc in docs}
        if docs:
            groups.append((_title(cls), _introduction(cls), docs))
    return render_markdown(groups)


def _settings_classes() -> Iterator[type]:
    for name in _settings_modules():
        module = importlib.import_module(name)
        members = [member for _, member in inspect.getmembers(module, is_settings_class)]
        own = [cls for cls in members if cls.__module__ == name]
        yield from sorted(own, key=lambda cls: inspect.getsourcelines(cls)[1])


def _settings_modules() -> Iterator[str]:
    """Every module called `settings`, package by package."""
    for package_name in PACKAGES:
        package = importlib.import_module(package_name)
        for found in pkgutil.walk_packages(package.__path__, f"{package_name}."):
            if found.name.rpartition(".")[2] == "settings":
                yield found.name


def _title(cls: type) -> str:
    package = cls.__module__.rpartition(".")[0]
    return f"`{package}` · {cls.__name__}"


def _introduction(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def main() -> int:
    """Write or check the page; 1 when a checked page is not true."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is true")
    wanted = page()
    if not parser.parse_args().check:
        PAGE.write_text(wanted)
        return 0
    if PAGE.exists() and PAGE.read_text() == wanted:
        return 0
    sys.stderr.write("docs/settings.md is not what the settings say: run tools/generate_settings_doc.py.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
