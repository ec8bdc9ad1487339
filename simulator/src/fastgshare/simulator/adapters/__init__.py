"""Files in and out: scenarios, traces and tables are read here; outcomes and reports written."""
