"""The gateway: everything but the CalDAV face, which is ``storage_plugin``."""
