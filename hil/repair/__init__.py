"""Which units of a device are dead or stuck, and the words that make up for them."""
