"""From trials to results: estimates with intervals, documents, how quantities are printed."""
