"""Gradient-boosted trees, as a filter: hold a symbol while its guesses are among the best.

They buy in the top tenth of the guesses made in training and keep a symbol until its guess falls below the median.
"""

from __future__ import annotations

from sklearn.ensemble import HistGradientBoostingClassifier

from tradekit.engine.classifier import ClassifierStrategy

strategy = ClassifierStrategy(
    "boosting_decile",
    HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=60, max_leaf_nodes=8, min_samples_leaf=100, early_stopping=False, random_state=0
    ),
    sell=0.5,
    buy=0.9,
)
