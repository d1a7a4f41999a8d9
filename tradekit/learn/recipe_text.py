"""A recipe as the text of a file: what differs from the defaults, and nothing else."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError
from tradekit.learn.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence


def recipe_text(recipe: Recipe, said: Sequence[str] = (), folder: str = "") -> str:
    """Return TOML that ``Recipe.load`` reads as ``recipe`` from the policy's ``folder``, below the comments ``said``.

    Raises:
        ConfigError: it has a value that TOML cannot hold.
    """
    default, told = Recipe(name=recipe.name).to_dict(), recipe.to_dict()
    lines = [f"# {line}" for line in said]
    lines += [f"name = {_value(recipe.name)}"] if recipe.name != folder else []
    lines += [f"seed = {told['seed']}"]
    for section in (item.name for item in fields(Recipe) if item.name in told and item.name not in ("name", "seed")):
        usual = default.get(section, {})  # a table that is optional has none, and is written out
        changed = {key: value for key, value in told[section].items() if key not in usual or value != usual[key]}
        tables = {key: changed.pop(key) for key, value in list(changed.items()) if isinstance(value, dict)}
        if changed:
            lines += ["", f"[{section}]", *(f"{key} = {_value(value)}" for key, value in changed.items())]
        for name, table in tables.items():
            lines += ["", f"[{section}.{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    text = "\n".join(lines) + "\n"
    if Recipe.from_dict({"name": folder, **tomllib.loads(text)}) != recipe:
        raise ConfigError(f"the recipe {recipe.name} cannot be written as TOML; a setting of it is none")
    return text


def _value(value: Any) -> str:
    """Return a value as TOML has it; None as nothing that it can read back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value) if isinstance(value, int | float) else json.dumps(value)
