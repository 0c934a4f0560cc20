"""The source of the Grafana dashboards: four dashboards, each in English and Korean.

`scripts/write_dashboards.py` writes `deploy/grafana/dashboards/<language>/*.json` from it.

- `texts.yaml`: all titles, descriptions and words, in both languages; `texts` reads it.
- `values`: what a number means: units, thresholds, and its text and colour.
- `queries`: PromQL of metrics that exist, with the matchers of the dashboard's variables.
- `panels`: one function for each kind of panel.
- `layout`: rows of panels to a dashboard.
- `overview`, `machine`, `runtime`, `providers`: the dashboards.

To add a panel: add its text in `texts.yaml`, and one call in a row of a dashboard.
"""
