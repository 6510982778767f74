"""Tests of devices and their protocol."""
