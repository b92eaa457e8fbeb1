"""Where the rooms below are put together: a specification in, a run folder out."""
