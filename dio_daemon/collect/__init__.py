"""What the agent senses about its host.

`collector.HostCollector` is the way in: `prime()` takes the first counters, each `sample()` after it returns
one `SampleData` of the contract. The modules beside it read one group each and know nothing of each other:

    procfs     bounded reads, where /proc and /sys are       rates      counters to rates
    apart      calls that may hang, with a time limit       users      names of users
    host       cpu, memory, swap, load, pressure            mounts     which filesystems there are
    disks      how full they are                            disk_io    what the disks do
    network    what the interfaces do                       processes  how many, and the top ones
    facts      what seldom changes

A group that can't be read is null in the sample and a sentence in `problems`; a figure that can't be had is
null, never 0.
"""
