"""Running trials: workers that may die, the ledger that remembers."""
