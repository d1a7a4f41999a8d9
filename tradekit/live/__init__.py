"""Shadow trading: the broker seam, Alpaca, a local exchange, the journal and the session that drives them."""
