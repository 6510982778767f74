"""Power meters: a contract, one that is simulated, and a driver."""
