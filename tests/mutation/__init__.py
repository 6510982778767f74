"""Mutation testing of what decides an integer, a frame or a figure: `python -m tests.mutation --seed 1 --count 200`.

Small changes are made to the code, one at a time, each in a private copy; the tests declared for that file must fail.
What survives is printed as a difference: it is a test to be written, code to be simplified, or a line of
`equivalent.toml` with the reason why no test could tell. Python and C are both changed.
"""
