"""What operators send of keys, and what they are shown of them: never a secret but a new one."""

from dataclasses import asdict, replace
from typing import Annotated

from pydantic import Field, StringConstraints

from models.wire import JsonObject
from server.access.caller import Allowance
from server.access.issuing import Wish
from server.access.key import Key
from server.doors.reading import Closed
from server.settings.access import AllowanceSettings

LONGEST_GRACE_S = 30 * 86400.0

Named = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,160}$")]
Task = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Time = Annotated[float, Field(gt=0, le=1e11, allow_inf_nan=False)]


class KeyWish(Closed):
    """A new key."""

    name: Named
    allowance: AllowanceSettings = AllowanceSettings()
    task: Task | None = None
    is_admin: bool = False
    expires: Time | None = None

    @property
    def wish(self) -> Wish:
        """The same, checked."""
        return Wish(self.name, self.allowance.allowance, self.task, self.is_admin, self.expires)


class KeyChange(Closed):
    """What is to be otherwise in a key; what is not said stays."""

    name: Named | None = None
    allowance: AllowanceSettings | None = None
    task: Task | None = None
    is_admin: bool | None = None
    expires: Time | None = None

    def changed(self, key: Key) -> Key:
        """The key with the change. Of an allowance what is said alone; null takes a limit, a task or an end away."""
        said = self.model_fields_set
        if self.allowance is not None:
            new = self.allowance.allowance
            key = replace(key, allowance=with_some(key.allowance, new, self.allowance.model_fields_set))
        if self.name is not None:
            key = replace(key, name=self.name)
        if self.is_admin is not None:
            key = replace(key, is_admin=self.is_admin)
        if "task" in said:
            key = replace(key, task=self.task)
        return replace(key, expires=self.expires) if "expires" in said else key


class Renewal(Closed):
    """Another secret: how long the one before is good still, in seconds."""

    grace_s: Annotated[float, Field(ge=0, le=LONGEST_GRACE_S)] = 0.0


def with_some(old: Allowance, new: Allowance, fields: set[str]) -> Allowance:
    """The old allowance with these fields of the new one."""
    return replace(old, **{name: value for name, value in asdict(new).items() if name in fields})


def shown(key: Key) -> JsonObject:
    """A key as operators see it."""
    allowance = key.allowance
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "allowance": {
            **asdict(allowance),
            "models": None if allowance.models is None else [*sorted(allowance.models)],
            "modes": None if allowance.modes is None else [*sorted(allowance.modes)],
        },
        "task": key.task,
        "is_admin": key.is_admin,
        "created": key.created,
        "expires": key.expires,
        "last_used": key.last_used,
        "revoked": key.revoked,
        "old_secret_until": key.old_until,
    }
