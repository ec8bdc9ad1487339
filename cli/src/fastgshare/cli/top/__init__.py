"""`fastgshare top`: devices, functions and decisions, live in a terminal. Drawing is pure; `app` alone has a screen."""
