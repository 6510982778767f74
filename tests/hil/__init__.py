"""Tests of campaigns, statistics, energy and reports."""
