# Sourced by the scripts here. Everything the lab writes is under $LAB_DIR.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LAB_DIR=${LAB_DIR:-${TMPDIR:-/tmp}/openstack-lab}
VENV=${LAB_VENV:-$LAB_DIR/venv}         # may be shared by several labs
PYTHON=${LAB_PYTHON:-python3}           # 3.11 or later, for the venv
BASE=${LAB_PORT_BASE:-27000}            # ports BASE..BASE+12, all on 127.0.0.1
COMPUTES=${LAB_COMPUTES:-2}             # one nova-compute and one AZ for each
LB_COMPUTE=${LAB_LB_COMPUTE:-lab}        # compute_nova_driver: amphorae are fake servers
KEYSTONE_PORT=$BASE GLANCE_PORT=$((BASE+1)) PLACEMENT_PORT=$((BASE+2))
NOVA_PORT=$((BASE+3)) NEUTRON_PORT=$((BASE+4)) OCTAVIA_PORT=$((BASE+5))
CINDER_PORT=$((BASE+6)) RABBIT_PORT=$((BASE+10)) RABBIT_DIST_PORT=$((BASE+11))
EPMD_PORT=$((BASE+12))
APIS="keystone glance placement nova neutron octavia cinder"
RUN=$LAB_DIR/run LOG=$LAB_DIR/log ETC=$LAB_DIR/etc STATE=$LAB_DIR/state
unset "${!OS_@}" 2>/dev/null || true
export PYTHONPATH=$HERE/py OS_CLIENT_CONFIG_FILE=$LAB_DIR/clouds.yaml
export OS_NOVA_DISABLE_EVENTLET_PATCHING=true    # Nova with plain threads
export no_proxy='*' NO_PROXY='*'

say() { printf '%6.1fs  %s\n' "$(bc_since)" "$*"; }
bc_since() { awk -v a="$T0" -v b="$(date +%s.%N)" 'BEGIN{print b-a}'; }
T0=$(date +%s.%N)
die() { echo "lab: $*" >&2; exit 1; }

alive() {                               # alive NAME: its process still runs
  local p; p=$(cat "$RUN/$1.pid" 2>/dev/null) && [ -n "$p" ] &&
    [ -d "/proc/$p" ] && [ "$(sed 's/.*) //' "/proc/$p/stat" | cut -c1)" != Z ]
}
start() {                               # start NAME COMMAND...: once
  local n=$1; shift
  alive "$n" && return 0
  setsid "$@" >>"$LOG/$n.out" 2>&1 </dev/null &
  echo $! >"$RUN/$n.pid"
}
stop() {                                # stop NAME [SIGNAL]: and its group
  local n=$1 p i
  alive "$n" || { rm -f "$RUN/$n.pid"; return 0; }
  p=$(cat "$RUN/$n.pid")
  kill -CONT -- "-$p" 2>/dev/null || true
  kill "-${2:-TERM}" -- "-$p" 2>/dev/null || kill "-${2:-TERM}" "$p" || true
  for i in $(seq 100); do alive "$n" || break; sleep 0.1; done
  kill -KILL -- "-$p" 2>/dev/null || true
  rm -f "$RUN/$n.pid"
}
wait_http() {                           # wait_http NAME PORT: answers at all
  local i
  for i in $(seq 240); do
    curl -s -m 5 -o /dev/null "http://127.0.0.1:$2/" && return 0
    alive "$1" || die "$1 died, see $LOG/$1.out and $LOG/$1.log"
    sleep 0.5
  done
  die "$1 does not answer"
}
rabbit_env() {
  export HOME=$STATE/rabbit RABBITMQ_NODENAME=lab$BASE@localhost \
    RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$RABBIT_PORT \
    RABBITMQ_DIST_PORT=$RABBIT_DIST_PORT RABBITMQ_MNESIA_BASE=$STATE/rabbit \
    RABBITMQ_LOG_BASE=$LOG RABBITMQ_LOGS=$LOG/rabbit.log \
    RABBITMQ_ENABLED_PLUGINS_FILE=$ETC/rabbit.plugins \
    RABBITMQ_CONFIG_FILE=$ETC/rabbit ERL_EPMD_PORT=$EPMD_PORT \
    ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel \
inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none" \
    RABBITMQ_CTL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
}
RABBIT_BIN=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin 2>/dev/null | tail -1 || true)
SOCKET=$STATE/mysql.sock
sql() { mariadb --no-defaults -uroot -S "$SOCKET" "$@"; }
