"""The files of the tree that are pages of the site, and where."""

DOCS = "docs"
PAGES = {
    "services/gateway/README.md": "inside/gateway.md",
    "services/scheduler/README.md": "inside/scheduler.md",
    "services/profiler/README.md": "inside/profiler.md",
    "services/node_manager/README.md": "inside/node_manager.md",
    "simulator/README.md": "inside/simulator.md",
    "cli/README.md": "inside/cli.md",
    "CONTRIBUTING.md": "inside/contributing.md",
    "examples/scenarios/README.md": "reference/scenarios.md",
    "benchmarks/overhead/README.md": "figures/overhead.md",
    "benchmarks/quota/README.md": "figures/quota.md",
    "benchmarks/profiler/README.md": "figures/profiler.md",
    "benchmarks/scheduler/README.md": "figures/scheduler.md",
    "benchmarks/telemetry/README.md": "figures/telemetry.md",
    "benchmarks/gpu_check/README.md": "figures/gpu_check.md",
}
