"""The engine of the reports: runs of some days, grouped and measured, or listed.

A report over it is a declaration. From the store its figures come out of the daily rollups wherever these can
tell, else out of the runs; from the trace files out of each run in turn. What follows, putting figures
together, dividing, ordering and writing, is the same code for both, so they say the same.
"""

from lse.reports.engine.dimensions import DIMENSIONS
from lse.reports.engine.grouped import Grouped
from lse.reports.engine.listing import COLUMNS, Listing
from lse.reports.engine.measures import MEASURES

__all__ = ["COLUMNS", "DIMENSIONS", "MEASURES", "Grouped", "Listing"]
