"""`python cluster_of_two_nodes.py ADDRESS`: two Ray nodes of eight CPUs on this machine, until standard input ends."""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 8, "object_store_memory": 200 * 2**20, "include_dashboard": False}

cluster = Cluster(initialize_head=True, head_node_args={**NODE, "node_ip_address": sys.argv[1]})
cluster.add_node(**NODE, node_ip_address=sys.argv[1])
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
