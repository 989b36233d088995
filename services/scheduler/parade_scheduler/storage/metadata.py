"""What all tables of the scheduler belong to. It holds every one of them once `parade_scheduler.storage.tables` is imported."""

from sqlalchemy import MetaData

METADATA = MetaData()
