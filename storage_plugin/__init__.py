"""The CalDAV face: Radicale's storage, auth and rights on the gateway's store.

``Storage``, ``Auth`` and ``Rights`` are the names Radicale's plugin loader looks for
(``[storage] type = storage_plugin`` and so on). :mod:`storage_plugin.server` builds the whole
stack, with what Radicale alone cannot say.
"""

from storage_plugin.access import Auth, Rights
from storage_plugin.storage import Storage

__all__ = ["Auth", "Rights", "Storage"]
