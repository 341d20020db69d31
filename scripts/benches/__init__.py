"""Measures the budgets of docs/decisions.md: each row beside what it is compared with, in one run on one machine.

One module per family of rows: `measure(bench)` sets up, measures, cleans up and returns rows. Start reading at
`__main__.py`. Budgets are compared and printed, never asserted, because timings on a shared machine vary.
"""
