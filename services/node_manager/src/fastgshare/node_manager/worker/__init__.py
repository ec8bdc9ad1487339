"""The device worker: one process per device that holds its replicas, takes requests from the bus and answers them."""
