"""The report as a file: its numbers against loops over users, its names against what a log may do, its privacy."""

import base64
import hashlib
import hmac
import json
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics import report_view
from earnest.diagnostics.report import report as written
from earnest.diagnostics.report_html import bdi, embedded, tag
from earnest.diagnostics.report_names import Discretion, called, visible
from earnest.diagnostics.report_svg import ticks

MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "=cmd()|' /C calc'!A0",
    "x" * 1_000,  # the most that a log may have
    "ann\u202etxt.exe",
    "</script><script>alert(2)</script>",
    "line\u2028separator\u2029and\nbreak",
    "\"'><svg onload=alert(3)>",
    "$script ${main} $",
    "مستخدم",
]


@pytest.fixture(scope="module")
def log():
    """Votes of 60 users, nine of whom have hostile names, on models one of which has."""
    rows = MODEL.simulate(users=60, comparisons_per_user=12, models=3, seed=5).log.to_arrow().to_pandas()
    users = sorted(rows["user"].unique())
    rows["user"] = rows["user"].replace(dict(zip(users, HOSTILE, strict=False)))
    for column in ("model_a", "model_b"):
        rows[column] = rows[column].replace({"model_2": "<b>gpt</b>\u202e</script>"})
    return er.read_comparisons(rows[["user", "model_a", "model_b", "winner"]])


@pytest.fixture(scope="module")
def fit(log):
    return er.fit_em(MODEL, log)


@pytest.fixture(scope="module")
def trace(log, fit):
    return er.sample(MODEL, log, fit=fit, latent="marginal", draws=150, tune=150, chains=2, predictive=0)


def report(folder, fit, *args, **options):
    """Without what has tests of its own, unless it is asked for."""
    return written(folder, fit, *args, **{"identifiability": False, "checks": False, **options})


class Seen(HTMLParser):
    """What a browser would make of a page: elements, texts by element, data by id."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.data, self.words, self.open, self.meta = [], {}, [], [], {}
        self.feed(text)

    def handle_starttag(self, name, attributes):
        values = dict(attributes)
        self.elements.append((name, values))
        if name == "meta" and "http-equiv" in values:
            self.meta[values["http-equiv"]] = values["content"]
        if name not in ("meta", "input", "line", "circle", "rect", "path"):
            self.open.append((name, values.get("id")))

    def handle_endtag(self, name):
        while self.open and self.open.pop()[0] != name:
            pass

    def handle_data(self, text):
        name, known = self.open[-1] if self.open else ("", None)
        if name in ("script", "style"):
            self.data[known or name] = self.data.get(known or name, "") + text
        else:
            self.words.append(text)


def read(path):
    seen = Seen(path.read_text(encoding="utf-8"))
    users = json.loads(zlib.decompress(base64.b64decode(seen.data["users-data"]), wbits=-15))
    return seen, json.loads(seen.data["explorer-data"]), users


def everything(path):
    """All that can be read out of a file, unpacked, in any spelling."""
    seen, _, users = read(path)
    text = path.read_text(encoding="utf-8") + "\n".join(seen.words) + "\n".join(users["name"])
    return text + json.dumps(users, ensure_ascii=False)


def kept_by_loop(frame, threshold):
    """(users, labels, precision, effective labels) of users at or above a threshold, one user at a time."""
    users = labels = 0
    signal = 0.0
    for row in frame.itertuples():
        if row.mean >= threshold:
            users, labels, signal = users + 1, labels + row.comparisons, signal + row.mean * row.comparisons
    precision = signal / labels if labels else float("nan")
    return users, labels, precision, labels * precision**2


# Numbers ------------------------------------------------------------------------------------------------------------


def test_every_stop_says_what_the_curve_says_and_what_a_loop_counts(tmp_path, fit):
    _, stand, _ = read(report(tmp_path, fit))
    curve, best = er.thresholds(fit), er.thresholds(fit).recommend()
    thresholds = np.unique(np.append(np.arange(1001) / 1000, best.threshold))
    assert len(stand["users"]) == len(thresholds)
    top = fit.attentiveness["mean"].max()
    for k, threshold in enumerate(thresholds):
        users, labels, precision, effective = kept_by_loop(fit.attentiveness, threshold)
        assert stand["kept"][k] == users
        assert stand["users"][k] == f"{users:,}"
        assert stand["labels"][k] == f"{labels:,}"
        if threshold > top:
            assert users == 0
            assert stand["precision"][k] == stand["effective"][k] == "none"
            continue
        row = curve.at(threshold)
        assert stand["precision"][k] == f"{row['precision']:.1%}"
        assert stand["effective"][k] == f"{row['effective_labels']:,.0f}"
        assert row["precision"] == pytest.approx(precision, abs=1e-12)
        assert row["effective_labels"] == pytest.approx(effective, rel=1e-9)
    assert stand["x"][stand["recommended"]] == pytest.approx(best.threshold, abs=1e-5)
    assert stand["mark"].count("recommended") == 1
    assert stand["mark"][stand["recommended"]] == "recommended"


def test_the_table_holds_every_user_by_falling_attentiveness(tmp_path, fit):
    _, _, users = read(report(tmp_path, fit))
    frame = fit.attentiveness.sort_values("mean", ascending=False, kind="stable")
    assert users["votes"] == frame["comparisons"].tolist()
    for name in ("mean", "lower", "upper"):
        assert [f"{value / 1000:.3f}" for value in users[name]] == [f"{value:.3f}" for value in frame[name]]
    assert users["name"] == [visible(user) for user in frame["user"]]
    assert "place" not in users


def test_a_place_below_the_number_kept_is_being_kept(tmp_path, fit):
    # Ties among users, and a threshold that equals a user's mean: the place alone must decide rightly.
    frame = fit.attentiveness.copy()
    frame.loc[:9, "mean"], frame.loc[10:14, "mean"] = 0.5, 0.25
    tied = replace(fit, attentiveness=frame)
    _, stand, users = read(report(tmp_path, tied))
    for threshold, kept in zip(stand["x"], stand["kept"], strict=True):
        by_name = {visible(row.user): row.mean >= threshold for row in frame.itertuples()}
        if stand["mark"][stand["x"].index(threshold)] != "recommended":  # that one is rounded in `x`
            assert [by_name[name] for name in users["name"]] == [place < kept for place in range(len(frame))]


def test_without_a_script_the_recommended_numbers_are_there(tmp_path, fit):
    seen, _, _ = read(report(tmp_path, fit))
    best, text = er.thresholds(fit).recommend(), "".join(seen.words)
    for words in (
        f"{best.threshold:.4f}",
        f"{best.labels:,}",
        f"{best.effective_labels:,.0f}",
        best.reason.split(". ")[0],
    ):
        assert words in text


def test_the_summary_has_five_sentences(tmp_path, fit):
    seen, _, _ = read(report(tmp_path, fit))
    assert sum(values.get("class") == "sentence" for _, values in seen.elements) == 5


def test_where_all_users_do_not_fit_some_are_taken_evenly_and_it_is_said(tmp_path, fit, monkeypatch):
    frame = pd.concat([fit.attentiveness] * 20, ignore_index=True)
    frame["user"] = [hashlib.sha256(str(k).encode()).hexdigest() for k in range(len(frame))]
    many = replace(fit, attentiveness=frame)
    monkeypatch.setattr(report_view, "MOST_BYTES", 30_000)
    seen, stand, users = read(report(tmp_path, many))
    shown = len(users["name"])
    assert 100 <= shown < len(frame)
    assert len(seen.data["users-data"]) <= 30_000
    assert users["place"][0] == 0
    assert users["place"][-1] == len(frame) - 1
    assert set(np.diff(users["place"])) <= {len(frame) // shown, len(frame) // shown + 1}
    order = frame.sort_values("mean", ascending=False, kind="stable")
    assert users["name"] == order["user"].iloc[users["place"]].tolist()
    assert f"holds {shown:,} (evenly chosen" in "".join(seen.words)
    assert stand["kept"][0] == len(frame)  # the curve is of all


def test_label_em_has_users_without_an_interval(tmp_path, log):
    fit = er.fit_em(MODEL, log, method="label")
    assert fit.attentiveness["lower"].isna().any()
    seen, _, users = read(report(tmp_path, fit))
    assert users["lower"].count(-1) == fit.attentiveness["lower"].isna().sum()
    assert "Label EM's estimates are no posterior means" in "".join(seen.words)


# With a posterior ---------------------------------------------------------------------------------------------------


def test_with_posterior_and_votes_users_and_cuts_are_the_posteriors(tmp_path, fit, trace, log):
    seen, stand, users = read(report(tmp_path, fit, trace, log))
    curve = er.thresholds(trace, log)
    means = trace.posterior["attentiveness"].mean(("chain", "draw")).to_series()
    assert [f"{v / 1000:.3f}" for v in users["mean"]] == [f"{v:.3f}" for v in sorted(means, reverse=True)]
    for k in (0, 250, 600):
        row = curve.at(stand["x"][k])
        assert stand["effective"][k] == f"{row['effective_labels']:,.0f}"
        assert "(90 %)" in stand["effective_note"][k]
    text = "".join(seen.words)
    assert er.compare(fit, trace).verdict.split(":")[0] in text
    assert "Over the posterior the best threshold lies between" in text


def test_with_a_posterior_but_no_votes_they_are_ems_and_it_is_said(tmp_path, fit, trace):
    seen, _, users = read(report(tmp_path, fit, trace))
    assert users["votes"] == fit.attentiveness.sort_values("mean", ascending=False)["comparisons"].tolist()
    text = "".join(seen.words)
    assert "Users and thresholds are EM's, not the posterior's, since the votes were not given." in text
    assert "Users farthest apart" in text


def test_another_log_is_refused(tmp_path, fit):
    other = MODEL.simulate(users=20, comparisons_per_user=5, models=3, seed=1).log
    with pytest.raises(EarnestError, match="log: it is not the one that the fit was made from"):
        report(tmp_path, fit, log=other)
    assert not list(tmp_path.iterdir())


FOUND = SimpleNamespace(
    verdict="The scale is <not> identified.",
    only_ranking=True,
    directions=pd.DataFrame({"direction": ["alpha & beta"], "eigenvalue": [0.25]}),
    contraction=pd.DataFrame(
        {"parameter": ["skill"], "prior_sd": [2.0], "posterior_sd": [np.nan], "contraction": [0.875]}
    ),
    advice=("Gold users would help.",),
)
CHECKS = SimpleNamespace(
    verdict="Run lengths do not look like the model's.",
    table=pd.DataFrame(
        {
            "check": ["left share", "longest run"],
            "observed": [0.5, 9.0],
            "expected": [0.52, 5.0],
            "lower": [0.45, 4.0],
            "upper": [0.6, 7.0],
            "p": [0.4, 0.004],
        }
    ),
)


def test_identifiability_and_checks_are_told_where_they_are_given(tmp_path, fit):
    bare, _, _ = read(report(tmp_path / "bare", fit))
    full, _, _ = read(report(tmp_path / "full", fit, identifiability=FOUND, checks=CHECKS))
    for words in (FOUND.verdict, "alpha & beta", "0.875", "not known", "Gold users would help.", CHECKS.verdict,
                  "longest run", "0.004"):  # fmt: skip
        assert words in "".join(full.words)
        assert words == "not known" or words not in "".join(bare.words)
    assert "".join(full.words).count("4.000 to 7.000no") == 0  # cells are apart
    fixed = SimpleNamespace(**{**vars(FOUND), "only_ranking": False})
    sure, _, _ = read(report(tmp_path / "sure", fit, identifiability=fixed))
    for seen, many in ((full, 2), (sure, 0)):  # over the slider and over the section
        assert sum(values.get("class") == "warning" for _, values in seen.elements) == many + 1  # and without scripts
    assert "the ranking of the users is identified but not the absolute scale" in "".join(full.words)
    assert "the absolute scale of attentiveness is identified" in "".join(sure.words)
    anchors = [values["href"] for name, values in full.elements if name == "a"]
    ids = [values.get("id") for _, values in full.elements]
    assert all(anchor[1:] in ids for anchor in anchors)
    assert {"#identifiability", "#checks"} <= set(anchors)
    assert len({i for i in ids if i}) == len([i for i in ids if i])  # no id twice


# Names --------------------------------------------------------------------------------------------------------------


def test_hostile_names_are_text_and_nothing_else(tmp_path, fit):
    path = report(tmp_path, fit)
    seen, _, users = read(path)
    plain, _, _ = read(report(tmp_path / "none", fit, ids="none"))
    assert len(seen.elements) == len(plain.elements)  # names add no element
    assert sum(name == "script" for name, _ in seen.elements) == 3
    assert not {"img", "b", "iframe", "object", "link", "base"} & {name for name, _ in seen.elements}
    assert not [key for _, values in seen.elements for key in values if key.startswith("on") or key in ("src", "style")]
    assert "<b>gpt</b>[U+202E]</script>" in "".join(seen.words)  # the model's name, as it is but for the invisible
    assert visible("x" * 1_000) in users["name"]
    assert all(len(name) < 260 for name in users["name"])
    raw = path.read_text(encoding="utf-8")
    for character in "\u202e\u2028\u2029":
        assert character not in raw + "".join(users["name"])


def test_the_policy_allows_the_two_sources_and_nothing_else(tmp_path, fit):
    seen, _, _ = read(report(tmp_path, fit))
    policy = dict(part.strip().split(" ", 1) for part in seen.meta["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(seen.data[name].encode()).digest()).decode()
        assert policy[f"{name}-src"] == f"'sha256-{digest}'"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name", "plain name"),
        ("a\u202eb", "a[U+202E]b"),
        ("tab\tand\nbreak", "tab[U+0009]and[U+000A]break"),
        ("no\u00a0break", "no break"),
        ("\ud800", "[U+D800]"),
        ("\u0645\u200c\u06cc", "\u0645\u200c\u06cc"),
        ("y" * 201, "y" * 150 + "…" + "y" * 40 + " (201 characters)"),
    ],
)
def test_names_are_made_visible(name, shown):
    assert visible(name) == shown


def test_markup_is_escaped_where_it_enters():
    made = tag("p", "<i>", bdi("a<b"), title='"&')
    assert made == '<p title="&quot;&amp;">&lt;i&gt;<bdi>a&lt;b</bdi></p>'
    assert "</script><" not in embedded("d", {"x": "</script><!--\u2028"})[:-9]
    assert json.loads(embedded("d", {"x": "</script>&\u2028"}).split(">", 1)[1][:-9]) == {"x": "</script>&\u2028"}


@pytest.mark.parametrize(("top", "wanted"), [(1130, [0, 250, 500, 750, 1000]), (1, [0, 0.25, 0.5, 0.75, 1]), (0, [0])])
def test_ticks_are_round(top, wanted):
    assert ticks(top) == pytest.approx(wanted)


# Privacy ------------------------------------------------------------------------------------------------------------


def test_hashed_names_are_keyed_and_come_back(tmp_path, fit):
    first = report(tmp_path / "1", fit, ids="hash", key="secret")
    again = report(tmp_path / "2", fit, ids="hash", key=b"secret")
    assert first.read_bytes() == again.read_bytes()
    _, _, users = read(first)
    expected = {
        hmac.new(b"secret", user.encode(), hashlib.sha256).hexdigest()[:16] for user in fit.attentiveness["user"]
    }
    assert set(users["name"]) == expected
    _, _, others = read(report(tmp_path / "3", fit, ids="hash"))
    assert not expected & set(others["name"])
    assert "secret" not in first.read_text()


def test_without_names_users_are_numbered_by_attentiveness(tmp_path, fit):
    _, _, users = read(report(tmp_path, fit, ids="none"))
    assert users["name"] == [f"user {rank}" for rank in range(1, 61)]
    assert users["mean"] == sorted(users["mean"], reverse=True)


@pytest.mark.parametrize("ids", ["hash", "none"])
def test_private_reports_hold_no_users_name_and_no_path(tmp_path, fit, trace, log, ids):
    shy, bold = fit.attentiveness["user"].iloc[[40, 41]]
    model = replace(fit.model, gold=er.Gold(users=("goldilocks", shy)))
    notes = (
        f"the user {shy!r} is odd",
        f"the user {HOSTILE[5]!r} too",
        f"row 3 of {tmp_path}/votes.csv was set aside",
        "3 rows of votes.csv were set aside",
        "2 of 3 gold users gave no votes here, 'goldilocks' for one",
        "EM ended with status 'converged'",
    )
    apart = fit.attentiveness.rename(columns={"mean": "attentiveness"}).assign(probability=0.9)
    told = SimpleNamespace(
        **{
            **vars(FOUND),
            "advice": (f"Look at {shy}.", "Add gold users."),
            "verdict": f"The scale is known. One user disagrees ({bold}): a taste. It is so.",
            "contrarians": apart,
        }
    )
    changed = replace(fit, model=model, notes=notes)
    plain = everything(report(tmp_path / "plain", changed, identifiability=told))
    private = everything(report(tmp_path / "private", changed, identifiability=told, ids=ids))
    with_trace = everything(report(tmp_path / "trace", fit, trace, log, ids=ids))
    for secret in ("goldilocks", str(tmp_path), "votes.csv", *fit.attentiveness["user"]):
        for text in (private, with_trace):
            assert secret not in text
            assert visible(secret) not in text
    assert shy in plain  # the control: there is something to leak
    assert "goldilocks" in plain
    assert str(tmp_path) in plain
    assert "EM ended with status &#x27;converged&#x27;" in private  # what names nobody stays
    assert "Add gold users." in private
    assert "The scale is known. It is so." in private
    # Five notes, one advice, one sentence, two gold users.
    assert "9 notes or settings are not shown here" in private


def test_sentences_that_name_a_user_are_left_out_and_the_others_stay():
    discretion = Discretion(["12", "Dr. Who", "o'hara", "-", "x" * 60], private=True)
    text = (
        "Two directions are weak. 2 users disagree (12, Dr. Who, ...): another taste. The mean is 0.12, 12 % or 1.12."
    )
    assert discretion.sentences(text) == "Two directions are weak. The mean is 0.12, 12 % or 1.12."
    assert discretion.withheld == 2  # the name has a full stop and ends a sentence
    for told in ("user 12 is odd", "(12, 40)", "'12'", "o'hara's", repr("o'hara"), "see " + "x" * 40):
        assert not discretion.allows(told)
    assert discretion.allows("1.5 to 12.5 nats, 3,121 votes, x12")
    assert Discretion(["12"], private=False).allows("user 12 in /home/ann/votes.csv")


@pytest.mark.parametrize("text", ["see /home/ann/x", r"in C:\data", "~/votes", "from votes.parquet", "s3://bucket/key"])
def test_places_are_seen(text):
    assert not Discretion([], private=True).allows(text)


@pytest.mark.parametrize("text", ["log alpha/log beta move together", "60 % and/or 3/4", "0.5 to 1.0 nats."])
def test_slashes_in_prose_are_no_places(text):
    assert Discretion([], private=True).allows(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ids": "secret"}, "expected 'plain', 'hash' or 'none'"),
        ({"key": "k"}, "ids='plain' has no use for it"),
        ({"ids": "hash", "key": ""}, "not empty"),
        ({"ids": "hash", "key": 3}, "expected bytes or text"),
        ({"name": "report.txt"}, "ends in .html"),
        ({"name": "../report.html"}, "without a folder"),
    ],
)
def test_mistakes_are_named(tmp_path, fit, options, words):
    with pytest.raises(EarnestError, match=words):
        report(tmp_path / "out", fit, **options)
    assert not (tmp_path / "out").exists()


def test_equal_users_stand_in_no_order_that_tells_of_their_names():
    users = [f"u{k:03d}" for k in range(200)]
    named = called(users, np.full(200, 0.5), "none", None)
    assert sorted(named.order) == list(range(200))
    assert abs(np.corrcoef(named.order, np.arange(200))[0, 1]) < 0.5  # six standard deviations
    assert list(called(users, np.full(200, 0.5), "plain", None).order) == list(range(200))


# The file -----------------------------------------------------------------------------------------------------------


def test_an_earlier_report_is_replaced_and_a_foreign_file_is_not(tmp_path, fit):
    folder = tmp_path / "new" / "folder"
    path = report(folder, fit)
    assert path == folder / "report.html"
    assert report(folder, fit, ids="none") == path
    assert "numbered by attentiveness" in path.read_text()
    assert [entry.name for entry in folder.iterdir()] == ["report.html"]
    path.write_text("<html>my thesis</html>")
    with pytest.raises(EarnestError, match=r"exists and is not a report of Earnest"):
        report(folder, fit)
    assert path.read_text() == "<html>my thesis</html>"
    assert report(folder, fit, name="other.html").is_file()
    with pytest.raises(EarnestError, match="it is a file"):
        report(path, fit)
    with pytest.raises(EarnestError, match="expected a result of fit_em, got str"):
        report(fit, "folder")


def test_a_report_that_fails_leaves_the_old_one(tmp_path, fit, monkeypatch):
    path = report(tmp_path, fit)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        report(tmp_path, fit, ids="none")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_fit_gives_the_same_file(tmp_path, fit):
    assert report(tmp_path / "1", fit).read_bytes() == report(tmp_path / "2", fit).read_bytes()


def test_it_judges_and_checks_by_itself(fit, log, tmp_path):
    seen, _, _ = read(written(tmp_path, fit, log=log))
    words = " ".join(seen.words)
    assert er.identifiability(fit).verdict.split(". ")[0] in words
    assert "Does the model fit?" in words
    label = er.fit_em(fit.model, log, method="label")
    words = " ".join(read(written(tmp_path / "label", label))[0].words)
    assert "What is identified" not in words


def test_what_cannot_be_checked_or_compared_is_left_out(fit, log, tmp_path):
    """Label EM knows no population to check; a posterior kept without its users is compared with nothing."""
    label = er.fit_em(fit.model, log, method="label")
    assert written(tmp_path / "label", label, log=log).is_file()
    bare = er.sample(fit.model, log, fit=fit, chains=1, draws=20, tune=40, predictive=0, keep_users="none")
    words = " ".join(read(report(tmp_path / "bare", fit, bare, log))[0].words)
    assert "No posterior of the users was given" in words


def test_users_called_by_numbers_take_no_sentence_with_them():
    private = Discretion([str(i) for i in range(40)], private=True)
    for text in ("None of 12 checks fails.", "A factor of 1.5 (60 of 63), and 1 more such.", "Cut at 3 or 4.0."):
        assert private.sentences(text) == text
    for text in ("2 users disagree (15, 11).", "the attentiveness of user '7' is not finite", "users 3 and 5 left"):
        assert not private.allows(text)
    assert private.settings({"cohort": {"12": 1}, "levels": 2}) == {"cohort": {"(not shown)": 1}, "levels": 2}


@pytest.mark.parametrize(
    "text", ["read from logs/run1/votes.tsv", "read from data/acme/july", "in acme.txt", "https://a.b"]
)
def test_places_are_private(text):
    assert not Discretion(["alice"], private=True).allows(text)
