"""FeatureSpec, and the promise that every feature depends on exactly the bars it declares."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import intraday, random_panel
from tradekit import load_panel
from tradekit.errors import ConfigError, DataError
from tradekit.market.features import FEATURES, MEMORY, FeatureSpec
from tradekit.market.panel import FIELDS, Panel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats

CLOCK = ("session_sin", "session_cos", "weekday_sin", "weekday_cos")
PRICED = tuple(name for name in FEATURES if name not in CLOCK)
EVERYTHING = FeatureSpec.named("ohlcv")


def bits(values: Floats) -> bytes:
    """Return the exact bits, all NaN alike."""
    return np.where(np.isnan(values), np.nan, values).tobytes()


def values(name: str, panel: Panel) -> Floats:
    return FeatureSpec.named(name).compute(panel)[:, :, 0]


def edited(panel: Panel, rows: slice | int, factor: float) -> Panel:
    """Return the panel with every price, volume and benchmark return of ``rows`` changed, each by its own factor."""
    changed = {}
    for i, name in enumerate((*FIELDS, "benchmark_returns")):
        array = getattr(panel, name).copy()
        array[rows] *= factor ** (1 + i / 7)
        changed[name] = array
    return replace(panel, **changed)


@pytest.fixture(scope="module")
def hourly() -> Panel:
    return intraday(random_panel(400, 3, seed=5), 7)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Panel:
    """Real hourly bars, with the gaps they have."""
    return load_panel(str(shared_data / "hourly_ibkr"))[-900:]


@pytest.fixture(scope="module")
def crisis(sample: Panel) -> Panel:
    return sample.between("2007-06-01", "2009-12-31")


class TestFiniteMemory:
    @pytest.mark.parametrize("name", FEATURES)
    def test_a_window_gives_the_bits_of_the_whole(self, hourly: Panel, name: str) -> None:
        whole, lookback = values(name, hourly), FEATURES[name].lookback
        for t in range(lookback - 1, len(hourly), 7):
            window = values(name, hourly[t - lookback + 1 : t + 1])
            assert bits(window[-1]) == bits(whole[t]), f"bar {t}"

    def test_the_same_on_real_daily_closes(self, crisis: Panel) -> None:
        for name in FeatureSpec.named("close").names:
            whole, lookback = values(name, crisis), FEATURES[name].lookback
            for t in range(lookback - 1, len(crisis), 41):
                assert bits(values(name, crisis[t - lookback + 1 : t + 1])[-1]) == bits(whole[t]), f"{name} at {t}"

    def test_the_same_on_real_hourly_bars(self, real: Panel) -> None:
        for name in EVERYTHING.names:
            whole, lookback = values(name, real), FEATURES[name].lookback
            for t in range(lookback - 1, len(real), 61):
                assert bits(values(name, real[t - lookback + 1 : t + 1])[-1]) == bits(whole[t]), f"{name} at {t}"

    @given(st.integers(0, 10_000), st.integers(1, 5), st.integers(MEMORY - 1, 199), st.data())
    def test_the_same_with_holes(self, seed: int, symbols: int, t: int, data: st.DataObject) -> None:
        panel = random_panel(200, symbols, seed)
        hole = data.draw(st.tuples(st.integers(0, 199), st.integers(0, symbols - 1)))
        close = panel.close.copy()
        close[hole] = np.nan
        panel = replace(panel, close=close)
        window = EVERYTHING.compute(panel[t - EVERYTHING.lookback + 1 : t + 1])
        assert bits(window[-1]) == bits(EVERYTHING.compute(panel)[t])

    @pytest.mark.parametrize("name", FEATURES)
    def test_bars_outside_the_window_do_not_matter(self, hourly: Panel, name: str) -> None:
        whole, lookback = values(name, hourly), FEATURES[name].lookback
        for t in (lookback - 1, lookback, 250, len(hourly) - 2):
            past = edited(hourly, slice(0, t - lookback + 1), 1.5)
            future = edited(hourly, slice(t + 1, None), 0.5)
            assert bits(values(name, past)[t]) == bits(whole[t]), f"before bar {t}"
            assert bits(values(name, future)[: t + 1]) == bits(whole[: t + 1]), f"after bar {t}"

    @pytest.mark.parametrize("name", PRICED)
    def test_the_oldest_and_newest_bars_of_the_window_matter(self, hourly: Panel, name: str) -> None:
        whole, lookback = values(name, hourly), FEATURES[name].lookback
        ends = range(lookback - 1, len(hourly), 13)
        oldest = [values(name, edited(hourly, t - lookback + 1, 1.3))[t] != whole[t] for t in ends]
        newest = [values(name, edited(hourly, t, 1.3))[t] != whole[t] for t in ends]
        assert np.any(oldest), "the declared lookback is longer than what is read"
        assert np.mean(newest) > 0.9

    @pytest.mark.parametrize("name", PRICED)
    def test_a_missing_bar_blanks_its_windows_and_no_others(self, name: str) -> None:
        panel = random_panel(300, 2, seed=3)[1:]
        whole, lookback, bar = values(name, panel), FEATURES[name].lookback, 140
        holed = values(name, edited(panel, bar, np.nan))
        blank = slice(bar, bar + lookback)
        assert np.isnan(holed[blank]).all()
        assert bits(np.delete(holed, blank, axis=0)) == bits(np.delete(whole, blank, axis=0))

    @pytest.mark.parametrize("name", FEATURES)
    def test_the_first_value_comes_at_the_lookback(self, name: str) -> None:
        panel = intraday(random_panel(130, 2), 7)[1:]  # the first bar has no benchmark return
        found, lookback = values(name, panel), FEATURES[name].lookback
        assert np.isnan(found[: lookback - 1]).all()
        assert np.isfinite(found[lookback - 1 :]).all()

    def test_too_short_a_panel_is_all_nan(self) -> None:
        table = FeatureSpec.named("rsi_14", "volatility_rank_100", "sma_gap_20").compute(random_panel(1, 3))
        assert table.shape == (1, 3, 3)
        assert np.isnan(table).all()

    def test_columns_do_not_see_each_other(self, real: Panel) -> None:
        order = (4, 0, 7, 2)
        picked = EVERYTHING.compute(real.select([real.symbols[i] for i in order]))
        assert bits(picked) == bits(EVERYTHING.compute(real)[:, order])


class TestSample:
    def test_every_row_is_complete_after_the_lookback(self, sample: Panel) -> None:
        spec = FeatureSpec.named("close")
        table = spec.compute(sample)
        assert table.shape == (8313, 20, 17)
        assert np.isfinite(table[spec.lookback - 1 :]).all()

    def test_the_crash_looks_like_one(self, crisis: Panel) -> None:
        spec = FeatureSpec.named("trend_20_100", "volatility_rank_100", "rsi_14")
        day = int(np.searchsorted(crisis.timestamps, np.datetime64("2008-10-10")))
        trend, rank, rsi = np.median(spec.compute(crisis)[day], axis=0)
        assert trend < -0.05
        assert rank > 0.95
        assert rsi < 35.0


class TestFeatureSpec:
    def test_sets(self) -> None:
        close, everything = FeatureSpec.named("close"), FeatureSpec.named("ohlcv")
        assert close.requires == ("close",)
        assert everything.requires == FIELDS
        assert everything.names[: len(close.names)] == close.names
        assert close.lookback == everything.lookback == MEMORY

    def test_names_in_order(self) -> None:
        spec = FeatureSpec.named("gap_1", "sma_gap_50")
        assert spec.names == ("gap_1", "sma_gap_50")
        assert spec.lookback == 50
        assert spec.requires == ("open", "close")
        panel = random_panel(60, 2)
        assert bits(spec.compute(panel)[:, :, 1]) == bits(values("sma_gap_50", panel))

    def test_a_set_may_be_extended(self) -> None:
        assert FeatureSpec.named("close", "atr_14").names[-1] == "atr_14"

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("rsi_15",), "unknown feature 'rsi_15'; did you mean rsi_14?"),
            (("clsoe",), "unknown feature 'clsoe'; did you mean close?"),
            (("return_1", "return_1"), "feature return_1 is listed twice; list it once"),
            (("close", "rsi_14"), "feature rsi_14 is listed twice; list it once"),
            ((), "no features; choose a set (close, ohlcv) or names of features"),
        ],
    )
    def test_refuses(self, names: tuple[str, ...], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            FeatureSpec.named(*names)
        assert str(caught.value) == message

    def test_refuses_a_panel_without_the_column_and_names_the_feature(self, sample: Panel) -> None:
        with pytest.raises(DataError, match="sample: feature atr_14 needs high, low, which"):
            FeatureSpec.named("rsi_14", "atr_14").compute(sample)

    def test_the_table_is_contiguous_and_read_only(self) -> None:
        table = FeatureSpec.named("return_1", "gap_1").compute(random_panel(5, 2))
        assert table.dtype == np.float64
        assert table.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            table[0, 0, 0] = 1.0

    def test_is_frozen_and_hashable(self) -> None:
        spec = FeatureSpec.named("close")
        assert {spec: 1}[FeatureSpec.named("close")] == 1
        with pytest.raises(FrozenInstanceError):
            spec.names = ()  # type: ignore[misc]

    def test_describes_each_feature(self) -> None:
        rows = FeatureSpec.named("ohlcv").describe()
        assert rows[0] == ("return_1", 2, "ln(c[t] / c[t-1])")
        assert [name for name, _, _ in rows] == list(FEATURES)


class TestContentHash:
    def test_depends_on_the_names_and_their_order(self) -> None:
        hashes = {
            FeatureSpec.named(*names).content_hash for names in (("gap_1", "range_1"), ("range_1", "gap_1"), ("gap_1",))
        }
        assert len(hashes) == 3

    def test_depends_on_the_parameters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = FeatureSpec.named("bollinger_20").content_hash
        monkeypatch.setitem(FEATURES, "bollinger_20", replace(FEATURES["bollinger_20"], parameters=(21,)))
        assert FeatureSpec.named("bollinger_20").content_hash != before

    def test_depends_on_the_kernels_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = FeatureSpec.named("close").content_hash
        monkeypatch.setattr("tradekit.market.features.KERNEL_VERSION", 0)
        assert FeatureSpec.named("close").content_hash != before

    @pytest.mark.parametrize(("name", "digest"), [("close", "8db19800613176dc"), ("ohlcv", "3fac7f57538351bf")])
    def test_trained_bundles_carry_these(self, name: str, digest: str) -> None:
        """A change here strands every trained bundle: wanted only when the numbers themselves changed."""
        assert FeatureSpec.named(name).content_hash[:16] == digest
