# make help lists the targets. Needed: Go (the version in go.mod), make and git. What else is needed
# comes through the Go module proxy, pinned in go.mod and tools/go.mod.

GO      ?= go
GOOS    := $(shell $(GO) env GOOS)
GOARCH  := $(shell $(GO) env GOARCH)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX  ?= /usr/local
BIN     ?= bin
PKG     ?= ./...
OUT     ?= dist
FUZZTIME ?= 1m
NFPM    ?= $(OUT)/bin/nfpm
EPOCH   := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))

# What both programs are built for. On macOS nothing of miosa-env stays (docs/install.md).
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

# tools/go.mod is a module of its own: what linters need stays out of the program's go.mod.
TOOL := $(GO) tool -modfile=tools/go.mod

# Static and stripped. No VCS stamp: VERSION says it, and two builds stay byte for byte the same.
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
LDFLAGS := -s -w -X main.version=$(VERSION)

# miosa-env speaks no HTTP/2 (docs/adr/0003-net-http.md): left out, it is 4 % smaller, and its tables aren't made at a start.
SMALLER := -tags nethttpomithttp2

# Packages that the start of a command doesn't use are compiled without inlining, which makes the file 0.3 MB smaller.
NOT_INLINED := crypto/tls math/big text/tabwriter rsc.io/qr rsc.io/qr/coding \
	github.com/fsnotify/fsnotify github.com/pelletier/go-toml/v2/unstable \
	$(addprefix github.com/Miosa-osa/miosa-env/,secrets internal/keytree agent/credential agent/listener agent/notify agent/watch \
	inject/dotenv inject/envfile inject/mask/forms inject/output $(addprefix cmd/miosa-env/internal/,broker daemon doctor tenant))
SMALLER += $(NOT_INLINED:%=-gcflags=%=-l)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast race attack replicas simulate power faults fuzz check lint bench bench-scale bench-egress build install package release clean

help: ## list the targets
	@echo "make TARGET, one of:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

demo: ## see the point in ten seconds: a secret, a command that has it, a rotation, a command that uses one without having it
	@echo "Building miosa-env, miosa-vault and miosa-egress. The first time this downloads up to $$(grep -c '^	[a-z].* v' go.mod) Go modules, and compiles for a minute or two."
	@{ $(MAKE) --no-print-directory build BUILDFLAGS=-v && $(BUILD) -v -o "$(BIN)/demo" ./internal/demo; echo "status $$?"; } 2>&1 | \
		awk -v terminal="$$(test -t 1 && echo 1)" -f internal/demo/progress.awk
	@"$(BIN)/demo" "$(BIN)"

# Built first, since go run passes no signals on.
TESTRUN = mkdir -p "$(BIN)" && $(GO) build -buildvcs=false -o "$(BIN)/testrun" ./internal/testrun && exec "$(BIN)/testrun"

test: ## run every test; the end says what was skipped, how to install what is missing, and counts
	@$(TESTRUN) -count=1 -timeout 25m $(PKG)

# Packages that drive browsers, containers and whole machines, attack a vault or make several fail, or lose power.
MACHINES := /internal/test/(attacktest|replicatest|powertest|browser|authserver|oauthtest|pagetest|systemdtest|containertest|packagetest|arm64test)$$

# Its tests mostly wait for processes, so more of them run at once than there are processors.
test-fast: ## run the tests to run while working: without machines, containers, browsers and long tests
	@$(TESTRUN) -short -count=1 -vet=off -p 4 -parallel 8 -timeout 5m $$($(GO) list $(PKG) | grep -v -E '$(MACHINES)|/internal/test/guidetest$$')

race: ## run every test under the race detector (needs a C compiler), but for those that drive whole machines
	@export CGO_ENABLED=1; $(TESTRUN) -race -count=1 -timeout 30m $$($(GO) list $(PKG) | grep -v -E '$(MACHINES)')

attack: ## attack a vault for a minute in each of many ways, and measure what another tenant notices; restart one with 10,000 agents
	MIOSA_ATTACK_SECONDS=60 MIOSA_ATTACK_AGENTS=10000 $(GO) test -count=1 -timeout 2h -v -run '^Test(Attack|Fault)_' ./internal/test/attacktest

power: ## lose power at 10,000 moments of writing, in make test at 200, and check that nothing acknowledged is lost
	MIOSA_POWER_REPLAYS=10000 $(GO) test -count=1 -timeout 2h -v -run '^TestFault_V2_' ./internal/test/powertest

faults: ## kill, stop and cut off three vaults and their PostgreSQL for half an hour, and check what clients saw
	MIOSA_FAULT_SECONDS=600 MIOSA_FAULT_KILLS=1000 $(GO) test -count=1 -timeout 2h -v -run '^TestFault_' ./internal/test/replicatest

replicas: ## run the tests of the API, the agent, commands, the page and SDKs with three vaults on PostgreSQL in place of one
	MIOSA_REPLICA_PACKAGES="./vault/vaulttest ./secrets ./fetch ./agent/... ./cmd/miosa-env ./vault ./internal/test/pagetest ./internal/test/oauthtest" \
		$(GO) test -count=1 -timeout 2h -v -run '^TestExistingTests$$' ./internal/test/replicatest

simulate: ## simulate a million agents through faults, and draw docs/scale.svg
	MIOSA_SIMULATION_AGENTS=1000000 $(GO) test -count=1 -timeout 1h -v -run '^TestFaults$$' ./internal/test/simulation -update
	MIOSA_SIMULATION_CLIENTS=1000 $(GO) test -count=1 -timeout 1h -run '^TestSimulation$$' ./fetch

fuzz: ## fuzz each target for FUZZTIME (1m), one after the other
	@list=$$($(GO) test -list '^Fuzz' $(PKG)) || { echo "$$list"; exit 1; }; failed=; \
	for target in $$(echo "$$list" | awk '/^Fuzz/ { names[++n] = $$1 } /^ok/ { for (i = 1; i <= n; i++) print $$2 ":" names[i]; n = 0 }'); do \
		echo "fuzz: $$target"; \
		$(GO) test -run '^$$' -fuzz "^$${target#*:}\$$" -fuzztime $(FUZZTIME) "$${target%:*}" || failed="$$failed $$target"; \
	done; \
	test -z "$$failed" || { echo "fuzz: failed:$$failed"; exit 1; }

check: lint ## formatting, vet, linters, go.mod, builds for the other platforms
	$(GO) mod tidy -diff
	@for platform in $(filter-out $(GOOS)/$(GOARCH),$(PLATFORMS)); do \
		echo "check: $$platform"; \
		export GOOS=$${platform%/*} GOARCH=$${platform#*/} CGO_ENABLED=0; \
		$(GO) vet ./cmd/miosa-env ./cmd/miosa-vault ./cmd/miosa-egress && \
		$(BUILD) $(SMALLER) -o /dev/null ./cmd/miosa-env && $(BUILD) -o /dev/null ./cmd/miosa-vault && \
		$(BUILD) -o /dev/null ./cmd/miosa-egress || exit 1; \
	done
	@echo "check: ok"

lint:
	@test -z "$$(gofmt -l .)" || { echo "not formatted (gofmt -w them):"; gofmt -l .; exit 1; }
	$(GO) vet $(PKG)
	$(TOOL) golangci-lint run --allow-serial-runners $(PKG)

bench: build ## what a start costs beside its floor, then the Go benchmarks (docs/benchmarks.md)
	$(GO) run ./bench/measure -bin $(BIN)
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m $(PKG)

bench-scale: build ## what ten thousand agents that wait cost a vault, on SQLite and PostgreSQL; takes a quarter of an hour
	$(GO) run ./bench/herd -bin $(BIN)

bench-egress: ## what an egress broker costs, next to a proxy that only decrypts and encrypts, and to other proxies
	$(GO) run ./bench/egress

build: ## build bin/miosa-env, bin/miosa-vault and bin/miosa-egress, static and stripped
	@mkdir -p "$(BIN)"
	$(BUILD)$(if $(BUILDFLAGS), $(BUILDFLAGS)) $(SMALLER) -ldflags "$(LDFLAGS) -funcalign=8" -o "$(BIN)/miosa-env" ./cmd/miosa-env
	$(BUILD)$(if $(BUILDFLAGS), $(BUILDFLAGS)) -ldflags "$(LDFLAGS) -funcalign=8" -o "$(BIN)/miosa-vault" ./cmd/miosa-vault
	$(BUILD)$(if $(BUILDFLAGS), $(BUILDFLAGS)) -ldflags "$(LDFLAGS) -funcalign=8" -o "$(BIN)/miosa-egress" ./cmd/miosa-egress
	@wc -c "$(BIN)/miosa-env" "$(BIN)/miosa-vault" "$(BIN)/miosa-egress" | awk '$$NF != "total" { size = $$1; sub(/^ *[0-9]+ /, ""); printf "%-18s %.1f MB\n", $$0, size / 1e6 }'

install: build ## copy the programs to PREFIX/bin (PREFIX=/usr/local; DESTDIR is honoured)
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 "$(BIN)/miosa-env" "$(BIN)/miosa-vault" "$(BIN)/miosa-egress" "$(DESTDIR)$(PREFIX)/bin/"

package: ## deb, rpm and apk packages, archives, SBOMs and SHA256SUMS, into dist/ (SIGN_KEY=FILE signs them)
	rm -rf $(OUT) && mkdir -p $(OUT)
	@for platform in $(PLATFORMS); do \
		echo "package: $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(MAKE) --no-print-directory build BIN=$(OUT)/bin/$$platform VERSION=$(VERSION) >$(OUT)/build.log 2>&1 || { cat $(OUT)/build.log; exit 1; }; \
	done; rm -f $(OUT)/build.log
	test -x $(NFPM) || $(GO) build -modfile=packaging/tools/go.mod -o $(NFPM) github.com/goreleaser/nfpm/v2/cmd/nfpm
	$(GO) run ./internal/release -bin $(OUT)/bin -out $(OUT) -version $(VERSION) -epoch $(EPOCH) -nfpm $(NFPM) $(if $(SIGN_KEY),-sign "$(SIGN_KEY)")
	rm -rf $(OUT)/bin

release: package ## everything that a release hands out, verified; nothing is uploaded
	@case "$(VERSION)" in v*.*.*-*-g* | *-dirty | unknown) echo "release: $(VERSION) isn't a tag on a clean tree: a rehearsal" ;; v*.*.*) ;; *) echo "release: $(VERSION) isn't a tag: a rehearsal" ;; esac
	$(GO) run ./internal/release -verify -out $(OUT) $(if $(SIGN_KEY),-public-key "$(SIGN_KEY:.pub=).pub")
	$(if $(SIGN_KEY),,@echo "release: SHA256SUMS is not signed: give SIGN_KEY=FILE")
	@echo "release: $(OUT) is complete; nothing was uploaded"

clean: ## remove what was built
	rm -rf "$(BIN)" dist
