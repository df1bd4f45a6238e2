"""The CalDAV face: our methods on our store, hosted by Radicale.

:mod:`storage_plugin.radicale` is all that knows Radicale, :mod:`storage_plugin.methods` lists what
is answered, :mod:`storage_plugin.server` builds and serves the whole.
"""
