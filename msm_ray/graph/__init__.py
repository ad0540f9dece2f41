"""The engine room: artifacts, nodes, planning, running. It knows nothing of specs or models, and would run another project."""
