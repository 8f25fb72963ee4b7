"""Which fields mattered: PED-ANOVA (Watanabe et al., IJCAI 2023) as Optuna has it.

It asks how far the values of the best quarter of the trials are from the values of all trials, field by field: a field
whose good values are where all values are did not matter. It needs only who was better than whom, so trials that were
stopped early take part. It says nothing of directions, and of fields that act together it sees each one's own share.
"""

from collections.abc import Sequence

from faceverify.tuning.space import Dimension
from faceverify.tuning.trials import Trial

BEST_SHARE = 0.25
FEWEST = 8  # trials, below which chance says more than the numbers


def importances(trials: Sequence[Trial], dimensions: Sequence[Dimension], goal: str) -> dict[str, float]:
    """Share of each field, which add up to 1, the largest first; empty if there are too few trials."""
    inside = [t for t in trials if t.state != "failed" and all(d.holds(t.values[d.name]) for d in dimensions)]
    if len(inside) < FEWEST or len({trial.score(goal) for trial in inside}) < 2:
        return {}
    import optuna

    from faceverify.tuning.sampling import distributions

    known = distributions(dimensions)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler(seed=0))
    for trial in inside:
        params = {one.name: one.key(trial.values[one.name]) for one in dimensions}
        told = optuna.trial.create_trial(value=trial.score(goal), params=params, distributions=known)
        study.add_trial(told)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in sorted(found.items(), key=lambda item: (-item[1], item[0]))}
