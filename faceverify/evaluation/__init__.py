"""Scores -> error rates.

measure        everything at once: `evaluate(scores, EvaluationConfig()) -> Evaluation`
metrics        ROC, EER, FNMR at FMR, AUC of two sets of scores
intervals      bootstrap over persons; `uncertainty` draws it for all numbers of an evaluation
calibration    a threshold with its meaning
scored_pairs   the scores table as arrays; `result` and `views` are what comes out
"""
