# decom: what a developer types. Everything longer than a line is in deploy/dev.

FUZZTIME ?= 30s
DEMO_FLAGS ?=
BENCH_FLAGS ?= --profile backlog --rounds 5 --ceiling --stages
PACKS ?= 5000
COUNT ?= 1
SEEDS ?= 20000
SEED ?= 1
PLAN ?=
MUTANT_SEEDS ?= 2000
MUTANTS ?=
RUNS ?= 20
DURATION ?= 10m
FAULT ?=

.DEFAULT_GOAL := help
.PHONY: help build demo test lint bench bench-micro bench-run fuzz simulate mutants chaos soak fresh-debian clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

build: ## build bin/decom
	@go build -o bin/decom ./cmd/decom

# The build is inside the recipe so that its first word is on screen at once.
demo: ## build, then run the whole line on this machine (DEMO_FLAGS="--packs 300 --faults heavy")
	@echo "decom demo: building bin/decom first; with an empty build cache that takes about two minutes."
	@go build -o bin/decom ./cmd/decom
	@bin/decom demo $(DEMO_FLAGS)

test: ## get what the tests need, then run everything under the race detector
	@deploy/dev/test.sh

lint: ## gofmt, vet, fix, staticcheck and the rules of the tree
	@deploy/dev/lint.sh

# CI=1: a missing redis-server is a failure here, not a skip.
bench: ## the line's throughput, as bench/README.md describes (PACKS=5000 a round)
	CI=1 go test ./bench -run '^$$' -bench Line -benchtime 1x -timeout 60m -packs $(PACKS)

# PackMemory fills a Redis with 100 million packs and is left out.
bench-micro: ## each step of the line alone, with allocations (COUNT=1; COUNT=6 and more for benchstat)
	CI=1 go test -run '^$$' -bench 'Parse|Decode|Encode|Scanner|Outcome$$|Record|ViewApply' -benchmem -count $(COUNT) \
		./worker/gs1 ./worker/scan ./worker/ledger ./worker/packstate ./nmvs

# -buildvcs: the result names the commit.
bench-run: ## decom bench run, report.html and all (BENCH_FLAGS="--profile delivery"; bench/README.md)
	@go build -buildvcs=true -o bin/decom ./cmd/decom
	@bin/decom bench run $(BENCH_FLAGS)

fuzz: ## every fuzz target one after another, FUZZTIME (30s) each
	@FUZZTIME=$(FUZZTIME) deploy/dev/fuzz.sh

simulate: ## random schedules of the whole line against every invariant (SEEDS=20000 SEED=1 PLAN=mode=bulk)
	@deploy/dev/simulate.sh $(SEEDS) $(SEED) $(PLAN)

mutants: ## break each rule of the protocol once and show that the simulation notices (MUTANT_SEEDS=2000 MUTANTS="B1 B7")
	@deploy/dev/mutants.sh $(MUTANT_SEEDS) $(MUTANTS)

chaos: ## real processes, faults by seed, a judge over all of them (RUNS=20 SEED=1 FAULT=redis; bench/results/faults.md)
	@deploy/dev/chaos.sh $(RUNS) $(SEED) 3 $(FAULT)

soak: ## a steady load with faults, and whether memory, goroutines, files and disk stay flat (DURATION=10m SEED=1)
	@deploy/dev/chaos.sh soak $(DURATION) $(SEED)

fresh-debian: ## the package on a fresh Debian under a real systemd (root, mmdebstrap, systemd-nspawn; bench/results/fresh-debian.md)
	@deploy/dev/fresh-debian.sh

clean: ## remove what was built; never a data directory
	@rm -rf bin .cache
