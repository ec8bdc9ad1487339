"""`fastgshare profile`: a function's throughput and latency on each slice, measured, shown, drawn, stored."""
