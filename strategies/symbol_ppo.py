"""Symbol PPO: the trained policy of policies/symbol_ppo, applied to every symbol in a sleeve of its own.

``tradekit train`` writes the bundle this loads. Bars it was trained or selected on never count as evidence.
"""

from __future__ import annotations

from pathlib import Path

from tradekit.learn.policy import PolicyStrategy

strategy = PolicyStrategy.load(Path(__file__).resolve().parent.parent / "policies" / "symbol_ppo")
