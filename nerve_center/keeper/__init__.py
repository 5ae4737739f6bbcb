"""The keeper: the process for what is not a request. `main` is its entry, `tasks` lists what it does."""
