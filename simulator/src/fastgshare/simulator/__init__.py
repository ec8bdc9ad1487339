"""The cores of the services over virtual time: what a fleet would do with a load, before there is either."""
