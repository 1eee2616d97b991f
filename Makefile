# The two commands of a newcomer are `make quickstart` and `make test`; the rest is for those who change things.

# `-p unify` selects one feature set for every build, so that nothing heavy is compiled twice (see hack/unify).
CARGO ?= cargo
UNIFY  := -p unify
ARGS   ?=
export CARGO_TERM_COLOR ?= auto

.PHONY: quickstart test sim lint crds release-manifests test-deployed build test-envtest test-envtest-all test-embedded test-embedded-all bench-scale bench-apiserver test-power test-embedded-restarts e2e-openstack test-readers test-etcd conformance ci help

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

quickstart: ## Brings up a small cluster in memory and shows how (ARGS="--exit" ends when it is Available)
	$(CARGO) build -p capictl $(UNIFY)
	target/debug/capictl quickstart $(ARGS)

test: ## Unit, property and simulation tests; needs nothing but the toolchain
	hack/count-skips $(CARGO) test --workspace

lint: ## Formatting, clippy and documentation, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

sim: ## The simulations at length: 100 runs from one seed compared, 100 seeds, 50 storms, a restart after every single write
	SIM_SEEDS=1 SIM_RUNS=100 $(CARGO) test -p e2e $(UNIFY) --test simulation one_seed
	SIM_SEEDS=100 $(CARGO) test -p e2e $(UNIFY) --test simulation one_seed
	SIM_SEEDS=50 $(CARGO) test -p e2e $(UNIFY) --test transport
	SIM_CRASH=all $(CARGO) test -p e2e $(UNIFY) --test crash
	SIM_SEEDS=5 $(CARGO) test -p e2e $(UNIFY) --test crash
	SIM_CRASH=all $(CARGO) test -p capi-core $(UNIFY) --test crashes --test healing a_crash_after_any_write
	CONVERSION_ROUND_TRIPS=10000 $(CARGO) test -p capi-runtime $(UNIFY) --test conversion
	CONVERSION_ROUND_TRIPS=10000 $(CARGO) test -p infra-openstack $(UNIFY) --test api conversion

crds: ## Writes what is generated of deploy/: definitions, webhook configurations, permissions, Deployments
	$(CARGO) build -p e2e --bin crdgen $(UNIFY)
	target/debug/crdgen deploy

RELEASE ?= target/release-manifests
release-manifests: ## Writes metadata and components of all providers as clusterctl reads them (RELEASE=folder)
	$(CARGO) build -p e2e --bin crdgen $(UNIFY)
	target/debug/crdgen release $(RELEASE)

build:
	$(CARGO) build --workspace

test-envtest: build ## On the real kube-apiserver, each provider its own process: the life cycle, the same with kills, upgrade and healing
	hack/envtest/run e2e/real-apiserver
	hack/envtest/run e2e/real-apiserver --kill
	hack/envtest/run e2e/real-apiserver whole-life upgrade heal
	hack/envtest/run e2e/real-apiserver run e2e/older-version

test-envtest-all: build ## The whole life of a highly available cluster on the real kube-apiserver: every scene of e2e/whole-life, two of them with kills
	hack/envtest/run e2e/real-apiserver whole-life
	hack/envtest/run e2e/real-apiserver --kill whole-life upgrade heal

test-deployed: build ## What is shipped, as it is shipped: installed by capictl, own ServiceAccounts, RBAC, Services, two replicas (needs root)
	e2e/deployed
	e2e/deployed rbac
	e2e/deployed installation
	CLUSTERS=10 SECONDS_OF_KILLS=120 e2e/deployed kill
	e2e/deployed newer-build
	e2e/deployed mixing

test-embedded: build ## The life cycle on the embedded API server, driven by kubectl
	e2e/embedded

test-embedded-all: build ## The whole life on the embedded API server
	e2e/embedded whole-life

N        ?= 100
MACHINES ?= 1
RELEASE  ?= 1
bench-scale: ## Many clusters at once: time, writes, memory and CPU of the controllers (N=100 MACHINES=1 RELEASE=1; RELEASE= for the build at hand)
	$(CARGO) build -p e2e $(UNIFY) --bin bench_scale $(if $(RELEASE),--release)
	target/$(if $(RELEASE),release,debug)/bench_scale --clusters $(N) --machines $(MACHINES)

test-embedded-restarts: build ## The embedded API server on disk, killed again and again while a cluster comes up
	e2e/embedded-restarts

bench-apiserver: ## The embedded API server beside kube-apiserver with etcd: writes, watches, lists, memory (ARGS="--check" fails when it is worse)
	$(CARGO) build --release -p embedded-apiserver $(UNIFY) --bins --examples
	ENVTEST_FSYNC=1 ENVTEST_AUDIT=0 ENVTEST_CONTROLLERS=0 hack/envtest/run target/release/examples/bench-apiserver $(ARGS)

test-power: ## Power cuts at every sync of 10,000 writes, and 20 kills of the embedded API server
	POWER_CUTS=all $(CARGO) test -p embedded-apiserver $(UNIFY) --lib -- --nocapture power
	KILLS=20 $(CARGO) test -p embedded-apiserver $(UNIFY) --test kills -- --nocapture

e2e-openstack: build ## Clusters and trouble on a real OpenStack control plane (PARTS="scale"; e2e/openstack/README.md)
	e2e/openstack/run $(PARTS)

test-readers: ## Rendered bootstrap data before kubeadm (built from its Go module) and cloud-init (where it is installed)
	KUBEADM=$$(hack/kubeadm/build) $(CARGO) test -p bootstrap-kubeadm $(UNIFY) --test readers

test-etcd: ## One suite on the imitation of etcd and on real etcd processes
	PATH=$$(hack/envtest/build):$$PATH hack/count-skips $(CARGO) test -p e2e $(UNIFY) --test etcd

conformance: build ## The embedded API server and the real one: one suite, a thousand broken requests, kubectl
	hack/envtest/run sh -c 'CONFORMANCE_KUBECONFIG=$$KUBECONFIG $(CARGO) test -p embedded-apiserver $(UNIFY) --test conformance --test kubectl --test fuzz --test types'
	hack/envtest/run e2e/kubectl-parity
	ENVTEST_APISERVER_FLAGS=--watch-cache=false ENVTEST_CONTROLLERS=0 \
	  hack/envtest/run sh -c 'COMPACTION_KUBECONFIG=$$KUBECONFIG exec $(CARGO) test -p embedded-apiserver $(UNIFY) --test compaction'

ci: lint test test-envtest test-embedded test-etcd conformance ## Everything that must be green before a change lands
	cd $$(mktemp -d) && $(CURDIR)/target/debug/capictl quickstart --exit --timeout 120s
