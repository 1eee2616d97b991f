# What the scenes on the lab share. Sourced by them from the folder of the repository, with KUBECONFIG set. Expects
# $name (of the cluster, and of the scene).
here=e2e/openstack
bin=${BIN:-target/debug}
work=$(mktemp -d)
source $here/lab.d/common.bash
source e2e/shell.bash
providers=(capi-core bootstrap-kubeadm controlplane-kubeadm infra-openstack)
declare -A pid
guests=

# Everything about the project goes through one process: each start of Python takes a second or two.
coproc PROJECT { exec "$VENV/bin/python" $here/project.py 2>>"$work/project.log"; }
exec 7<&"${PROJECT[0]}" 8>&"${PROJECT[1]}"
project() { # COMMAND ARGS...: see project.py
  local line status=0
  echo "$*" >&8
  while IFS= read -r line <&7 && [[ $line != . ]]; do
    case $line in
      ERROR*) status=1; echo "$line" >&2 ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  return $status
}
inventory() { project inventory; }

cleanup() {
  local status=$? provider
  $here/lab fault clear
  for provider in "${!pid[@]}"; do kill "${pid[$provider]}" 2>/dev/null || true; done
  [[ -z $guests ]] || kill "$guests" 2>/dev/null || true
  kill "$PROJECT_PID" 2>/dev/null || true
  for provider in "${!pid[@]}"; do while kill -0 "${pid[$provider]}" 2>/dev/null; do sleep 0.1; done; done
  if [[ $status != 0 ]]; then
    for provider in "${providers[@]}"; do echo "== $provider"; tail -n 30 "$work/$provider.log"; done
    [[ ! -e $work/guests.log ]] || { echo "== guests"; tail -n 30 "$work/guests.log"; }
  fi
  if [[ -n ${KEEP:-} ]]; then echo "logs: $work"; else rm -rf "$work"; fi
  exit "$status"
}
trap cleanup EXIT
fail() {
  printf 'FAIL %3ds  %s\n' $((SECONDS - started)) "$1"
  kubectl get clusters,openstackclusters,kubeadmcontrolplanes,machinedeployments,machines,openstackmachines,openstackservers -o wide || true
  kubectl get openstackclusters,openstackmachines,openstackservers,machines -o yaml | grep -E '^    name:|message: .' || true
  exit 1
}
field() { kubectl get "$1" -o "jsonpath={$2}"; }
condition() { field "$1" ".status.conditions[?(@.type==\"$2\")].${3:-status}"; }

# start PROVIDER: its own process, ready or not.
start() {
  local index=0 port
  while [[ ${providers[$index]} != "$1" ]]; do index=$((index + 1)); done
  port=$((19540 + 10 * index))
  "$bin/$1" --health-addr "127.0.0.1:$port" --diagnostics-address "127.0.0.1:$((port + 1))" --insecure-diagnostics \
    --webhook-port "$((port + 2))" --leader-elect=false >>"$work/$1.log" 2>&1 &
  pid[$1]=$!
  disown # or the shell reports each kill
}
wait_ready() {
  local index
  for index in "${!providers[@]}"; do
    curl -s --retry 60 --retry-connrefused --retry-all-errors --retry-delay 1 -fo /dev/null "http://127.0.0.1:$((19540 + 10 * index))/readyz"
  done
}
# Definitions, the providers' processes, and their admission: called by URL instead of through the Service that deploy/ has.
start_providers() {
  local crds provider port=19542 configuration
  for crds in deploy/*/crds; do kubectl apply --server-side -f "$crds" >/dev/null; done
  kubectl wait --for=condition=Established --all crd --timeout=30s >/dev/null
  for provider in "${providers[@]}"; do start "$provider"; done
  wait_ready
  for provider in "${providers[@]}"; do
    if [[ -e deploy/$provider/webhooks.yaml ]]; then
      awk -v port=$port '/^ +service:/ { next } /^ +(name|namespace): / && service { next }
        /clientConfig:/ { service = 1 } /^ +path: / { sub(/path: /, "url: https://localhost:" port); service = 0 } { print }' \
        "deploy/$provider/webhooks.yaml" | kubectl apply --server-side -f - >/dev/null
    fi
    port=$((port + 10))
  done
  for configuration in $(kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations -o name); do
    kubectl wait "$configuration" --for=jsonpath='{.webhooks[0].clientConfig.caBundle}' --timeout=30s >/dev/null
  done
  ok "${#providers[@]} providers are ready"
}
start_guests() {
  "$bin/openstack_guests" --servers "$LAB_DIR/servers" --clouds "$OS_CLIENT_CONFIG_FILE" --cloud lab "$@" >>"$work/guests.log" 2>&1 &
  guests=$!
  disown
}
# apply FILE [NAME=VALUE...]: a manifest, with @NAME@ replaced; @CLOUDS@ is the lab's clouds.yaml.
apply() {
  local manifest pair clouds
  manifest=$(<"$1")
  clouds=$(python3 -c 'import json,sys; print(json.dumps(open(sys.argv[1]).read())[1:-1])' "$OS_CLIENT_CONFIG_FILE")
  for pair in "CLOUDS=$clouds" "NAME=$name" "${@:2}"; do manifest=${manifest//"@${pair%%=*}@"/"${pair#*=}"}; done
  printf '%s\n' "$manifest" | kubectl apply -f - >"$work/applied" || { cat "$work/applied"; return 1; }
}
# Requests of the provider so far.
requests() { cat "$LAB_DIR"/log/http-*.jsonl | grep -c cluster-api-provider-openstack || true; }
# unchanged FILE: the project has what this inventory says.
unchanged() { inventory | diff "$1" - >"$work/difference"; }
until_unchanged() { # SECONDS FILE WHAT
  local deadline=$((SECONDS + $1))
  until unchanged "$2"; do
    [[ $SECONDS -lt $deadline ]] || { cat "$work/difference"; fail "$3"; }
    sleep 1
  done
  ok "$3"
}
finish() {
  local provider
  for provider in "${providers[@]}"; do kill -0 "${pid[$provider]}" || fail "$provider has ended by itself"; done
  ! grep -l panicked "$work"/*.log || fail "a provider has panicked"
  printf '%d passed, 0 failed\n' "$passed"
}
