"""``gateway demo``: the whole product on real parts, in a folder of its own."""
