"""Draw the README's picture: two answers on one simulated log. `make readme-figure` runs it."""

from pathlib import Path

import earnest as er
from earnest.demo import TRUTH
from earnest.diagnostics.figures import new_figure


def main() -> None:
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    truth = model.simulate(users=1000, comparisons_per_user=20, models=4, seed=0, parameters=TRUTH)
    fit = er.fit_em(model, truth.log)
    figure, (left, right) = new_figure(width=10.4, height=4.4, columns=2)
    er.plots.attentiveness(fit, left)
    er.plots.threshold_curve(er.thresholds(fit), right)
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    main()
