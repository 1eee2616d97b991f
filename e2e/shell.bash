# What the kubectl scenarios share: counting checks, waiting, failing with everything that helps. Sourced, not run.
# Expects $bin (folder of the programs) and $work (a folder to write to).

passed=0
started=$SECONDS
ok() { passed=$((passed + 1)); printf 'ok   %3ds  %s\n' $((SECONDS - started)) "$1"; }
fail() {
  printf 'FAIL %3ds  %s\n' $((SECONDS - started)) "$1"
  kubectl get clusters,kubeadmcontrolplanes,machinedeployments,machinesets,machines,machinehealthchecks,kubeadmconfigs,devclusters,devmachines -o wide || true
  "$bin/capictl" describe cluster quickstart || true
  exit 1
}
# until_true SECONDS WHAT COMMAND...: repeats until the command succeeds.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $deadline ]] || fail "$what"
    sleep 0.3
  done
  ok "$what"
}
# $DISTURB, if set, is a file: while it exists, somebody kills providers.
disturb() { [[ -z ${DISTURB:-} ]] || touch "$DISTURB"; }
calm() { [[ -z ${DISTURB:-} ]] || rm -f "$DISTURB"; }
# patience SECONDS: twice as long while providers are killed.
patience() { if [[ -n ${DISTURB:-} ]]; then echo $(($1 * 2)); else echo "$1"; fi; }
# write ARGS...: kubectl, repeated for a while where somebody kills providers: while one is down, its admission webhooks are too.
write() {
  local deadline=$((SECONDS + 20))
  until kubectl "$@" >"$work/written" 2>&1; do
    [[ -n ${DISTURB:-} && $SECONDS -lt $deadline ]] || return 1
    sleep 0.3
  done
}
equals() { [[ "$("${@:2}" 2>/dev/null)" == "$1" ]]; }

# Machines that are Running.
running() { kubectl get machines -o jsonpath='{range .items[?(@.status.phase=="Running")]}{.metadata.name}{"\n"}{end}' | wc -l | tr -d ' '; }
# Nodes of the workload cluster that are Ready.
nodes() { kubectl --kubeconfig "$work/workload" get nodes --no-headers | grep -cw Ready; }
# The names of the Machines, sorted.
names() { kubectl get machines -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' "$@" | sort; }

# Objects of the cluster without an owner.
orphans() {
  local kind
  for kind in machines machinesets machinedeployments machinehealthchecks kubeadmconfigs kubeadmconfigtemplates kubeadmcontrolplanes devclusters devmachines devmachinetemplates; do
    kubectl get "$kind" -o go-template="{{range .items}}{{if not .metadata.ownerReferences}}$kind/{{.metadata.name}} {{end}}{{end}}"
  done
  kubectl get secrets -l cluster.x-k8s.io/cluster-name=quickstart -o go-template='{{range .items}}{{if not .metadata.ownerReferences}}secret/{{.metadata.name}} {{end}}{{end}}'
}
# What of the cluster exists.
leftovers() {
  kubectl get clusters,machines,machinesets,machinedeployments,machinehealthchecks,kubeadmcontrolplanes,kubeadmconfigs,kubeadmconfigtemplates,devclusters,devmachines,devmachinetemplates -o name
  kubectl get secrets,configmaps -l cluster.x-k8s.io/cluster-name=quickstart -o name
}
# The resource versions of all that controllers write.
versions() { kubectl get clusters,kubeadmcontrolplanes,machinedeployments,machinesets,machines,machinehealthchecks,kubeadmconfigs,devclusters,devmachines,secrets,configmaps -o jsonpath='{range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}'; }

audited() { [[ -z $audit ]] || wc -l <"$audit"; }
# at_rest SECONDS: nothing changes and, where the API server has an audit log in $audit, nothing is even tried.
at_rest() {
  local before lines writes
  before=$(versions)
  lines=$(audited)
  sleep "$1"
  [[ "$(versions)" == "$before" ]] || fail "objects changed at rest: $(diff <(tr ' ' '\n' <<<"$before") <(versions | tr ' ' '\n') || true)"
  if [[ -n $audit ]]; then
    writes=$(tail -n +$((lines + 1)) "$audit" | grep -c x-k8s.io || true)
    [[ $writes == 0 ]] || fail "$writes writes at rest: $(tail -n +$((lines + 1)) "$audit" | grep x-k8s.io | cut -c1-600 | head -3)"
  fi
  ok "$1 s at rest: nothing is written"
}
