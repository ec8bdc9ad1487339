"""Devices and runtimes: what can run models, behind two small ports."""
