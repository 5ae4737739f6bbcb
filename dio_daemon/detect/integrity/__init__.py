"""The host's own body: what persistence, privilege escalation and tampering leave behind.

    watched     which files, in groups, each with its severity and its words
    host        where the host's files are, seen from inside the agent's sandbox
    places      the folders that hold watched files, as they are now
    inotify     what changed in them, from the kernel
    state       one file: what is compared, and a hash within a budget
    baseline    how the host's files are when all is well; on disk
    dpkg        what the package database says of a file
    runs        when dpkg and apt were at work
    words       what changed in a text, without what is secret
    files       the detector of changed files

All paths are those of the host, as text (`os.fsdecode`); `Host` turns them into paths that can be opened.
"""
