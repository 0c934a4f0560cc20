"""Records of a document: samples and values, wherever a message holds them."""

from edgeai.decoding.records.decoder import RecordDecoder
from edgeai.decoding.records.records import Records

__all__ = ["RecordDecoder", "Records"]
