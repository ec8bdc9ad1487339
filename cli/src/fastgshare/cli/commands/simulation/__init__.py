"""`fastgshare simulate` and `fastgshare plan`: the simulator as a process, and what it tells put for a person."""
