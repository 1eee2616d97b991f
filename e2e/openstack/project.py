"""Looks at the lab's project, and changes it behind everybody's back. With arguments does one thing; without, reads one
a line from standard input and ends each answer with a line that is a full stop (a start of Python takes a second or two).

  inventory                      all that the project has, one resource a line: what must be the same before and after
  count KIND REGEX               how many of these there are
  members BALANCER               the addresses behind a load balancer, with their status unless it is ACTIVE
  zone SERVER                    its availability zone
  balancer-id BALANCER
  delete server|port|floating-ip NAME
  state SERVER STATE             writes a server's state, as an administrator
  quota NAME=N ...               instances cores ram | volumes gigabytes | network subnet router port floatingip
                                 security_group security_group_rule | load_balancers; -1: no limit, +N: N more than now
  forget-tokens                  every token of the user becomes invalid, as if it had expired
"""
import re
import sys

import openstack

cloud = openstack.connect(cloud='lab')
project = cloud.current_project_id
COMPUTE = {'instances', 'cores', 'ram'}
VOLUME = {'volumes', 'gigabytes'}


def lists():
    network, balancers = cloud.network, cloud.load_balancer
    return {
        'network': lambda: network.networks(project_id=project),
        'subnet': lambda: network.subnets(project_id=project),
        'router': lambda: network.routers(project_id=project),
        'port': lambda: network.ports(project_id=project),
        'trunk': lambda: network.trunks(project_id=project),
        'floating-ip': lambda: network.ips(project_id=project),
        'security-group': lambda: network.security_groups(project_id=project),
        'security-group-rule': lambda: network.security_group_rules(project_id=project),
        'load-balancer': balancers.load_balancers,
        'listener': balancers.listeners,
        'pool': balancers.pools,
        'health-monitor': balancers.health_monitors,
        'server': cloud.compute.servers,
        'server-group': cloud.compute.server_groups,
        'volume': cloud.block_storage.volumes,
    }


def only(kind, name):
    found = [resource for resource in lists()[kind]() if resource.name == name]
    if len(found) != 1:
        raise LookupError('%d of %s %s' % (len(found), kind, name))
    return found[0]


def inventory():
    for kind, found in lists().items():
        for resource in sorted(found(), key=lambda resource: (resource.name or '', resource.id)):
            yield '%s %s %s' % (kind, resource.name or '-', resource.id)


def count(kind, pattern):
    yield sum(1 for resource in lists()[kind]() if re.search(pattern, resource.name or ''))


def members(name):
    balancer = only('load-balancer', name)
    for pool in cloud.load_balancer.pools(loadbalancer_id=balancer.id):
        for member in sorted(cloud.load_balancer.members(pool), key=lambda member: member.address):
            status = member.provisioning_status
            yield member.address if status == 'ACTIVE' else '%s %s' % (member.address, status)


def zone(name):
    yield cloud.compute.get_server(only('server', name)).availability_zone


def balancer_id(name):
    yield only('load-balancer', name).id


def delete(kind, name):
    resource = only(kind, name)
    {'server': cloud.compute.delete_server, 'port': cloud.network.delete_port,
     'floating-ip': cloud.network.delete_ip}[kind](resource)
    yield from ()


def state(name, wanted):
    server = only('server', name)
    openstack.connect(cloud='lab-admin').compute.reset_server_state(server, wanted)
    yield from ()


def quota(*pairs):
    limits = {}
    for key, value in (pair.split('=') for pair in pairs):
        # Neutron refuses limits below what is used.
        used = sum(1 for _ in lists()[key.replace('_', '-')]()) if value[0] == '+' else 0
        limits[key] = used + int(value)
    admin = openstack.connect(cloud='lab-admin')

    def of(keys):
        return {key: limits.pop(key) for key in list(limits) if key in keys}
    if wanted := of(COMPUTE):
        admin.compute.update_quota_set(project, force=True, **wanted)
    if wanted := of(VOLUME):
        admin.block_storage.update_quota_set(project, **wanted)
    if wanted := of({'load_balancers'}):
        admin.load_balancer.update_quota(project, **wanted)
    if limits:
        admin.network.update_quota(project, **limits)
    yield from ()


def forget_tokens():
    admin = openstack.connect(cloud='lab-admin')
    admin.identity.update_user(admin.identity.find_user('demo'), password='lab')
    cloud.session.invalidate()
    yield from ()


COMMANDS = {function.__name__.replace('_', '-'): function for function in (
    inventory, count, members, zone, balancer_id, delete, state, quota, forget_tokens)}

if sys.argv[1:]:
    for line in COMMANDS[sys.argv[1]](*sys.argv[2:]):
        print(line)
else:
    for request in sys.stdin:
        words = request.split()
        try:
            for line in COMMANDS[words[0]](*words[1:]):
                print(line)
        except Exception as error:
            print('ERROR %s: %s' % (request.strip(), str(error).replace('\n', ' ')))
        print('.', flush=True)
