"""Write the Grafana dashboards in deploy/grafana/dashboards from deploy/grafana/source.

python scripts/write_dashboards.py            # write the files
python scripts/write_dashboards.py --check    # exit with 1 if they do not fit the source
"""

import argparse
import json
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"

sys.path.insert(0, str(ROOT))  # the source is no installed package

from deploy.grafana.source import dashboards, layout, lint, texts  # noqa: E402


def files() -> dict[Path, str]:
    """Return the content of every file."""
    found: dict[Path, str] = {}
    for language in texts.LANGUAGES:
        folder = FOLDER / language
        for dashboard in dashboards.ALL:
            content = layout.render(dashboard, language)
            text = json.dumps(content, indent=1, ensure_ascii=False)
            found[folder / f"{dashboard.name}.json"] = f"{text}\n"
        exemptions = lint.render(language, dashboards.ALL)
        text = yaml.safe_dump(exemptions, sort_keys=False, allow_unicode=True)
        found[folder / lint.FILE] = text
    return found


def main() -> None:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description="Write the Grafana dashboards from their source.")
    parser.add_argument("--check", action="store_true", help="only check that the files fit")
    wanted = files()
    old = {path for path in FOLDER.rglob("*.json") if path not in wanted}
    if parser.parse_args().check:
        wrong = [
            path for path, text in wanted.items()
            if not path.is_file() or path.read_text(encoding="utf-8") != text
        ]  # fmt: skip
        if wrong or old:
            names = ", ".join(str(path.relative_to(ROOT)) for path in [*wrong, *sorted(old)])
            sys.exit(f"{names}: does not fit deploy/grafana/source: run `make format`")
        print(f"{len(wanted)} files of dashboards fit deploy/grafana/source")
        return
    for path in old:
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
