"""A configuration from a YAML file and the environment; each mistake is one line that says where it is.

Variables named `SMALLFIRST_` and the path of a key, in capitals with `__` between its parts, override the file:
`SMALLFIRST_TIERS__LARGE__API_KEY`. A name's `-` and `.` are written `_`. Values are read as YAML.
"""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from models.wire import Json, JsonObject
from server.settings.schema import Settings, shouted
from server.wording import plain

PREFIX = "SMALLFIRST_"
MERGE = "tag:yaml.org,2002:merge"
NAMED = {"tiers": "tier", "cascades": "cascade"}
SCALARS = {"str", "int", "float", "bool"}
NAMED_IN_YAML = re.compile(r"(alias|tag|anchor) ['\"].*['\"]")


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
            if key_node.tag == MERGE:
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no plain word", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """The settings of a file, overridden by the environment. Raises SettingsError."""
    return settings_of(overridden(read_yaml(file), environment), file)


def read_settings_to_tune(file: Path, environment: Mapping[str, str]) -> Settings:
    """As `read_settings`, without what needs an artefact that is yet to be made: to record, and to tune."""
    tree = overridden(read_yaml(file), environment)
    cascades = tree.get("cascades")
    for cascade in cascades.values() if isinstance(cascades, dict) else ():
        if isinstance(cascade, dict):
            cascade.pop("trust", None)
            cascade.pop("stream", None)
            cascade.pop("skip", None)
            cascade["mode"] = "exact"
    return settings_of(tree, file)


def settings_of(tree: JsonObject, file: Path) -> Settings:
    """The settings in a tree that was read from this file. Raises SettingsError."""
    try:
        return Settings.model_validate(tree, context=file.parent)
    except ValidationError as invalid:
        lines = [mistake(error["loc"], error["msg"]) for error in invalid.errors()]
        raise SettingsError(list(dict.fromkeys(lines))) from invalid


def read_yaml(file: Path) -> JsonObject:
    """The file's mapping."""
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as unreadable:
        raise SettingsError([f"{file}: {unreadable.strerror}"]) from unreadable
    except (yaml.YAMLError, ValueError, RecursionError) as broken:
        raise SettingsError([f"{file}: {what_is_broken(broken)}"]) from broken
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
            except (yaml.YAMLError, ValueError) as broken:
                raise SettingsError([f"{variable}: its value is no YAML"]) from broken
            if not all(parts):
                raise SettingsError([f"{variable}: names no key of the configuration"])
            refuse_unknown_name(tree, parts, variable)
            tree = with_value(tree, parts, value, variable)
    return tree


def refuse_unknown_name(tree: JsonObject, parts: list[str], variable: str) -> None:
    """The environment sets keys of tiers and cascades, it adds none: that would be a misspelt name."""
    kind = NAMED.get(parts[0].lower())
    named = tree.get(parts[0].lower()) or {}
    if kind is None or not parts[1:] or not isinstance(named, dict):
        return
    if parts[1] not in map(shouted, named):
        names = ", ".join(map(str, named)) or "none"
        raise SettingsError([f"{variable}: there is no {kind} of that name (there are: {names})"])


def with_value(tree: Json, parts: list[str], value: Json, variable: str) -> JsonObject:
    """A copy of the tree in which the key that `parts` lead to has the value."""
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise SettingsError([f"{variable}: there is no such key in the configuration"])
    key = next((name for name in tree if shouted(name) == parts[0]), parts[0].lower())
    return {**tree, key: with_value(tree.get(key), parts[1:], value, variable) if parts[1:] else value}


def what_is_broken(error: Exception) -> str:
    """What is wrong with the YAML and where; never the line itself or what it names, which may be a key."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        problem = NAMED_IN_YAML.sub(r"\1", error.problem or "no YAML")
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"unacceptable character at position {error.position}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"a value cannot be read: {error}"


def mistake(location: tuple[int | str, ...], message: str) -> str:
    """One line: the key's path, and what is wrong with it."""
    parts = [str(part) for part in location if part != "[key]"]
    if len(parts) > 2 and parts[-3] == "args" and parts[-1] in SCALARS:
        parts, message = parts[:-1], "should be a text, a number, true or false, or null"
    if parts[2:4] == ["engine", "speculation"]:
        parts = parts[:4] + parts[5:]  # between the two is the method, whose keys these are
    path = ".".join(parts)
    return f"{path}: {plain(message)}" if path else plain(message)
