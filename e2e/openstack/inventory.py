"""Prints what the project of $OS_CLOUD has, one resource a line: what must be the same before and after a test."""
import openstack

cloud = openstack.connect()
project = cloud.current_project_id
lists = {
    'network': cloud.network.networks(project_id=project),
    'subnet': cloud.network.subnets(project_id=project),
    'router': cloud.network.routers(project_id=project),
    'port': cloud.network.ports(project_id=project),
    'trunk': cloud.network.trunks(project_id=project),
    'floating-ip': cloud.network.ips(project_id=project),
    'security-group': cloud.network.security_groups(project_id=project),
    'security-group-rule': cloud.network.security_group_rules(project_id=project),
    'load-balancer': cloud.load_balancer.load_balancers(),
    'listener': cloud.load_balancer.listeners(),
    'pool': cloud.load_balancer.pools(),
    'health-monitor': cloud.load_balancer.health_monitors(),
    'server': cloud.compute.servers(),
    'server-group': cloud.compute.server_groups(),
    'volume': cloud.block_storage.volumes(),
}
for kind, found in lists.items():
    for resource in sorted(found, key=lambda resource: (resource.name or '', resource.id)):
        print(kind, resource.name or '-', resource.id)
