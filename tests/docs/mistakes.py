"""What goes wrong, by the name that docs/errors.md gives it: each function raises the error that the page shows.

python tests/docs/mistakes.py      # writes what they say today into the page
"""

import contextlib
import re
import tempfile
import textwrap
from pathlib import Path

import earnest as er

DAVIDSON = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))


def table(rows, name="votes.csv", header="user,model_a,model_b,winner"):
    Path(name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return name


def log(rows=("ann,apple,berry,model_a", "bob,berry,apple,model_b", "ann,apple,berry,model_b"), **columns):
    return er.read_comparisons(table(rows, **columns))


def some(users=120):
    crowd = {"attentiveness_alpha": 0.7, "attentiveness_beta": 0.7}
    return DAVIDSON.simulate(users, 15, models=4, seed=3, parameters=crowd, texts=True).log


def missing_column():
    log(["ann,apple,berry,model_a"], header="who,model_a,model_b,winner")


def missing_file():
    er.read_comparisons("vote.csv")


def missing_value():
    log(["ann,apple,berry,model_a", ",apple,berry,model_b"])


def same_model():
    log(["ann,apple,apple,model_a"])


def unknown_winner():
    log(["ann,apple,berry,model_a", "bob,apple,berry,2"])


def repeated_id():
    er.read_comparisons(
        table(["1,ann,apple,berry,tie", "1,bob,apple,berry,tie"], header="id,user,model_a,model_b,winner"),
        comparison="id",
    )


def columns_of_a_row():
    log(["ann,apple,berry,model_a", "bob,apple,berry,model_b,and so on"])


def ties_without_a_rule():
    er.fit_em(er.BehaviorModel(), log(["ann,apple,berry,model_a", "bob,apple,berry,tie"]))


def missing_covariate():
    er.fit_em(er.BehaviorModel(attention=er.SampleAttention(("dwell_time",))), log())


def missing_timestamp():
    er.fit_em(er.BehaviorModel(attention=er.Drift()), log())


def unknown_model():
    fit = er.fit_em(DAVIDSON, some())
    fit.score(log(["ann,apple,berry,model_a"]))


def no_texts():
    er.write_preferences(log(), "preferences.jsonl")


def missing_text():
    rows = ["ann,apple,berry,model_a,Why?,Because.,So.", "bob,berry,apple,model_a,Why?,,So."]
    header = "user,model_a,model_b,winner,prompt,response_a,response_b"
    er.write_preferences(log(rows, header=header), "preferences.jsonl")


def noise_of_one_half():
    votes = some()
    er.write_preferences(votes, "preferences.jsonl", er.fit_em(DAVIDSON, votes), noise="refuse")


def unknown_criterion():
    er.thresholds(er.fit_em(DAVIDSON, some())).recommend(criterion="accuracy")


def out_of_reach():
    er.thresholds(er.fit_em(DAVIDSON, some())).recommend(criterion="precision>=0.999")


def another_log():
    er.predictive_check(er.fit_em(DAVIDSON, some()), some(users=121))


def report_over_a_file():
    Path("page.html").write_text("<p>mine</p>")
    er.report(".", er.fit_em(DAVIDSON, some()), name="page.html")


def copy_of_a_file():
    folder = Path("arriving")
    folder.mkdir()
    votes = some()
    for day in ("monday", "tuesday"):
        votes.write(folder / f"{day}.jsonl")
    er.watch(folder, "votes.duckdb", once=True)


def name_taken():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class CoinFlip(er.Casual):
        pass


def probabilities_do_not_sum():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Sloppy(er.Casual):
        def log_prob(self, xp, values, cells):
            return xp.log(0.4 + 0 * cells.sign)

    er.BehaviorModel(casual=Sloppy()).simulate(users=2, comparisons_per_user=2, models=2, seed=0)


def memory_limit():
    import os

    os.environ["EARNEST_MEMORY_LIMIT"] = "2"
    try:
        log()
    finally:
        del os.environ["EARNEST_MEMORY_LIMIT"]


PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
SHOWN = re.compile(r"(<!-- error: (\w+) -->\n```text\n)(.*?)(?=```)", re.DOTALL)
MISTAKES = {name: made for name, made in list(globals().items()) if callable(made) and made.__module__ == __name__
            and name not in ("table", "log", "some")}  # fmt: skip


def message(name):
    """What it says, in lines."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            MISTAKES[name]()
        except er.EarnestError as error:
            words = str(error)
    return "\n".join(textwrap.wrap(words, 80, break_long_words=False, break_on_hyphens=False)) + "\n"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(SHOWN.sub(lambda found: found[1] + message(found[2]), text), encoding="utf-8")
