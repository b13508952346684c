"""Fitting what the router decides by, from recorded answers. The way of a request never leads here."""
