"""Exports and checkpoints of audit logs as files: lines of JSON, with hashes in hexadecimal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from parade.audit_log import entry_of
from parade.v1 import audit_pb2
from parade.wire.audit import Entry, Fault, Head, Verification
from parade.wire.errors import ParadeError, Reason

CHECKPOINT: Final = "parade audit checkpoint 1"
"""What a checkpoint file says of itself."""


def entry_line(service: str, message: audit_pb2.AuditEntry) -> str:
    """Writes an entry."""
    entry = entry_of(message)
    hashes = {"previous_hash": entry.previous_hash.hex(), "hash": entry.hash.hex()}
    if message.sealed:
        return _line({"service": service, "chain": entry.chain, "sequence": entry.sequence, **hashes, "sealed": True})
    return _line({"service": service, **entry._asdict(), **hashes})


def checkpoint_line(checkpoint: audit_pb2.AuditCheckpoint) -> str:
    """Writes where the chains of a service end, after its entries."""
    return _line({"service": checkpoint.service, "checkpoint": _plain(checkpoint)})


def checkpoint_text(checkpoints: Iterable[audit_pb2.AuditCheckpoint]) -> str:
    """Writes a checkpoint file."""
    return _line({"format": CHECKPOINT, "services": {checkpoint.service: _plain(checkpoint) for checkpoint in checkpoints}})


def read_checkpoint(text: str) -> dict[str, list[Head]]:
    """Reads a checkpoint file: the heads of each service.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is none.
    """
    try:
        document = orjson.loads(text)
        if document["format"] == CHECKPOINT:
            return {service: _heads(checkpoint) for service, checkpoint in document["services"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ParadeError(Reason.INVALID_ARGUMENTS, "this is no checkpoint; `parade audit export --checkpoint FILE` writes one")


def verified_export(lines: Iterable[str], known: Mapping[str, Sequence[Head]]) -> list[tuple[str, int, list[Fault]]]:
    """Verifies an export: returns each service with how many entries it has, and the first fault of every chain that has one.

    Args:
        lines: The lines of the export.
        known: Heads that the chains of the services are known to have had.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where a line is none of an export.
    """
    verifications: dict[str, Verification] = {}
    reached: dict[str, dict[int, Head]] = {service: {} for service in known}
    ends: dict[str, list[Head]] = {}
    for number, line in enumerate(lines, 1):
        try:
            document = orjson.loads(line)
            service = document["service"]
            if "checkpoint" in document:
                ends[service] = _heads(document["checkpoint"])
                continue
            entry = _entry(document)
        except (ValueError, KeyError, TypeError) as error:
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"line {number} is none of an export of an audit log") from error
        if service not in verifications:
            verifications[service] = Verification(service, known.get(service, ()))
        verifications[service].check(entry, sealed=document.get("sealed", False))
        reached.setdefault(service, {})[entry.chain] = Head(entry.chain, entry.sequence, entry.time, entry.hash)
    found = []
    for service in sorted({*reached, *ends}):
        verification = verifications.get(service) or Verification(service, known.get(service, ()))
        last = reached.get(service, {})
        heads = {head.chain: last.get(head.chain, head) for head in ends.get(service, ())}
        said = {head.chain: (head.sequence, head.hash) for head in ends.get(service, ())}
        faults = verification.end(last)
        for chain, head in heads.items():
            if said[chain] != (head.sequence, head.hash) and chain not in [fault.chain for fault in faults]:
                faults.append(Fault(chain, head.sequence + 1, f"the export says that the chain ends at {said[chain][0]}"))
        found.append((service, verification.checked, faults))
    return found


def _entry(document: dict[str, Any]) -> Entry:
    hashes = bytes.fromhex(document["previous_hash"]), bytes.fromhex(document["hash"])
    if document.get("sealed", False):
        return Entry(document["chain"], document["sequence"], 0, "", "", "", "", "", "", *hashes)
    return Entry._make((*(document[name] for name in Entry._fields[:9]), *hashes))


def _plain(checkpoint: audit_pb2.AuditCheckpoint) -> dict[str, Any]:
    heads = [{"chain": head.chain, "sequence": head.sequence, "hash": head.hash.hex()} for head in checkpoint.heads]
    return {"time": checkpoint.time.ToJsonString(), "heads": heads}


def _heads(checkpoint: Mapping[str, Any]) -> list[Head]:
    return [Head(int(head["chain"]), int(head["sequence"]), 0, bytes.fromhex(head["hash"])) for head in checkpoint["heads"]]


def _line(document: dict[str, Any]) -> str:
    return orjson.dumps(document).decode() + "\n"
