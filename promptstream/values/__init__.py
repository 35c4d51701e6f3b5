"""Pure values, no I/O: what goes into a request and what comes out of a stream.

Nothing here imports another module of promptstream.
"""
