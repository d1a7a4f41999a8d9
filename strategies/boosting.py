"""Gradient-boosted trees, as thresholds: buy on the highest guesses, sell on the lowest, rest in between.

Sees what logistic.py sees, and can combine it. Shallow trees and many examples in a leaf, since most of what there is
to fit in returns is noise.
"""

from __future__ import annotations

from sklearn.ensemble import HistGradientBoostingClassifier

from tradekit.engine.classifier import ClassifierStrategy

strategy = ClassifierStrategy(
    "boosting",
    HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=60, max_leaf_nodes=8, min_samples_leaf=100, early_stopping=False, random_state=0
    ),
)
