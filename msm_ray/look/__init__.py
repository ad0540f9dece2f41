"""Looking at what lies below a root: listing, showing and cleaning it, numbers for Python, copies to take away.

Everything here reads artifacts as they lie and needs no experiment file; only `cleaning` removes anything.
"""
