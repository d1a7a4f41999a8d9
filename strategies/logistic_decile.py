"""Logistic regression, as a filter: hold a symbol while its guesses are among the best.

It buys in the top tenth of the guesses it made in training and keeps a symbol until its guess falls below the median.
"""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tradekit.engine.classifier import ClassifierStrategy

strategy = ClassifierStrategy(
    "logistic_decile", make_pipeline(StandardScaler(), LogisticRegression()), sell=0.5, buy=0.9
)
