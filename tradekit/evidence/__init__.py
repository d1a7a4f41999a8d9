"""What can be concluded: pure functions of arrays of returns. Knows no market, strategy or ledger."""
