"""Scores -> error rates.

measure        everything at once: `evaluate(scores, EvaluationConfig()) -> Evaluation`
metrics        ROC, EER, FNMR at FMR, AUC of two sets of sorted scores
intervals      bootstrap over persons; `uncertainty` draws it for all numbers of an evaluation
calibration    a threshold with its meaning
score_rows     a scores table of any size, in memory or in files
scored_pairs   which of its rows count, and of which group; `columns` holds and sorts their numbers, `names` codes names
result         what comes out; `views` makes what is only drawn, `comparison` sets two networks side by side
"""
