"""`make bench`: every measurement in turn, each beside a floor measured in the same run.

Ratios travel from machine to machine; seconds do not.
"""

from bench import archive, datasets, day, fetch, load, reports, verify

for module in (load, day, archive, fetch, datasets, verify, reports):
    module.main()
    print()
