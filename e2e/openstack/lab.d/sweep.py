"""Deletes all that the project of $OS_CLOUD has: what a run that was broken off has left behind."""
import time

import openstack

cloud = openstack.connect()
network, balancers = cloud.network, cloud.load_balancer
project = cloud.current_project_id
for server in cloud.compute.servers():
    cloud.compute.delete_server(server)
for address in network.ips(project_id=project):
    network.delete_ip(address)
for balancer in balancers.load_balancers():
    balancers.delete_load_balancer(balancer, cascade=True)
while list(cloud.compute.servers()) or list(balancers.load_balancers()):
    time.sleep(1)
for volume in cloud.block_storage.volumes():
    if volume.status != 'deleting':
        cloud.block_storage.delete_volume(volume)
for group in cloud.compute.server_groups():
    cloud.compute.delete_server_group(group)
for trunk in network.trunks(project_id=project):
    network.delete_trunk(trunk)
for port in network.ports(project_id=project):
    if port.device_owner == 'network:router_interface':
        network.remove_interface_from_router(port.device_id, port_id=port.id)
    else:
        network.delete_port(port, ignore_missing=True)
for router in network.routers(project_id=project):
    network.delete_router(router)
for found in network.networks(project_id=project):
    network.delete_network(found)
for group in network.security_groups(project_id=project):
    if group.name != 'default':
        network.delete_security_group(group)
