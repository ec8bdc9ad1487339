"""The scheduler decides replicas and places them on devices."""
