"""Between the contract and the scheduler's own words, both ways; pure."""

from parade_scheduler.convert.approvals import approval_filter, resolution, to_approval
from parade_scheduler.convert.requests import (
    after_sequence,
    bulk_request_id,
    event,
    fork,
    many,
    reason,
    rerun,
    run_filter,
    signal,
    start,
    wait,
    wait_of_start,
)
from parade_scheduler.convert.runs import to_event, to_outcomes, to_run
from parade_scheduler.convert.schedules import schedule, to_schedule
from parade_scheduler.convert.values import JSON, error_of, to_error, to_progress, to_timestamp, to_value
from parade_scheduler.convert.workflows import to_check, to_workflow

__all__ = [
    "JSON",
    "after_sequence",
    "approval_filter",
    "bulk_request_id",
    "error_of",
    "event",
    "fork",
    "many",
    "reason",
    "rerun",
    "resolution",
    "run_filter",
    "schedule",
    "signal",
    "start",
    "to_approval",
    "to_check",
    "to_error",
    "to_event",
    "to_outcomes",
    "to_progress",
    "to_run",
    "to_schedule",
    "to_timestamp",
    "to_value",
    "to_workflow",
    "wait",
    "wait_of_start",
]
