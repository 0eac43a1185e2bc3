"""Suggests a broker that the spec lists in place of one that Mesh refused."""

import difflib

from mesh_facade import BrokerType


def is_listed(broker: str) -> bool:
    """Return True if the spec lists this broker. Mesh may know more than the spec does."""
    return broker in _list_brokers()


def find_similar_broker(broker: str) -> str | None:
    """Return the listed broker whose name is most similar; None if no misspelling is likely."""
    similar = difflib.get_close_matches(broker, _list_brokers(), n=1)
    if not similar:
        return None
    return similar[0]


def _list_brokers() -> list[str]:
    return [known.value for known in BrokerType]
