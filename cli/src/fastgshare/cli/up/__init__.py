"""The whole platform on one machine: an embedded NATS server and every service, supervised.

`command` is `fastgshare up`, `platform` the same as a library. Both stand on `supervisor`, which acts as
`core` decides, and on the adapters `process`, `embedded`, `roll`, `logs`, `data_dir` and `ports`.
"""
