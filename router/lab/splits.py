"""Remembers which questions have certified something: each split certifies once, and a further use costs it delta."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from router.lab.certifying import CannotCertify, Split

DIGITS = 16


class BadLedger(Exception):
    """A file that is no ledger of used splits, or that cannot be read or written."""


class Claim(BaseModel):
    """One use of a split: when, for what, the SHA-256 of the ids together, and the beginning of that of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: date
    purpose: str
    split: str
    use: int
    questions: tuple[str, ...]


class Ledger(BaseModel):
    """The uses, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["smallfirst-splits-1"] = "smallfirst-splits-1"
    claims: tuple[Claim, ...] = ()


def split_hash(ids: Sequence[str]) -> str:
    """SHA-256 of the questions' ids, whatever their order, in hexadecimal digits. Raises CannotCertify where there are
    none, or one is there twice, as no sample of independent questions has it."""
    if not ids or len(set(ids)) < len(ids):
        raise CannotCertify("a split has questions, each of them once and with an id of its own")
    return sha256(orjson.dumps(sorted(ids)))


def claim_split(file: Path, ids: Sequence[str], *, purpose: str, on: date) -> Split:
    """Write down, before the outcomes of these questions are looked at, that they certify `purpose`: whatever names the
    policy and the promise, such as the fingerprint of both. How often they have been used counts each earlier claim
    that shares a question with them; the same split for the same purpose again, which cannot come out differently, is
    the same use, of the same day. A file that is not there is begun. Several processes wait for each other, where their
    folder can be locked. Raises BadLedger or CannotCertify."""
    split, questions = split_hash(ids), tuple(sha256(one.encode())[:DIGITS] for one in sorted(ids))
    with locked(file.parent):
        claims = read_ledger(file).claims
        for past in claims:
            if (past.split, past.purpose) == (split, purpose):
                return Split(split, past.use, past.on)
        use = 1 + sum(not set(questions).isdisjoint(past.questions) for past in claims)
        write_ledger(file, (*claims, Claim(on=on, purpose=purpose, split=split, use=use, questions=questions)))
    return Split(split, use, on)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else's for as long as the block runs; some network file systems cannot do that."""
    with ExitStack() as held:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def read_ledger(file: Path) -> Ledger:
    """What was claimed, nothing where there is no file. Raises BadLedger."""
    try:
        return Ledger.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Ledger()
    except (OSError, ValidationError) as wrong:
        raise BadLedger(f"{file} is no ledger of used splits: restore it, or certify with fresh questions") from wrong


def write_ledger(file: Path, claims: tuple[Claim, ...]) -> None:
    """Whole or not at all. Raises BadLedger."""
    beside = file.with_name(file.name + ".part")
    try:
        beside.write_text(Ledger(claims=claims).model_dump_json() + "\n")
        beside.replace(file)
    except OSError as wrong:
        raise BadLedger(f"cannot write the ledger of used splits {file}: {wrong}") from wrong


def sha256(content: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
