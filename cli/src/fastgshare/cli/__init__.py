"""The `fastgshare` command."""
