"""Examples of every verb, as `--help` shows them: each runs as it stands after those above it."""

from __future__ import annotations

__all__ = ["EXAMPLES", "FIRST_HOUR"]

FIRST_HOUR = (
    "earnest doctor votes.csv",
    "earnest fit votes.csv --out fit",
    "earnest threshold fit",
    "earnest export votes.csv --fit fit --out preferences.jsonl",
)
"""What `earnest --help` ends with; `earnest simulate --out votes.csv --texts` makes a log to try it on."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "simulate": (
        "earnest simulate --out votes.csv --texts --truth truth.json",
        "earnest simulate --out small.csv --users 100 --comparisons 30 --models 2",
    ),
    "import": (
        "earnest import battles.json --out imported.parquet",
        "earnest import battles.json --tool lmarena --out imported.jsonl",
    ),
    "doctor": (
        "earnest doctor votes.csv",
        "earnest doctor votes.csv --user user --winner winner --json",
    ),
    "fit": (
        "earnest fit votes.csv --out fit",
        "earnest fit votes.csv --model suggested --out fit",
        "earnest fit votes.csv --user user --winner winner --on-bad-rows quarantine \\\n    --out fit",
    ),
    "sample": ("earnest sample votes.csv --out posterior.nc",),
    "compare": (
        "earnest compare fit posterior.nc",
        "earnest compare fit posterior.nc --csv users",
    ),
    "threshold": (
        "earnest threshold fit",
        "earnest threshold fit --criterion 'share>=0.5' --rows 5",
        "earnest threshold fit votes.csv --posterior posterior.nc --json",
    ),
    "report": (
        "earnest report fit votes.csv --out report.html",
        "earnest report fit votes.csv --ids hash --out shared.html",
    ),
    "filter": (
        "earnest filter votes.csv --fit fit --threshold recommended \\\n    --out kept.parquet",
        "earnest filter votes.csv --fit fit --threshold 0.3 --min-comparisons 5 \\\n    --out kept.csv",
    ),
    "export": (
        "earnest export votes.csv --fit fit --out preferences.jsonl",
        "earnest export votes.csv --fit fit --threshold recommended \\\n    --noise clip --out preferences.parquet",
    ),
    "plan": (
        "earnest plan --users 5000 --votes 20 --attentive 0.4 --gap 1.0",
        "earnest plan --users 500 --advantage 0.7 --precision 0.8 --figure plan",
    ),
    "watch": (
        "earnest watch votes/ --out attentiveness.parquet",
        "earnest watch votes/ --out attentiveness.csv --fit current --once",
    ),
    "demo": ("earnest demo --out demo --users 200",),
}  # fmt: skip
