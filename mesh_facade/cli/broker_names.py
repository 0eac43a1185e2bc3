"""Suggests a broker that the spec lists in place of one that Mesh refused."""

import difflib

from mesh_facade import BrokerType

_BROKERS = {known.value: known for known in BrokerType}  # a dict: it keeps their order
_LOWER_CASE_NAMES = {name.casefold() for name in _BROKERS}


def is_listed_broker(broker: str) -> bool:
    """Return True if the spec lists this broker. Mesh may know more than the spec does."""
    return broker in _BROKERS


def names_a_broker(text: str) -> bool:
    """Return True if a text is the name of a listed broker, in upper or lower case."""
    return text.strip().casefold() in _LOWER_CASE_NAMES


def find_similar_broker(broker: str) -> str | None:
    """Return the listed broker whose name is most similar; None if no misspelling is likely."""
    similar = difflib.get_close_matches(broker, _BROKERS, n=1)
    if not similar:
        return None
    return similar[0]
