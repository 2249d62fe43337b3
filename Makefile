# VPP CNI. `make help` lists what there is.

GO       ?= go
BIN      := bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X github.com/vpp-cni/vpp-cni/schema/version.Version=$(VERSION)
BUILD    := CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)'
# A cache of its own: the shared one holds findings under other clones' paths.
LINT     := GOLANGCI_LINT_CACHE=$(CURDIR)/.cache/lint $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
PROGRAMS := $(BIN)/vpp-cni $(BIN)/vpp-agent $(BIN)/vpp-container-agent $(BIN)/vpp-cnictl
# The race detector needs a C compiler.
RACE     := $(if $(shell command -v gcc || command -v clang),-race)
GOFILES  := $(shell find agent cni container-agent schema test deploy -name '*.go' -not -name '*_test.go' 2>/dev/null) go.mod go.sum

# What is built does not know where: clones share what the build cache holds.
export GOFLAGS := $(strip -trimpath $(filter-out -trimpath,$(GOFLAGS)))

# What an operator's shell says of a cluster of his own is not for demo and tests.
unexport VPP_CNI_CONFIG ETCDCTL_ENDPOINTS

.PHONY: help build tools demo test test-vpp traffic bench scale robustness release images lab lab-down test-node test-kubernetes lint fix generate clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  VPP=/usr/bin/vpp  use this VPP in demo, test-vpp, test-node, bench and scale instead of the simulator"
	@echo "  VPP_IMAGE=name:tag  use this image of a real VPP in lab and test-kubernetes"
	@echo "  CTD2=1            test-kubernetes with containerd 2 in place of Debian's 1.6"
	@echo "  TLS=1             give etcd TLS, client certificates and users in demo, test (end to end) and robustness"
	@echo "  KEEP=1            leave the demo running and print what to try"

build: $(PROGRAMS) $(BIN)/userspace ## build the four programs into bin/ (static, no cgo, version stamped)

$(BIN)/vpp-cni: $(GOFILES)
	$(BUILD) -o $@ ./cni
$(BIN)/userspace: $(BIN)/vpp-cni
	ln -sf vpp-cni $@
$(BIN)/vpp-agent: $(GOFILES)
	$(BUILD) -o $@ ./agent
$(BIN)/vpp-container-agent: $(GOFILES)
	$(BUILD) -o $@ ./container-agent
$(BIN)/vpp-cnictl: $(GOFILES)
	$(BUILD) -o $@ ./agent/ctl

# The same programs with points at which a test can let them die or wait.
$(BIN)/failpoints/%: $(GOFILES)
	@mkdir -p $(@D)
	CGO_ENABLED=0 $(GO) build -tags failpoints -o $@ ./$(MAIN_$*)
MAIN_vpp-cni := cni
MAIN_vpp-agent := agent
MAIN_vpp-container-agent := container-agent

tools: $(BIN)/failpoints/vpp-cni $(BIN)/vppsim $(BIN)/etcd $(BIN)/etcdctl $(BIN)/etcdutl $(BIN)/host-local $(BIN)/static ## build the simulator, etcd and its tools, two IPAM plugins and the plugin with failpoints into bin/

$(BIN)/vppsim: $(GOFILES)
	$(BUILD) -o $@ ./test/vppsim/cmd/vppsim
$(BIN)/etcd: go.mod test/etcdtest/cmd/etcd/main.go
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $@ ./test/etcdtest/cmd/etcd
$(BIN)/etcdctl $(BIN)/etcdutl: $(BIN)/%: go.mod
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $@ go.etcd.io/etcd/$*/v3
$(BIN)/host-local $(BIN)/static: $(BIN)/%: go.mod
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $@ github.com/containernetworking/plugins/plugins/ipam/$*

demo: build tools ## two pods on two VPPs of their own ping through the host's VPP
	CGO_ENABLED=0 $(GO) build -o $(BIN)/demo ./deploy/demo
	@KEEP=$(KEEP) VPP=$(VPP) TLS=$(TLS) $(BIN)/demo --bin $(BIN)

test: build tools ## all tests on the simulator, race detector on where there is a C compiler
	@test -n "$(RACE)" || echo "NO C COMPILER: THE TESTS RUN WITHOUT THE RACE DETECTOR"
	TLS=$(TLS) $(GO) test $(RACE) -timeout 10m ./...

test-vpp: build tools ## the contract suite and end to end on a real VPP: make test-vpp VPP=/usr/bin/vpp
	@test -x "$(VPP)" || { echo "say which VPP: make test-vpp VPP=/usr/bin/vpp"; exit 2; }
	VPP=$(VPP) $(GO) test -count=1 -timeout 20m -v ./test/vpptest/... ./test/e2e/... | tee $(BIN)/test-vpp.log | grep -E '^(=== NAME|--- |ok|FAIL|PASS|panic)' ; \
	  ! grep -qE '^(FAIL|panic)' $(BIN)/test-vpp.log

traffic: build tools ## packet streams through restarts and edits by hand (VPP= for a real VPP)
	VPP=$(VPP) $(GO) test -count=1 -timeout 20m -v ./test/traffic ./test/e2e -run 'Traffic|EveryWay|Cut|Restarts|Nothing|Drift|EditedEtcd|SlowVPP|Unanswered'

bench: build tools ## hold times, CPU and memory to their bounds: make bench [VPP=/usr/bin/vpp] [QUICK=1]
	$(BUILD) -o $(BIN)/empty ./test/bench/empty
	$(BUILD) -o $(BIN)/weigh ./test/bench/weigh
	$(BUILD) -o $(BIN)/bench ./test/bench
	VPP=$(VPP) $(BIN)/bench --bin $(BIN) $(if $(QUICK),--quick)

robustness: build tools ## let faults and operations meet for MINUTES (1), as SEED says (a new one)
	$(BUILD) -o $(BIN)/robustness ./test/robustness/cmd/robustness
	TLS=$(TLS) $(BIN)/robustness -bin $(BIN) -vpp "$(VPP)" -minutes $(or $(MINUTES),1) -seed $(or $(SEED),0)

scale: build tools ## show that costs grow no faster than what is held: make scale [VPP=/usr/bin/vpp]
	$(BUILD) -o $(BIN)/scale ./test/scale
	VPP=$(VPP) $(BIN)/scale --bin $(BIN)

RELEASE := $(BIN)/release

# The commit's time is every file's, and owners are numbers: the same commit gives
# the same archives.
release: ## archives of the four programs for amd64 and arm64, with checksums, into bin/release/
	@rm -rf $(RELEASE)
	@set -e; for arch in amd64 arm64; do \
	  name=vpp-cni-$(VERSION)-linux-$$arch; dir=$(RELEASE)/$$name; mkdir -p $$dir; \
	  for p in vpp-cni:cni vpp-agent:agent vpp-container-agent:container-agent vpp-cnictl:agent/ctl; do \
	    GOOS=linux GOARCH=$$arch $(BUILD) -o $$dir/$${p%%:*} ./$${p#*:}; \
	  done; \
	  ln -s vpp-cni $$dir/userspace; cp LICENSE README.md CHANGELOG.md SECURITY.md $$dir/; \
	  tar -C $(RELEASE) --sort=name --mtime=@$(shell git show -s --format=%ct) --owner=0 --group=0 --numeric-owner \
	    --mode=u=rwX,go=rX --format=ustar -cf - $$name | gzip -9n > $$dir.tar.gz; \
	  rm -r $$dir; \
	done
	@cd $(RELEASE) && sha256sum *.tar.gz > SHA256SUMS && cat SHA256SUMS

$(BIN)/lab: $(GOFILES)
	$(BUILD) -o $@ ./deploy/lab

images: build tools $(BIN)/lab ## container images of the programs, the same digests each time, into bin/images and docker
	$(GO) run ./deploy/images -version $(VERSION) -revision $(shell git rev-parse HEAD) -created $(shell git show -s --format=%ct)

lab: images ## the compose lab: etcd, two nodes, four pods, a ping (VPP_IMAGE= for a real VPP)
	VPP_IMAGE=$(VPP_IMAGE) $(BIN)/lab up

lab-down: $(BIN)/lab ## take the compose lab away
	$(BIN)/lab down

KUBERNETES := $(BIN)/kubernetes

test-kubernetes: build tools $(KUBERNETES)/kube $(KUBERNETES)/loopback $(KUBERNETES)/multus $(KUBERNETES)/pause $(BIN)/lab $(if $(CTD2),$(KUBERNETES)/containerd2/containerd) ## deploy/kubernetes on a real Kubernetes with containerd, as root
	$(GO) run ./deploy/images -load=false -out $(KUBERNETES)/images
	@test "$$(id -u)" != 0 || ( for p in containerd runc ip openssl; do command -v $$p >/dev/null || exit 1; done ) || \
	  { apt-get update -q && apt-get install -yq --no-install-recommends containerd runc iproute2 openssl; }
	$(if $(VPP_IMAGE),docker save -o $(KUBERNETES)/images/vpp.tar $(VPP_IMAGE))
	KUBERNETES_BIN=$(CURDIR)/$(BIN) CTD2=$(CTD2) VPP_IMAGE=$(VPP_IMAGE) $(GO) test -count=1 -timeout 30m -v ./test/kubernetes

test-node: build tools $(BIN)/lab $(BIN)/kubernetes/loopback $(BIN)/kubernetes/pause ## deploy/node on a node with a systemd and a containerd of its own, as root (VPP= for a real VPP)
	$(GO) run ./deploy/images -load=false -out $(BIN)/node/images
	@test "$$(id -u)" != 0 || ( for p in $(NODE_NEEDS); do command -v $$p >/dev/null || exit 1; done ) || \
	  { apt-get update -q && apt-get install -yq --no-install-recommends containerd runc iproute2 systemd logrotate; }
	NODE_BIN=$(CURDIR)/$(BIN) VPP=$(VPP) $(GO) test -count=1 -timeout 5m -v ./test/node
NODE_NEEDS := containerd ctr runc ip systemctl systemd-analyze logrotate

# Modules of their own: what Kubernetes needs is not what the product needs.
$(KUBERNETES)/kube: $(wildcard test/kubernetes/kube/*)
	cd test/kubernetes/kube && CGO_ENABLED=0 $(GO) build -o $(CURDIR)/$@ -ldflags \
	  "-s -w -X k8s.io/component-base/version.gitVersion=$$($(GO) list -m -f '{{.Version}}' k8s.io/kubernetes)" .
$(KUBERNETES)/loopback: $(wildcard test/kubernetes/plugins/*)
	cd test/kubernetes/plugins && CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/containernetworking/plugins/plugins/main/loopback
$(KUBERNETES)/multus: $(wildcard test/kubernetes/multus/*)
	cd test/kubernetes/multus && CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $(CURDIR)/$@ gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus
$(KUBERNETES)/containerd2/containerd: $(wildcard test/kubernetes/containerd/*)
	cd test/kubernetes/containerd && CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $(CURDIR)/$(@D)/ \
	  $(addprefix github.com/containerd/containerd/v2/cmd/,containerd containerd-shim-runc-v2 ctr)
$(KUBERNETES)/pause: test/kubernetes/pause/main.go
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $@ ./test/kubernetes/pause

.PHONY: fuzz vuln
fuzz: ## run every fuzz target for FUZZTIME (30s), one after the other (KEEP=10: keep inputs that it finds)
	GO="$(GO)" FUZZTIME=$(or $(FUZZTIME),30s) test/fuzz.sh

# The database is at vuln.go.dev.
vuln: ## look for known flaws in what the programs use (govulncheck; needs the network)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.7.0 ./cni ./agent ./container-agent ./agent/ctl

lint: ## golangci-lint, the version that is pinned here
	$(LINT) run ./...

fix: ## what lint can mend by itself, and the formatting
	$(LINT) run --fix ./...
	$(LINT) fmt ./...

generate: ## write the golden files of the wire format anew
	$(GO) test ./schema -run Golden -update

clean: ## remove bin/
	rm -rf $(BIN)
