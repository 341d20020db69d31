"""The numbers behind the budgets: every row is measured beside what it is compared with, in one run on one machine.

One module is one family of rows: `measure(bench)` makes what it needs, measures, takes it down again and returns rows.
A budget is compared and said, never asserted: timings of a shared machine are no reason for a red suite.
"""
