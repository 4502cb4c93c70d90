"""The ETL Character Database, read from its binary files."""

from handwriting.etl.layouts import SETS
from handwriting.etl.records import EtlFile

__all__ = ["SETS", "EtlFile"]
