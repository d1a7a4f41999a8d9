#!/usr/bin/env bash
# The main job, end to end, in a scratch desk: train, walk forward, stress, shadow-trade, report.
set -euo pipefail
desk=$1
rm -rf "$desk"

step() {
    echo
    echo "\$ $*"
    "$@"
}

step tradekit init "$desk"
cd "$desk"
step tradekit train
step tradekit backtest --walk-forward
step tradekit stress --slippage-shock 1.5
step tradekit paper start
step tradekit report
