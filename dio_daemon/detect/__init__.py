"""What is wrong with this host, from what was sensed.

    finding    what a detector says: `Finding`, `Gone`, and the `Detector` protocol
    threat     one threat: what the book knows of it, on disk and on the wire
    book       the life of threats: they open, escalate, clear and reopen; on disk over restarts
    storms     many findings of one type, summed up
    watch      runs the detectors each sampling step, within a budget of time

A detector only says what is the case. When that becomes a threat, when somebody is told, and when it is over,
is the book's matter alone.
"""
