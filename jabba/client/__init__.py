"""Asking a Jabba over HTTP: submit, get, search, wait, watch."""

from jabba.client.asynchronous import Client
from jabba.client.connection import error_of
from jabba.client.forms import Condition, Cursor, Filter, Order
from jabba.client.synchronous import SyncClient

__all__ = ["Client", "Condition", "Cursor", "Filter", "Order", "SyncClient", "error_of"]
