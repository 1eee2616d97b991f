# The two commands of a newcomer are `make quickstart` and `make test`; the rest is for those who change things.

# `-p unify` selects one feature set for every build, so that nothing heavy is compiled twice (see hack/unify).
CARGO ?= cargo
UNIFY  := -p unify
ARGS   ?=
export CARGO_TERM_COLOR ?= auto

.PHONY: quickstart test ci lint crds test-envtest conformance install help

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

crds: ## Writes deploy/*/crds from the Rust types
	$(CARGO) run -p e2e --bin crdgen $(UNIFY) -- deploy

test-envtest: ## Integration tests on the real kube-apiserver and etcd (built once from Go modules)
	$(CARGO) build --workspace
	hack/envtest/run hack/envtest/scenarios

conformance: ## One suite on the embedded API server and on the real one
	hack/envtest/run hack/envtest/conformance

ci: lint test test-envtest conformance ## Everything that must be green before a change lands
	target/debug/capictl quickstart --exit --timeout 120s
