"""Fault rules, shared by the HTTP front (serve.py) and the fake hypervisor
(nova.py). The file $LAB_DIR/faults.json is a list of rules; it is read again
whenever it changes, so a test edits it while the lab runs (see lab fault).
How often a rule matched is kept in faults.json.used, for all processes."""
import fcntl
import json
import os
import re
import threading

PATH = os.path.join(os.environ.get('LAB_DIR', '.'), 'faults.json')
_lock = threading.Lock()
_seen = None
_rules = []


def _load():
    global _seen, _rules
    try:
        st = os.stat(PATH)
    except FileNotFoundError:
        _seen, _rules = None, []
        return
    key = (st.st_mtime_ns, st.st_ino, st.st_size)
    if key != _seen:
        with open(PATH) as f:
            _rules, _seen = json.load(f), key


def _used(rule):
    with open(PATH + '.used', 'a+') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        used = json.loads(f.read() or '{}')
        used[rule['id']] = used.get(rule['id'], 0) + 1
        f.truncate(0)
        f.write(json.dumps(used))
        return used[rule['id']]


def match(svc, **subject):
    """First rule for svc whose patterns all match the subject's fields.

    "skip": let that many matches through first; "count": then fire that often.
    """
    with _lock:
        _load()
        for rule in _rules:
            if rule.get('svc') != svc:
                continue
            if any(not re.search(rule[k], subject[k] or '')
                   for k in subject if k in rule):
                continue
            n = _used(rule)
            skip = rule.get('skip', 0)
            if n <= skip or n > skip + rule.get('count', 1 << 62):
                continue
            return rule
    return None
