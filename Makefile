# Penstock. `make run` and `make test` are all that a newcomer needs; both do their own set-up.
SHELL := /bin/bash
GO ?= go
export CGO_ENABLED ?= 0
FUZZTIME ?= 20s
CRASHES ?= 50
RECORD_CRASHES ?= 1000
RECORD_GB ?= 10
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# In CI, and for root, a test that cannot run fails. Others hear what needs root, by name.
export PENSTOCK_CI ?= $(if $(CI)$(filter 0,$(shell id -u)),1,0)

.PHONY: run build image test setup lint race bench fuzz crash clean

run: ## the demo: a moving picture in the browser
	$(GO) run ./cmd/penstock serve --demo

build: ## one static binary, ./penstock
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o penstock ./cmd/penstock

image: ## the container image, with docker, podman or buildah; IMAGE names it
	scripts/image.sh

test: setup lint race ## everything that must hold before a change lands

setup: ## installs what the tests need on Debian, or names it and fails
	scripts/setup.sh

lint: ## gofmt and go vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

race: ## all tests, with the race detector
	GO=$(GO) scripts/race.sh

bench: ## prints figures as a table and as JSON (bench.json), beside the floor in the same run
	$(GO) run ./bench $(BENCHFLAGS)

fuzz: ## each fuzz target for FUZZTIME
	scripts/fuzz.sh $(FUZZTIME)

crash: ## CRASHES times kill -9 under eight recording cameras, RECORD_CRASHES under producers of records, RECORD_GB stored, and the power cuts
	PENSTOCK_CRASHES=$(CRASHES) PENSTOCK_RECORD_CRASHES=$(RECORD_CRASHES) PENSTOCK_RECORD_GB=$(RECORD_GB) $(GO) test -count=1 -timeout 180m -run 'Crash|PowerCut' -v ./acceptance/... ./fragments/... ./records/...

clean: ## removes what the other targets made
	rm -rf penstock bin test-output bench.json
