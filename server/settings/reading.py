"""A configuration from a YAML file and the environment; each mistake is one line that says where it is.

Variables named `SMALLFIRST_` and the path of a key, in capitals with `__` between its parts, override the file:
`SMALLFIRST_TIERS__LARGE__API_KEY`. A name's `-` and `.` are written `_`. Values are read as YAML.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from models.wire import Json, JsonObject
from server.settings.schema import Settings

PREFIX = "SMALLFIRST_"


class SettingsError(Exception):
    """The configuration cannot be used; `mistakes` has one line for each reason."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error, not a silent override."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """As the base class, after a look at the keys."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """The settings of a file, overridden by the environment. Raises SettingsError."""
    tree = overridden(read_yaml(file), environment)
    try:
        return Settings.model_validate(tree)
    except ValidationError as invalid:
        raise SettingsError([mistake(error["loc"], error["msg"]) for error in invalid.errors()]) from invalid


def read_yaml(file: Path) -> JsonObject:
    """The file's mapping."""
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as unreadable:
        raise SettingsError([f"{file}: {unreadable.strerror}"]) from unreadable
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise SettingsError([f"{file}: {' '.join(str(broken).split())}"]) from broken
    if not isinstance(tree, dict):
        raise SettingsError([f"{file}: a mapping with the key `tiers` is wanted"])
    return tree


def overridden(tree: JsonObject, environment: Mapping[str, str]) -> JsonObject:
    """The tree with the environment's values in their places."""
    for variable in sorted(environment):
        if variable.startswith(PREFIX):
            parts = variable.removeprefix(PREFIX).split("__")
            try:
                value: Json = yaml.safe_load(environment[variable])
            except yaml.YAMLError as broken:
                raise SettingsError([f"{variable}: its value is no YAML"]) from broken
            tree = with_value(tree, parts, value, variable)
    return tree


def with_value(tree: Json, parts: list[str], value: Json, variable: str) -> JsonObject:
    """A copy of the tree in which the key that `parts` lead to has the value."""
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise SettingsError([f"{variable}: there is no such key in the configuration"])
    key = next((name for name in tree if shouted(name) == parts[0]), parts[0].lower())
    return {**tree, key: with_value(tree.get(key), parts[1:], value, variable) if parts[1:] else value}


def shouted(name: object) -> str:
    """A key as a part of a variable's name."""
    return str(name).upper().replace("-", "_").replace(".", "_")


def mistake(location: tuple[int | str, ...], message: str) -> str:
    """One line: the key's path, and what is wrong with it."""
    path = ".".join(str(part) for part in location if part != "[key]")
    text = message.removeprefix("Value error, ")
    text = "unknown key" if text == "Extra inputs are not permitted" else text[:1].lower() + text[1:]
    return f"{path}: {text}" if path else text
