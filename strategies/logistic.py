"""Logistic regression, as thresholds: buy on its highest guesses, sell on its lowest, rest in between.

The plainest supervised learner there is. It learns afresh in every walk-forward window; see ClassifierStrategy for what
it sees and how its guesses become weights.
"""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tradekit.engine.classifier import ClassifierStrategy

strategy = ClassifierStrategy("logistic", make_pipeline(StandardScaler(), LogisticRegression()))
