"""The gateway admits, routes and answers inference requests, and publishes load."""
