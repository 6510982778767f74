"""Tests of the project as a whole: its structure, its docs, its installs."""
